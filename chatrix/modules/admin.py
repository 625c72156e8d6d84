"""XEP-0133: Service Administration, version 1.4: the users of a host, by its admins.

Security: a host's admins have power over its own accounts and nothing else: every address that is submitted goes
through `Execution.account`. Not offered are restart and shutdown (the process serves other hosts, too), the list of
admins (it stands in the ini, which only the machine's owner can write) and blacklists; IP addresses are told nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from chatrix.api import (
    JID,
    Account,
    AccountExists,
    Completed,
    Element,
    Execution,
    Form,
    InvalidPassword,
    Module,
    NoSuchAccount,
    Role,
    Server,
    StanzaError,
    StreamError,
    command,
)
from chatrix.xmpp.dataform import Choice, Field
from chatrix.xmpp.namespaces import NS_ADMIN, NS_ROSTER
from chatrix.xmpp.sasl.keys import ScramKeys
from chatrix.xmpp.timestamps import timestamp

NODE = f"{NS_ADMIN}#"
MOST_LISTED = 1000
"""Addresses in one answer, whatever the admin asks for."""
AWAY = ("away", "xa")


def _form(title: str, instructions: str, *fields: Field) -> Form:
    return Form("form", fields, title, instructions, NS_ADMIN)


def _accounts(label: str) -> Field:
    return Field("accountjids", "jid-multi", label, required=True)


def _account(label: str) -> Field:
    return Field("accountjid", "jid-single", label, required=True)


def _password(required: bool) -> Field:
    return Field("password", "text-private", "The password for this account", required=required)


def _listing(title: str, instructions: str) -> Form:
    numbers = ("25", "50", "75", "100", "150", "200")
    choices = (*(Choice(number, number) for number in numbers), Choice("none", "None"))
    return _form(title, instructions, Field("max_items", "list-single", "Maximum number of items to show", (), choices))


ADD_USER = _form(
    "Adding a User",
    "Fill out this form to add a user.",
    _account("The Jabber ID for the account to be added"),
    _password(True),
    Field("password-verify", "text-private", "Retype password", required=True),
)
DELETE_USER = _form("Deleting a User", "Fill out this form to delete a user.", _accounts("The Jabber ID(s) to delete"))
DISABLE_USER = _form(
    "Disabling a User", "Fill out this form to disable a user.", _accounts("The Jabber ID(s) to disable")
)
REENABLE_USER = _form(
    "Re-Enable a User", "Fill out this form to re-enable a user.", _accounts("The Jabber ID(s) to re-enable")
)
END_USER_SESSION = _form(
    "Ending a User Session",
    "Fill out this form to end a user's session.",
    _accounts("The Jabber ID(s) for which to end sessions"),
)
CHANGE_USER_PASSWORD = _form(
    "Changing a User Password",
    "Fill out this form to change a user's password.",
    _account("The Jabber ID for this account"),
    _password(True),
)
GET_USER_ROSTER = _form(
    "Getting a User's Roster",
    "Fill out this form to get a user's roster.",
    _accounts("The Jabber ID for which to retrieve the roster"),
)
GET_USER_LASTLOGIN = _form(
    "Getting a User's Last Login Time",
    "Fill out this form to get a user's last login time.",
    _accounts("The Jabber ID(s) for which to retrieve the last login time"),
)
USER_STATS = _form(
    "Get User Statistics", "Fill out this form to gather user statistics.", _account("The Jabber ID for statistics")
)
REGISTERED = _listing(
    "Requesting List of Registered Users", "Fill out this form to request the registered users of this service."
)
DISABLED = _listing(
    "Requesting List of Disabled Users", "Fill out this form to request the disabled users of this service."
)
ONLINE = _listing("Requesting List of Online Users", "Fill out this form to request the online users of this service.")
ACTIVE = _listing("Requesting List of Active Users", "Fill out this form to request the active users of this service.")
IDLE = _listing("Requesting List of Idle Users", "Fill out this form to request the idle users of this service.")


class Admin(Module):
    """Let the admins of a host look after its users."""

    requires = ("commands", "announcements")

    def __init__(self, server: Server, options: None) -> None:
        super().__init__(server, options)
        self.accounts = server.accounts.store
        self.log_ins = server.log_ins

    # Accounts

    @command(f"{NODE}add-user", "Add User", role=Role.ADMIN, form=ADD_USER)
    async def add_user(self, execution: Execution) -> Completed:
        """Section 4.1; e-mail addresses and names of people are not asked for, as they are not kept."""
        answers = execution.answers[0]
        jid = _one(execution)
        if answers.values("password") != answers.values("password-verify"):
            raise StanzaError("modify", "not-acceptable", "the two passwords differ")
        keys = await self._keys(answers.text("password"))
        try:
            await self.accounts.create(jid.local, jid.domain, keys)
        except AccountExists:
            raise StanzaError("cancel", "conflict", f"{jid} exists already") from None
        return Completed(f"{jid} was added.")

    async def _keys(self, password: str) -> tuple[ScramKeys, ...]:
        try:
            return await self.server.new_keys(password)
        except InvalidPassword as error:
            raise StanzaError("modify", "not-acceptable", f"this cannot be a password: {error}") from None

    @command(f"{NODE}delete-user", "Delete User", role=Role.ADMIN, form=DELETE_USER)
    async def delete_user(self, execution: Execution) -> Completed:
        """Section 4.2; contacts are told that all subscriptions are over."""
        missing = [jid for jid in _several(execution) if not await self.server.delete_account(jid)]
        return _done("deleted", missing)

    @command(f"{NODE}disable-user", "Disable User", role=Role.ADMIN, form=DISABLE_USER)
    async def disable_user(self, execution: Execution) -> Completed:
        """Section 4.3."""
        missing = []
        for jid in _several(execution):
            try:
                await self.server.disable_account(jid)
            except NoSuchAccount:
                missing.append(jid)
        return _done("disabled", missing)

    @command(f"{NODE}reenable-user", "Re-Enable User", role=Role.ADMIN, form=REENABLE_USER)
    async def reenable_user(self, execution: Execution) -> Completed:
        """Section 4.4."""
        missing = []
        for jid in _several(execution):
            try:
                await self.accounts.set_disabled(jid.local, jid.domain, False)
            except NoSuchAccount:
                missing.append(jid)
        return _done("re-enabled", missing)

    @command(f"{NODE}end-user-session", "End User Session", role=Role.ADMIN, form=END_USER_SESSION)
    def end_user_session(self, execution: Execution) -> Completed:
        """Section 4.5: all sessions of a bare JID, the one of a full JID."""
        error = StreamError("policy-violation", "an admin has ended this session")
        jids = execution.answers[0].jids("accountjids")
        for jid in jids:
            execution.account(jid.bare)
        missing = []
        for jid in jids:
            account = self.server.directory.account(jid)
            sessions = list(account.sessions.values()) if account is not None else []
            ending = [session for session in sessions if jid.resource in ("", session.jid.resource)]
            if not ending:
                missing.append(jid)
            for session in ending:
                session.stream.close(error)
        return _done("ended", missing, "Not connected: ")

    @command(f"{NODE}change-user-password", "Change User Password", role=Role.ADMIN, form=CHANGE_USER_PASSWORD)
    async def change_user_password(self, execution: Execution) -> Completed:
        """Section 4.7; sessions end, as whoever is in them may not be who holds the account now."""
        jid = _one(execution)
        keys = await self._keys(execution.answers[0].text("password"))
        try:
            await self.accounts.replace_keys(jid.local, jid.domain, keys)
        except NoSuchAccount:
            raise _missing(jid) from None
        self.server.end_sessions(jid, StreamError("not-authorized", "the password was changed"))
        return Completed(f"{jid} has a new password.")

    # What there is of one account

    @command(f"{NODE}get-user-roster", "Get User Roster", role=Role.ADMIN, form=GET_USER_ROSTER)
    async def get_user_roster(self, execution: Execution) -> Completed:
        """Section 4.8, of one account at a time: nothing in the answer would tell the rosters of several apart."""
        jids = _several(execution)
        if len(jids) != 1:
            raise StanzaError("modify", "not-acceptable", "one account at a time")
        roster = await self.server.rosters.of(jids[0])
        if roster is None:
            raise _missing(jids[0])
        query = Element(NS_ROSTER, "query")
        for item in roster.visible_items():
            query.append(self.server.rosters.element(item))
        return Completed(form=_result(Field("accountjids", "jid-multi", values=(str(jids[0]),))), payload=(query,))

    @command(f"{NODE}get-user-lastlogin", "Get User Last Login Time", role=Role.ADMIN, form=GET_USER_LASTLOGIN)
    async def get_user_lastlogin(self, execution: Execution) -> Completed:
        """Section 4.9; the times are in the order of the accounts, of those that have ever logged in."""
        jids, times = [], []
        for jid in _several(execution):
            if not await self.accounts.exists(jid.local, jid.domain):
                raise _missing(jid)
            log_in = await self.log_ins.of(str(jid))
            if log_in is not None and log_in.last:
                jids.append(str(jid))
                times.append(timestamp(log_in.last))
        form = _result(
            Field("accountjids", "jid-multi", values=tuple(jids)),
            Field("lastlogin", "text-multi" if len(times) > 1 else "text-single", values=tuple(times)),
        )
        return Completed("" if times else "Never.", form=form)

    @command(f"{NODE}user-stats", "Get User Statistics", role=Role.ADMIN, form=USER_STATS)
    async def user_stats(self, execution: Execution) -> Completed:
        """Section 4.10: what is known without counting anybody's stanzas."""
        jid = _one(execution)
        roster = await self.server.rosters.of(jid)
        if roster is None:
            raise _missing(jid)
        account = self.server.directory.account(jid)
        return Completed(
            form=_result(
                Field("rostersize", values=(str(sum(1 for _ in roster.visible_items())),)),
                Field("onlineresources", "text-multi", values=tuple(account.sessions if account is not None else ())),
            )
        )

    # Numbers

    @command(f"{NODE}get-registered-users-num", "Get Number of Registered Users", role=Role.ADMIN)
    async def get_registered_users_num(self, execution: Execution) -> Completed:
        """Section 4.13."""
        number = await self.accounts.count(execution.host.domain)
        return _number("registeredusersnum", "The number of registered users", number)

    @command(f"{NODE}get-disabled-users-num", "Get Number of Disabled Users", role=Role.ADMIN)
    async def get_disabled_users_num(self, execution: Execution) -> Completed:
        """Section 4.14."""
        number = await self.accounts.count_disabled(execution.host.domain)
        return _number("disabledusersnum", "The number of disabled users", number)

    @command(f"{NODE}get-online-users-num", "Get Number of Online Users", role=Role.ADMIN)
    def get_online_users_num(self, execution: Execution) -> Completed:
        """Section 4.15."""
        return _number("onlineusersnum", "The number of online users", len(self._connected(execution)))

    @command(f"{NODE}get-active-users-num", "Get Number of Active Users", role=Role.ADMIN)
    def get_active_users_num(self, execution: Execution) -> Completed:
        """Section 4.16."""
        number = sum(map(is_active, self._connected(execution)))
        return _number("activeusersnum", "The number of active users", number)

    @command(f"{NODE}get-idle-users-num", "Get Number of Idle Users", role=Role.ADMIN)
    def get_idle_users_num(self, execution: Execution) -> Completed:
        """Section 4.17."""
        number = sum(not is_active(account) for account in self._connected(execution))
        return _number("idleusersnum", "The number of idle users", number)

    # Lists

    @command(f"{NODE}get-registered-users-list", "Get List of Registered Users", role=Role.ADMIN, form=REGISTERED)
    async def get_registered_users_list(self, execution: Execution) -> Completed:
        """Section 4.18."""
        accounts = await self.accounts.list(execution.host.domain, limit=_most(execution))
        return _list("registereduserjids", "The list of all users", [account.jid for account in accounts])

    @command(f"{NODE}get-disabled-users-list", "Get List of Disabled Users", role=Role.ADMIN, form=DISABLED)
    async def get_disabled_users_list(self, execution: Execution) -> Completed:
        """Section 4.19."""
        accounts = await self.accounts.disabled(execution.host.domain, _most(execution))
        return _list("disableduserjids", "The list of all disabled users", [account.jid for account in accounts])

    @command(f"{NODE}get-online-users-list", "Get List of Online Users", role=Role.ADMIN, form=ONLINE)
    def get_online_users_list(self, execution: Execution) -> Completed:
        """Section 4.20."""
        return self._listed(execution, "onlineuserjids", "The list of all online users", lambda account: True)

    @command(f"{NODE}get-active-users", "Get List of Active Users", role=Role.ADMIN, form=ACTIVE)
    def get_active_users(self, execution: Execution) -> Completed:
        """Section 4.21."""
        return self._listed(execution, "activeuserjids", "The list of active users", is_active)

    @command(f"{NODE}get-idle-users", "Get List of Idle Users", role=Role.ADMIN, form=IDLE)
    def get_idle_users(self, execution: Execution) -> Completed:
        """Section 4.22, whose field is called like that of the active ones."""
        return self._listed(
            execution, "activeuserjids", "The list of idle users", lambda account: not is_active(account)
        )

    def _connected(self, execution: Execution) -> list[Account]:
        """The accounts of the host that have a session."""
        return list(self.server.directory.hosts.get(execution.host.domain, {}).values())

    def _listed(self, execution: Execution, var: str, label: str, wanted: Callable[[Account], bool]) -> Completed:
        found = (str(account.jid) for account in self._connected(execution) if wanted(account))
        return _list(var, label, islice(found, _most(execution)))


