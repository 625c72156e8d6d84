"""What admins say to everybody: announcements, the message of the day, the welcome message (XEP-0133, version 1.4).

By the commands of XEP-0133 sections 4.23 to 4.28, or by a message to `HOST/announce/online` and its like, which is
what admins know from other servers.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chatrix.api import (
    MOTD,
    WELCOME,
    Account,
    Addressing,
    Announcement,
    Announcements,
    BecameAvailable,
    Completed,
    Element,
    Execution,
    Form,
    LogIn,
    Message,
    Module,
    Role,
    Server,
    Session,
    SessionBound,
    StanzaError,
    Verdict,
    command,
    in_background,
    microseconds,
    on,
    repeat,
)
from chatrix.xmpp.dataform import Field
from chatrix.xmpp.namespaces import NS_ADMIN

log = Logger(namespace="chatrix.announcements")

NODE = f"{NS_ADMIN}#"
SUBJECTS = {MOTD: "Message of the Day", WELCOME: "Welcome"}
ANNOUNCEMENT = "Announcement"
RESOURCE = "announce/"


def _form(title: str, instructions: str, var: str, label: str, text: str = "") -> Form:
    field = Field(var, "text-multi", label, tuple(text.splitlines()), required=True)
    return Form("form", (field,), title, instructions, NS_ADMIN)


ANNOUNCE = _form(
    "Making an Announcement",
    "Fill out this form to make an announcement to all active users of this service.",
    "announcement",
    "Announcement",
)
SET_MOTD = _form(
    "Setting the Message of the Day", "Fill out this form to set the message of the day.", "motd", SUBJECTS[MOTD]
)


SETTLE = 5
"""Seconds between two times that log-ins are written down, as long as nobody is to be told anything."""


class _Greeting(enum.Enum):
    """What is kept with a session in place of its log-in."""

    WAITS = "available before its log-in was noted"
    DONE = "was told what there was to tell"


class AnnouncementsModule(Module):
    """Tell users what their admin has to say, at once or when they log in."""

    requires = ("commands", "presence")

    def __init__(self, server: Server, options: None) -> None:
        super().__init__(server, options)
        self.store = Announcements(server.database)
        self.log_ins = server.log_ins
        self._settling: LoopingCall | None = None
        self._texts: dict[tuple[str, str], Announcement] = {}
        "By host and kind: two for each host at most."

    async def start(self) -> None:
        """Read what there is to be said."""
        self._texts = {(each.host, each.kind): each for each in await self.store.all()}
        self._settling = repeat(self.server.reactor, SETTLE, self.log_ins.settle, "recording log-ins")

    async def stop(self) -> None:
        """Record the last ones."""
        if self._settling is not None:
            self._settling.stop()
        await self.log_ins.settle()

    # Log-ins

    @on(SessionBound)
    def note(self, fact: SessionBound) -> None:
        """Note the log-in; if there is something to tell, what it says is needed when the session becomes available."""
        if not self._texts:
            self.log_ins.note(str(fact.session.account.jid), microseconds())
            return
        in_background(self._note(fact.session), "noting a log-in")

    async def _note(self, session: Session) -> None:
        log_in = await self.log_ins.record(str(session.account.jid), microseconds())
        if log_in is None:
            return
        if session.state(AnnouncementsModule) is _Greeting.WAITS:
            await self._greet(session, log_in)
        else:
            session.keep(AnnouncementsModule, log_in)

    @on(BecameAvailable)
    def greet(self, fact: BecameAvailable) -> Any:
        """Whoever is new is welcomed; whoever has not heard the message of the day hears it."""
        session = fact.session
        noted: LogIn | _Greeting | None = session.state(AnnouncementsModule)
        if session.priority < 0:
            return None
        if isinstance(noted, LogIn):
            return self._greet(session, noted)
        if noted is None:
            session.keep(AnnouncementsModule, _Greeting.WAITS)
        return None

    async def _greet(self, session: Session, log_in: LogIn) -> None:
        session.keep(AnnouncementsModule, _Greeting.DONE)
        account = session.account
        host, to = session.jid.domain, str(session.jid)
        welcome, motd = self._texts.get((host, WELCOME)), self._texts.get((host, MOTD))
        if welcome is not None and log_in.first == log_in.last:
            self._send(self._message(host, SUBJECTS[WELCOME], welcome.text), to)
        if motd is not None and max(log_in.motd, account.state(AnnouncementsModule) or 0) < motd.id:
            self._send(self._message(host, SUBJECTS[MOTD], motd.text), to)
            account.keep(AnnouncementsModule, motd.id)
            await self.log_ins.heard([str(account.jid)], motd.id)

    # Saying it

    @staticmethod
    def _message(host: str, subject: str, body: str, type: str = "") -> Message:
        attributes = {"from": host, "type": type} if type else {"from": host}
        return Message.build(attributes, Element(None, "subject", text=subject), Element(None, "body", text=body))

    def _send(self, message: Message, to: str) -> None:
        copy = message.copy()
        copy.attributes["to"] = to
        self.server.router.send_answer(copy)

    def _online(self, host: str) -> Iterator[Account]:
        """The accounts of a host that can be told something now."""
        for account in list(self.server.directory.hosts.get(host, {}).values()):
            if any(session.priority >= 0 for session in account.available):
                yield account

    def announce(self, host: str, text: str, subject: str = ANNOUNCEMENT) -> int:
        """Tell everybody who is online; how many accounts that are."""
        message = self._message(host, subject, text, "headline")
        accounts = list(self._online(host))
        for account in accounts:
            self._send(message, str(account.jid))
        return len(accounts)

    async def announce_to_all(self, host: str, text: str, subject: str = ANNOUNCEMENT) -> None:
        """Tell every account, also those that are away; it may take a while."""
        message = self._message(host, subject, text)
        after = ""
        while page := await self.server.accounts.store.list(host, after):
            for account in page:
                copy = message.copy()
                copy.attributes["to"] = account.jid
                try:
                    result = self.server.router.route(copy)
                    if result is not None:
                        await result
                except StanzaError:
                    # Full, or blocked: the others are told all the same.
                    continue
                except Exception:
                    log.failure("one account could not be told an announcement")
            after = page[-1].localpart

    async def set_motd(self, host: str, text: str) -> None:
        """Set the message of the day: to everybody online now, to the others when they log in, to each once."""
        motd = Announcement(host, MOTD, microseconds(), text)
        await self.store.save(motd)
        self._texts[host, MOTD] = motd
        message = self._message(host, SUBJECTS[MOTD], text)
        accounts = list(self._online(host))
        for account in accounts:
            account.keep(AnnouncementsModule, motd.id)
            self._send(message, str(account.jid))
        await self.log_ins.heard([str(account.jid) for account in accounts], motd.id)

    async def edit_motd(self, host: str, text: str) -> None:
        """Correct the message of the day: whoever has heard it does not hear it again."""
        motd = self._texts.get((host, MOTD))
        if motd is None:
            await self.set_motd(host, text)
            return
        await self._save(Announcement(host, MOTD, motd.id, text))

    async def _save(self, announcement: Announcement) -> None:
        await self.store.save(announcement)
        self._texts[announcement.host, announcement.kind] = announcement

    async def _delete(self, host: str, kind: str) -> Completed:
        deleted = await self.store.delete(host, kind)
        self._texts.pop((host, kind), None)
        return Completed("It was deleted." if deleted else "There was none.")

    def _text(self, host: str, kind: str) -> str:
        announcement = self._texts.get((host, kind))
        return "" if announcement is None else announcement.text

    # Commands

    @command(f"{NODE}announce", "Send Announcement to Online Users", role=Role.ADMIN, form=ANNOUNCE)
    def execute_announce(self, execution: Execution) -> Completed:
        """Section 4.23."""
        told = self.announce(execution.host.domain, execution.answers[0].text("announcement"))
        return Completed(f"Sent to {told} account{'' if told == 1 else 's'}.")

    @command(f"{NODE}set-motd", "Set Message of the Day", role=Role.ADMIN, form=SET_MOTD)
    async def execute_set_motd(self, execution: Execution) -> Completed:
        """Section 4.24."""
        await self.set_motd(execution.host.domain, execution.answers[0].text("motd"))
        return Completed("Everybody will hear it once.")

    @command(f"{NODE}edit-motd", "Edit Message of the Day", role=Role.ADMIN)
    async def execute_edit_motd(self, execution: Execution) -> Form | Completed:
        """Section 4.25."""
        host = execution.host.domain
        if not execution.answers:
            text = self._text(host, MOTD)
            instructions = "Fill out this form to edit the message of the day."
            return _form("Editing the Message of the Day", instructions, "motd", SUBJECTS[MOTD], text)
        await self.edit_motd(host, execution.answers[0].text("motd"))
        return Completed("Whoever has heard it already will not hear it again.")

    @command(f"{NODE}delete-motd", "Delete Message of the Day", role=Role.ADMIN)
    async def execute_delete_motd(self, execution: Execution) -> Completed:
        """Section 4.26."""
        return await self._delete(execution.host.domain, MOTD)

    @command(f"{NODE}set-welcome", "Set Welcome Message", role=Role.ADMIN)
    async def execute_set_welcome(self, execution: Execution) -> Form | Completed:
        """Section 4.27."""
        host = execution.host.domain
        if not execution.answers:
            text = self._text(host, WELCOME)
            instructions = "Fill out this form to set the welcome message for this service."
            return _form("Setting Welcome Message", instructions, "welcome", "Welcome Message", text)
        await self._save(Announcement(host, WELCOME, microseconds(), execution.answers[0].text("welcome")))
        return Completed("New accounts will get it when they first log in.")

    @command(f"{NODE}delete-welcome", "Delete Welcome Message", role=Role.ADMIN)
    async def execute_delete_welcome(self, execution: Execution) -> Completed:
        """Section 4.28."""
        return await self._delete(execution.host.domain, WELCOME)

    # Messages to the host

    @on(Addressing)
    def take(self, addressing: Addressing) -> Any:
        """`HOST/announce/online` and its like: from an admin of this host it is done, from everybody else forbidden."""
        message = addressing.stanza
        to, sender = message.to, message.from_
        if to is None or not to.resource.startswith(RESOURCE) or message.type == "error":
            return None
        if sender is None or not self.server.hosts[to.domain].is_admin(sender):
            raise StanzaError("auth", "forbidden")
        assert isinstance(message, Message)
        what, text = to.resource.removeprefix(RESOURCE), message.body or ""
        if not text and what != "motd/delete":
            raise StanzaError("modify", "not-acceptable", "there is nothing to announce")
        subject = message.tree.text_of(None, "subject") or ANNOUNCEMENT
        match what:
            case "online":
                self.announce(to.domain, text, subject)
                return Verdict.STOP
            case "all":
                in_background(self.announce_to_all(to.domain, text, subject), "announcing something to everybody")
                return Verdict.STOP
            case "motd":
                return self._stop_after(self.set_motd(to.domain, text))
            case "motd/update":
                return self._stop_after(self.edit_motd(to.domain, text))
            case "motd/delete":
                return self._stop_after(self._delete(to.domain, MOTD))
        raise StanzaError("cancel", "item-not-found", "there is no such kind of announcement")

    @staticmethod
    async def _stop_after(doing: Any) -> Verdict:
        await doing
        return Verdict.STOP
