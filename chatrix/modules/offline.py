"""XEP-0160: Best Practices for Handling Offline Messages, version 1.0.1; XEP-0334: Message Processing Hints, version
1.0.0; delays by XEP-0203: Delayed Delivery, version 2.0.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from twisted.internet.defer import DeferredLock
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from chatrix.api import (
    BecameAvailable,
    Blocklist,
    Duration,
    Module,
    Session,
    Stage,
    Stanza,
    StanzaError,
    Undelivered,
    Verdict,
    Writing,
    in_background,
    on,
    option,
    repeat,
)
from chatrix.xmpp.element import parse
from chatrix.xmpp.keeping import waits
from chatrix.xmpp.namespaces import NS_DELAY, NS_HINTS, NS_MSGOFFLINE
from chatrix.xmpp.stanza import from_tree
from chatrix.xmpp.timestamps import delay

log = Logger(namespace="chatrix.offline")

PAGE = 10
"Messages written before the client may read: all at once could be more than may wait for it, and end its stream."
LOOK_AGAIN = 0.1
"Seconds after which a slow client may have read a page."
MOST_HELD = 1 << 20
"Octets of new messages that wait for the old ones; what comes then overtakes them."
HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class OfflineOptions:
    """What the server keeps for those who are away."""

    messages: int = option(100, doc="Messages kept for one account; the next one bounces.", minimum=0, restart=True)
    age: Duration | None = option(
        None, doc="How long a message waits, before it is forgotten; none stands for ever.", minimum=HOUR, restart=True
    )


class Held:
    """New messages for a session that is still getting the old ones."""

    __slots__ = ("deliveries", "octets", "stanzas")

    def __init__(self) -> None:
        self.deliveries = 0
        self.octets = 0
        self.stanzas: list[Stanza] = []


class Offline(Module):
    """Keep messages for an account that has no session to take them, and deliver them to the first that has."""

    features = (NS_MSGOFFLINE, NS_HINTS)
    options = OfflineOptions
    settings: OfflineOptions

    _forgetting: LoopingCall | None = None

    async def start(self) -> None:
        """Forget what is too old from now on, if anything ever is."""
        if self.settings.age is not None:
            self._forgetting = repeat(self.server.reactor, HOUR, self._forget, "forgetting old messages")

    async def stop(self) -> None:
        """No more of that."""
        if self._forgetting is not None:
            self._forgetting.stop()

    async def _forget(self) -> None:
        assert self.settings.age is not None
        await self.server.offline.expire(_now() - int(self.settings.age * 1_000_000))

    # Keeping

    @on(Undelivered)
    def keep(self, undelivered: Undelivered) -> object:
        """Store a message, unless it says or shows that it is only for now; then it is dropped."""
        return self._store(undelivered) if waits(undelivered.stanza) else Verdict.STOP

    async def _store(self, undelivered: Undelivered) -> Verdict:
        jid = undelivered.account.jid
        limit = self.server.tiers.offline_messages(jid, self.settings.messages)
        if not await self.server.offline.append(str(jid), undelivered.stanza.to_bytes(), _now(), limit.most):
            raise StanzaError("cancel", "service-unavailable", "too many messages wait for the recipient already")
        # A session may have become able to take messages while this one was on its way to the disk.
        account = self.server.directory.account(jid)
        for session in account.available if account is not None else ():
            if session.priority >= 0:
                await self._deliver(session)
                break
        return Verdict.STOP

    # Delivering

    @on(BecameAvailable, Stage.SCREEN)
    def deliver(self, fact: BecameAvailable) -> None:
        """A session can take messages: it gets those that wait, and only then what is new."""
        if fact.session.priority >= 0:
            in_background(self._deliver(fact.session), "delivering offline messages")

    async def _deliver(self, session: Session) -> None:
        """Write what waits to a session; one at a time, or a message would come twice."""
        held: Held = session.state(Offline) or Held()
        held.deliveries += 1
        session.watched += 1
        session.keep(Offline, held)
        account = session.account
        turn: DeferredLock = account.state(Offline) or DeferredLock()
        account.keep(Offline, turn)
        try:
            await turn.acquire()
            try:
                await self._write_all(session, held)
            finally:
                turn.release()
                if not turn.locked:
                    account.keep(Offline, None)
        finally:
            session.watched -= 1
            held.deliveries -= 1
            if not held.deliveries:
                session.keep(Offline, None)
                await self._let_go(session, held)

    async def _write_all(self, session: Session, held: Held) -> None:
        account = str(session.account.jid)
        while messages := await self.server.offline.take(account, limit=PAGE):
            # These are not to be held themselves.
            session.keep(Offline, None)
            for message in messages:
                if self._is_gone(session):
                    break
                self._write(session, message.stanza, message.stored_at)
            session.keep(Offline, held)
            pause = 0.0
            while session.stream.unread and not self._is_gone(session):
                await deferLater(self.server.reactor, pause)
                pause = LOOK_AGAIN
            if self._is_gone(session):
                # What it has seen of them nobody knows: they wait for the next, who may see them twice.
                return
            await self.server.offline.delete(account, messages[-1].id)

    def _is_gone(self, session: Session) -> bool:
        return session.stream.closing or self.server.directory.session(session.jid) is not session

    def _write(self, session: Session, raw: bytes, stored_at: int) -> None:
        try:
            stanza = from_tree(parse(raw))
            sender = stanza.from_
        except (ValueError, KeyError, StanzaError):
            log.failure("a stored message is damaged: it is dropped")
            return
        blocklist = session.account.state(Blocklist)
        if blocklist is not None and sender is not None and blocklist.blocks(sender):
            # Blocked since it came.
            return
        host = session.jid.domain
        delays = (child for child in iter(stanza.tree) if (child.namespace, child.name) == (NS_DELAY, "delay"))
        if not any(each.get("from") == host for each in delays):
            stanza.append(delay(host, stored_at))
        session.write(stanza)

    # New messages meanwhile

    @on(Writing, stanzas=("message",))
    def hold(self, writing: Writing) -> Verdict | None:
        """What is new waits for what is old: the order of what one sender says is kept (RFC 6120 section 10.1)."""
        held: Held | None = writing.session.state(Offline)
        if held is None or held.octets > MOST_HELD:
            return None
        held.stanzas.append(writing.stanza)
        held.octets += len(writing.stanza.inner)
        return Verdict.HOLD

    async def _let_go(self, session: Session, held: Held) -> None:
        for stanza in held.stanzas:
            if not self._is_gone(session):
                session.write(stanza)
            elif waits(stanza):
                try:
                    await self._store(Undelivered(stanza, session.account))
                except StanzaError as error:
                    self.server.router.bounce(stanza, error)


def _now() -> int:
    return time.time_ns() // 1000