def is_active(account: Account) -> bool:
    """Whether somebody seems to sit at one of an account's clients: an available session that does not say `away`."""
    return any(session.presence is not None and session.presence.show not in AWAY for session in account.available)


def _one(execution: Execution) -> JID:
    jid = execution.answers[0].jid("accountjid")
    assert jid is not None
    return execution.account(jid)


def _several(execution: Execution) -> list[JID]:
    """All the accounts, each of them checked before anything is done to one."""
    return [execution.account(jid) for jid in execution.answers[0].jids("accountjids")]


def _most(execution: Execution) -> int:
    text = execution.answers[0].text("max_items", "none")
    return int(text) if text.isdecimal() else MOST_LISTED


def _missing(jid: JID) -> StanzaError:
    return StanzaError("cancel", "item-not-found", f"there is no account {jid}")


def _done(what: str, missing: list[JID], but: str = "No such account: ") -> Completed:
    """All, or all but these, were dealt with."""
    if missing:
        return Completed(problem=but + ", ".join(map(str, missing)))
    return Completed(f"Done: {what}.")


def _result(*fields: Field) -> Form:
    return Form("result", fields, form_type=NS_ADMIN)


def _number(var: str, label: str, number: int) -> Completed:
    return Completed(form=_result(Field(var, "text-single", label, (str(number),))))


def _list(var: str, label: str, jids: Iterable[str]) -> Completed:
    return Completed(form=_result(Field(var, "jid-multi", label, tuple(jids))))
