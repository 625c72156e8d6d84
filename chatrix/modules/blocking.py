"""XEP-0191: Blocking Command, version 1.3; with reports by XEP-0377: Blocking Command Reports, version 0.4.1.

Security: whoever is blocked finds the account as if it were offline, or not there at all. The account's own sessions
and its server are never blocked. A list is read once while an account is connected, and bounded, like what is reported.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.defer import DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chatrix.api import (
    IQ,
    JID,
    Account,
    AccountDeleted,
    Arriving,
    Blocklist,
    BlocklistStore,
    Duration,
    Element,
    InvalidJID,
    Module,
    Presence,
    Report,
    Reports,
    Sending,
    Server,
    Session,
    SessionEnded,
    Stage,
    Stanza,
    StanzaError,
    Target,
    TooManyItems,
    Verdict,
    iq,
    on,
    option,
    repeat,
    send_current,
    unavailable,
)
from chatrix.xmpp.element import XML_LANG
from chatrix.xmpp.namespaces import NS_BLOCKING, NS_BLOCKING_ERRORS, NS_MUC_USER, NS_REPORTING, NS_STANZA_ID

log = Logger(namespace="chatrix.blocking")

DAY = 86_400
LONGEST_REASON = 255
LONGEST_TEXT = 2000
"Characters of what a user says of a JID."
MOST_STANZAS = 20
"Messages that one report may name."
MUC_USER = (NS_MUC_USER, "x")


@dataclass(frozen=True, kw_only=True)
class BlockingOptions:
    """How much users may block, and how long the admins have to read what they report."""

    items: int = option(1000, doc="JIDs that one account may block.", minimum=1, restart=True)
    reports: Duration = option(
        Duration(90 * DAY), doc="How long a report of spam or abuse is kept.", minimum=DAY, restart=True
    )


class Blocking(Module):
    """Let users stop traffic to and from JIDs of their choice."""

    features = (NS_BLOCKING, NS_REPORTING)
    account_features = (NS_BLOCKING,)
    options = BlockingOptions
    settings: BlockingOptions

    def __init__(self, server: Server, options: BlockingOptions) -> None:
        super().__init__(server, options)
        self.lists = server.router.blocklists
        self.store = BlocklistStore(server.database)
        self.reports = Reports(server.database)
        self._forgetting: LoopingCall | None = None

    async def start(self) -> None:
        """Forget old reports from now on."""
        self._forgetting = repeat(self.server.reactor, DAY, self._forget_reports, "forgetting old reports")

    async def stop(self) -> None:
        """No more of that."""
        if self._forgetting is not None:
            self._forgetting.stop()

    async def _forget_reports(self) -> None:
        await self.reports.expire(time.time_ns() // 1000 - int(self.settings.reports * 1_000_000))

    # Stanzas of the account

    @on(Sending, Stage.SCREEN)
    def refuse_to_send(self, sending: Sending) -> object:
        """Nothing goes to whom the account blocks (section 3.3)."""
        blocklist = sending.session.account.state(Blocklist)
        if blocklist is None:
            return self._refuse_later(sending)
        return _refuse(blocklist, sending) if blocklist.jids else None

    async def _refuse_later(self, sending: Sending) -> Verdict | None:
        return _refuse(await self.of(sending.account), sending)

    @on(Arriving, Stage.SCREEN)
    def screen(self, arriving: Arriving) -> object:
        """Nothing comes from whom the account blocks (section 3.3)."""
        account = arriving.account
        blocklist = account.state(Blocklist) or self.lists.known(account)
        if blocklist is None:
            return self._screen_later(account, arriving.stanza)
        return _screen(blocklist, arriving.stanza) if blocklist.jids else None

    async def _screen_later(self, account: Account, stanza: Stanza) -> Verdict | None:
        return _screen(await self.of(account), stanza)

    # Lists in memory

    async def of(self, account: Account) -> Blocklist:
        """The list of an account; an empty one when there is no such account."""
        blocklist = self.lists.known(account)
        if blocklist is None:
            jids = await self.store.load(str(account.jid))
            # While the database was asked, somebody else may have got the answer, and changed it.
            blocklist = self.lists.of(account.jid)
            if blocklist is None:
                blocklist = Blocklist(account.jid, frozenset(jids))
                self.lists.remember(blocklist)
        return blocklist

    @on(SessionEnded)
    def leave(self, fact: SessionEnded) -> None:
        """What is with the account goes among those of accounts that are not connected."""
        self.lists.leave(fact.session.account)

    @on(AccountDeleted)
    def forget(self, fact: AccountDeleted) -> None:
        """Whoever gets the name next blocks nobody."""
        self.lists.forget(fact.jid)

    # Requests

    @iq("get", (NS_BLOCKING, "blocklist"), to=Target.OWN_ACCOUNT)
    async def tell(self, request: IQ) -> Element:
        """The items; from now on the session is told of changes (section 3.2)."""
        session = self._session_of(request)
        session.keep(Blocking, True)
        return _list("blocklist", sorted((await self.of(session.account)).jids))

    @iq("set", (NS_BLOCKING, "block"), to=Target.OWN_ACCOUNT)
    async def block(self, request: IQ) -> Verdict:
        """Block one JID or several, and keep what is reported of them (section 3.3, XEP-0377 section 6)."""
        session = self._session_of(request)
        items = _items(request.payload)
        if not items:
            raise StanzaError("modify", "bad-request", "nobody is named")
        if any(jid.bare == session.jid.bare for jid in items):
            raise StanzaError("cancel", "not-allowed", "nobody blocks himself")
        jids = [str(jid) for jid in items]
        await self._change(request, session, "block", jids)
        for jid, item in items.items():
            await self._keep_report(session, jid, item)
        return Verdict.STOP

    @iq("set", (NS_BLOCKING, "unblock"), to=Target.OWN_ACCOUNT)
    async def unblock(self, request: IQ) -> Verdict:
        """Unblock one JID or several, or all (sections 3.4 and 3.5)."""
        session = self._session_of(request)
        items = _items(request.payload)
        if not items and len(request.payload):
            raise StanzaError("modify", "bad-request", "nobody is named")
        await self._change(request, session, "unblock", [str(jid) for jid in items])
        return Verdict.STOP

    def _session_of(self, request: IQ) -> Session:
        sender = request.from_
        session = None if sender is None else self.server.directory.session(sender)
        if session is None:
            raise StanzaError("cancel", "service-unavailable")
        return session

    async def _change(self, request: IQ, session: Session, command: str, jids: list[str]) -> None:
        """Change the list, answer, tell the other sessions, and let the presence of the account be seen by it."""
        account = session.account
        # With the account, so that it goes when the last session does.
        turn: DeferredLock = account.state(Blocking) or DeferredLock()
        account.keep(Blocking, turn)
        async with _Turn(turn):
            before = await self.of(account)
            roster = await self.server.rosters.of(account.jid)
            if command == "block":
                try:
                    await self.store.block(str(account.jid), jids, self.settings.items)
                except TooManyItems:
                    text = f"the block list is full: it holds {self.settings.items} items"
                    raise StanzaError("wait", "resource-constraint", text) from None
                after = Blocklist(account.jid, before.jids | set(jids))
                self._hide(account, before, after, roster.subscribers if roster is not None else ())
                self.lists.remember(after)
            else:
                await self.store.unblock(str(account.jid), jids or None)
                after = Blocklist(account.jid, before.jids - set(jids) if jids else frozenset())
                self.lists.remember(after)
                if roster is not None:
                    self._show(account, before, after, roster.subscribers, roster.subscriptions)
        self.server.router.send_answer(request.reply())
        for other in account.sessions.values():
            if other.state(Blocking):
                attributes = {"type": "set", "id": secrets.token_hex(8), "to": str(other.jid)}
                other.write(IQ.build(attributes, _list(command, jids)))

    def _hide(self, account: Account, before: Blocklist, after: Blocklist, subscribers: Iterable[str]) -> None:
        """Those who saw the account and are blocked now see it leave; called before the list is in force."""
        gone = _difference(after, before, subscribers)
        router = self.server.router
        for session in account.sessions.values():
            told = set(gone) if session.presence is not None else set()
            for text, jid in list((session.directed or {}).items()):
                if after.blocks(jid) and session.directed is not None:
                    del session.directed[text]
                    if str(jid.bare) not in told:
                        told.add(text)
            for text in sorted(told):
                presence = unavailable(session)
                presence.attributes["to"] = text
                router.send_answer(presence)

    def _show(
        self,
        account: Account,
        before: Blocklist,
        after: Blocklist,
        subscribers: Iterable[str],
        subscriptions: Iterable[str],
    ) -> None:
        """Those who may see the account and are not blocked any more see it again, and it sees those it may see."""
        router = self.server.router
        for contact in _difference(before, after, subscribers):
            send_current(router, account, contact)
        if account.available:
            for contact in _difference(before, after, subscriptions):
                router.send_answer(Presence({"from": str(account.jid), "to": contact, "type": "probe"}))

    # Reports

    async def _keep_report(self, session: Session, jid: JID, item: Element) -> None:
        """The block holds whatever becomes of the report (XEP-0377 section 6)."""
        element = item.child(NS_REPORTING, "report")
        reason = "" if element is None else element.get("reason", "")
        if element is None or not 0 < len(reason) <= LONGEST_REASON:
            return
        ids = [child for child in element if (child.namespace, child.name) == (NS_STANZA_ID, "stanza-id")]
        report = Report(
            account=str(session.jid.bare),
            jid=str(jid),
            reason=reason,
            reported_at=time.time_ns() // 1000,
            text=_text(element),
            stanza_ids=tuple((each.get("by", "")[:1023], each.get("id", "")[:255]) for each in ids[:MOST_STANZAS]),
            to_origin=element.child(NS_REPORTING, "report-origin") is not None,
            to_third_parties=element.child(NS_REPORTING, "third-party") is not None,
        )
        try:
            kept = await self.reports.add(report)
        except Exception:
            log.failure("a report of {jid!r} could not be kept", jid=report.jid)
            return
        what = "{account!r} has blocked and reported {jid!r}: {reason!r}"
        if not kept:
            what += " (not kept, there are too many reports)"
        log.info(what, account=report.account, jid=report.jid, reason=report.reason)


class _Turn:
    """`async with` a DeferredLock."""

    def __init__(self, lock: DeferredLock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


def _refuse(blocklist: Blocklist, sending: Sending) -> Verdict | None:
    """Section 3.3: "the user's server MUST NOT route the stanza to the JID".

    The error is written, not raised: as it seems to come from the blocked JID, it would not arrive.
    """
    stanza = sending.stanza
    to = stanza.to
    if to is None or not blocklist.blocks(to):
        return None
    if stanza.type != "error" and not (stanza.name == "iq" and stanza.type == "result"):
        error = StanzaError("cancel", "not-acceptable", extra=Element(NS_BLOCKING_ERRORS, "blocked"))
        sending.session.write(stanza.error(error))
    return Verdict.STOP


def _screen(blocklist: Blocklist, stanza: Stanza) -> Verdict | None:
    """Section 3.3: an error to messages and requests, silence to presence and to answers.

    Silence, too, to what is not bounced for an account that is offline, and to what comes through a room: a room takes
    the error of one of its occupants for the occupant's end.
    """
    sender = stanza.from_
    if sender is None or not blocklist.blocks(sender):
        return None
    if stanza.name == "iq":
        answered = stanza.type in ("get", "set")
    elif stanza.name == "message":
        answered = stanza.type not in ("headline", "groupchat", "error") and MUC_USER not in stanza.children
    else:
        answered = False
    if answered:
        raise StanzaError("cancel", "service-unavailable")
    return Verdict.STOP


def _difference(more: Blocklist, less: Blocklist, contacts: Iterable[str]) -> list[str]:
    """Of these bare JIDs those blocked by one list and not by the other; of items with a resource, the full JIDs."""
    found: list[str] = []
    for contact in contacts:
        jid = JID.parse(contact)
        if less.blocks(jid):
            continue
        if more.blocks(jid):
            found.append(contact)
            continue
        found += sorted(text for text in more.jids - less.jids if text.startswith(f"{contact}/"))
    return found


def _items(command: Element) -> dict[JID, Element]:
    """The items of a command by JID."""
    items: dict[JID, Element] = {}
    for item in command:
        if (item.namespace, item.name) != (NS_BLOCKING, "item"):
            continue
        text = item.get("jid")
        if not text:
            raise StanzaError("modify", "bad-request", "an item names a JID")
        try:
            items[JID.parse(text)] = item
        except InvalidJID:
            raise StanzaError("modify", "jid-malformed") from None
    return items


def _list(name: str, jids: Iterable[str]) -> Element:
    element = Element(NS_BLOCKING, name)
    for jid in jids:
        element.add(NS_BLOCKING, "item", {"jid": jid})
    return element


def _text(report: Element) -> str:
    """What the user says, in the first language there is."""
    found = report.child(NS_REPORTING, "text")
    if found is None or found.text is None:
        return ""
    language = found.get(XML_LANG)
    text = found.text.strip()[:LONGEST_TEXT]
    return f"[{language[:35]}] {text}" if language else text
