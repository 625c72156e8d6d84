"""Shared roster groups: those in a group that an admin defines are each other's contacts, with subscription both.

What they see of each other is the core's work (`chatrix.server.rosters`); here is what they may not do about it, and
how admins change the groups. The groups of a host and their members are that host's alone.
"""

from __future__ import annotations

from chatrix.api import (
    JID,
    AccountDeleted,
    Arriving,
    Completed,
    Execution,
    Form,
    GroupExists,
    Module,
    NoSuchMember,
    Presence,
    Role,
    Sending,
    Stage,
    StanzaError,
    Verdict,
    command,
    on,
    send_current,
    send_unavailable,
)
from chatrix.xmpp import subscription
from chatrix.xmpp.dataform import Choice, Field

NODE = "chatrix#"
LONGEST_NAME = 1023
"""Octets of a group's name."""

_NAME = Field("group", "text-single", "Name of the group", required=True)
_ACCOUNTS = Field("accountjids", "jid-multi", "The accounts", required=True)
ADD = Form("form", (_NAME,), "Add a shared group", "Its members will see each other in their rosters.", NODE)


class SharedRoster(Module):
    """Let the members of a group that an admin defines see each other, without asking and without end."""

    requires = ("roster", "presence", "subscription", "commands")

    async def start(self) -> None:
        """Read the groups."""
        await self.refresh()

    async def refresh(self) -> None:
        """The groups in the database have changed: tell everybody whom it concerns, the roster first."""
        for jid, contact, sees in await self.server.rosters.regroup():
            account = self.server.directory.account(jid)
            if account is not None:
                (send_current if sees else send_unavailable)(self.server.router, account, contact)

    @on(AccountDeleted)
    async def forget(self, fact: AccountDeleted) -> None:
        """Its memberships went with the account."""
        if self.server.rosters.shared.of(str(fact.jid)):
            await self.refresh()

    # Subscriptions that are not the account's to change

    @on(Sending, Stage.SCREEN, stanzas=("presence",))
    def send(self, sending: Sending) -> object:
        """A subscription with a member can be neither asked for nor cancelled: it is there."""
        presence = sending.stanza
        contact = presence.to
        if presence.type not in subscription.TYPES or contact is None:
            return None
        if not self.server.rosters.shared.of(str(sending.account.jid)):
            return None
        return self._send(sending.account.jid, contact.bare, presence.type)

    async def _send(self, jid: JID, contact: JID, type: str) -> Verdict | None:
        async with self.server.rosters.changing(jid) as roster:
            shared = roster.shared_with(str(contact)) if roster is not None else ()
            if roster is None or not shared:
                return None
            # An older request is answered by the group.
            await self.server.rosters.drop_request(roster, contact)
        if type in ("unsubscribe", "unsubscribed"):
            raise StanzaError("cancel", "not-allowed", f"this contact is in the shared group {shared[0]}")
        return Verdict.STOP

    @on(Arriving, Stage.SCREEN, stanzas=("presence",))
    def arrive(self, arriving: Arriving) -> object:
        """What a member says of a subscription changes nothing; who asks for one is told that it is there."""
        presence, account = arriving.stanza, arriving.account.jid
        contact = presence.from_
        if presence.type not in subscription.TYPES or contact is None:
            return None
        if not any(str(contact.bare) in group.members for group in self.server.rosters.shared.of(str(account))):
            return None
        if presence.type == "subscribe" and contact.bare != account:
            answer = Presence({"from": str(account), "to": str(contact.bare), "type": "subscribed"})
            self.server.router.send_answer(answer)
        return Verdict.STOP

    # Commands

    @command(f"{NODE}list-groups", "List Shared Groups", role=Role.ADMIN)
    def list_groups(self, execution: Execution) -> Completed:
        """Every group with its members."""
        groups, host = self.server.rosters.shared, execution.host.domain
        reported = (Field("group", label="Group"), Field("accountjids", "jid-multi", "Members"))
        items = tuple(
            {"group": (name,), "accountjids": tuple(groups.members(host, name) or ())} for name in groups.names(host)
        )
        return Completed(form=Form("result", title="Shared groups", form_type=NODE, reported=reported, items=items))

    @command(f"{NODE}add-group", "Add Shared Group", role=Role.ADMIN, form=ADD)
    async def add_group(self, execution: Execution) -> Completed:
        """A group without members."""
        name = execution.answers[0].text("group").strip()
        if not name or len(name.encode()) > LONGEST_NAME:
            raise StanzaError("modify", "not-acceptable", "this cannot be the name of a group")
        try:
            await self.server.rosters.shared.store.add(execution.host.domain, name)
        except GroupExists:
            raise StanzaError("cancel", "conflict", "there is a group of this name") from None
        await self.refresh()
        return Completed(f"The group {name} has no members yet.")

    @command(f"{NODE}delete-group", "Delete Shared Group", role=Role.ADMIN)
    async def delete_group(self, execution: Execution) -> Form | Completed:
        """A group with all memberships."""
        if not execution.answers:
            return self._form(execution, "Delete a shared group")
        host, name = execution.host.domain, execution.answers[0].text("group")
        if not await self.server.rosters.shared.store.delete(host, name):
            raise StanzaError("cancel", "item-not-found", "there is no such group")
        await self.refresh()
        return Completed(f"The group {name} was deleted.")

    @command(f"{NODE}join-group", "Add Accounts to Shared Group", role=Role.ADMIN)
    async def join_group(self, execution: Execution) -> Form | Completed:
        """New members, seen by everybody in the group at once."""
        if not execution.answers:
            return self._form(execution, "Add accounts to a shared group", _ACCOUNTS)
        name, accounts = self._members(execution)
        try:
            for jid in accounts:
                await self.server.rosters.shared.store.join(execution.host.domain, name, str(jid))
        except NoSuchMember as error:
            raise StanzaError("cancel", "item-not-found", f"there is no account {error}, or no group {name}") from None
        finally:
            await self.refresh()
        return Completed("They see each other now.")

    @command(f"{NODE}leave-group", "Remove Accounts from Shared Group", role=Role.ADMIN)
    async def leave_group(self, execution: Execution) -> Form | Completed:
        """Members that are none any more."""
        if not execution.answers:
            return self._form(execution, "Remove accounts from a shared group", _ACCOUNTS)
        name, accounts = self._members(execution)
        for jid in accounts:
            await self.server.rosters.shared.store.leave(execution.host.domain, name, str(jid))
        await self.refresh()
        return Completed("They are not in the group any more.")

    def _form(self, execution: Execution, title: str, *fields: Field) -> Form:
        names = self.server.rosters.shared.names(execution.host.domain)
        group = Field("group", "list-single", "Group", choices=tuple(map(Choice, names)), required=True)
        return Form("form", (group, *fields), title, form_type=NODE)

    def _members(self, execution: Execution) -> tuple[str, list[JID]]:
        answers = execution.answers[0]
        accounts = [execution.account(jid) for jid in answers.jids("accountjids")]
        return answers.text("group"), accounts
