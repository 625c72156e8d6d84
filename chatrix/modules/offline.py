"""XEP-0160: Best Practices for Handling Offline Messages, version 1.0.1; delays by XEP-0203."""

from __future__ import annotations

import time
from dataclasses import dataclass

from twisted.internet.defer import DeferredLock

from chatrix.api import BecameAvailable, Module, Session, Stanza, StanzaError, Undelivered, Verdict, on, option
from chatrix.xmpp.element import parse
from chatrix.xmpp.namespaces import NS_CHATSTATES, NS_HINTS, NS_MSGOFFLINE
from chatrix.xmpp.stanza import from_tree
from chatrix.xmpp.timestamps import delay

PAGE = 10
"Messages written before the client may read: all at once could be more than may wait for it, and end its stream."

NOT_STORED = {(NS_HINTS, "no-store"), (NS_HINTS, "no-permanent-store")}


@dataclass(frozen=True, kw_only=True)
class OfflineOptions:
    """What the server keeps for those who are away."""

    messages: int = option(100, doc="Messages kept for one account; the next one bounces.", minimum=0, restart=True)


class Offline(Module):
    """Keep messages for an account that has no session to take them, and deliver them to the first that has."""

    features = (NS_MSGOFFLINE,)
    options = OfflineOptions
    settings: OfflineOptions

    @on(Undelivered)
    def keep(self, undelivered: Undelivered) -> object:
        """Store a message, unless it says or shows that it is only for now; then it is dropped."""
        children = undelivered.stanza.children
        if any(child in NOT_STORED for child in children):
            return Verdict.STOP
        if children and all(namespace == NS_CHATSTATES or name == "thread" for namespace, name in children):
            return Verdict.STOP
        return self._store(undelivered)

    async def _store(self, undelivered: Undelivered) -> Verdict:
        stored = await self.server.offline.append(
            str(jid), undelivered.stanza.to_bytes(), time.time_ns() // 1000, limit.most
        )
        jid = undelivered.account.jid
        limit = self.server.tiers.offline_messages(jid, self.settings.messages)
        if not stored:
            raise StanzaError("cancel", "service-unavailable")
        # A session may have become able to take messages while this one was on its way to the disk.
        account = self.server.directory.account(undelivered.account.jid)
        for session in account.available if account is not None else ():
            if session.priority >= 0:
                await self._deliver(session)
                break
        return Verdict.STOP

    @on(BecameAvailable)
    async def deliver(self, fact: BecameAvailable) -> None:
        """A session can take messages: it gets those that wait."""
        if fact.session.priority >= 0:
            await self._deliver(fact.session)

    async def _deliver(self, session: Session) -> None:
        """Write what waits to a session; one at a time, or a message would come twice."""
        account = session.account
        turn: DeferredLock = account.state(Offline) or DeferredLock()
        account.keep(Offline, turn)
        await turn.acquire()
        try:
            while messages := await self.server.offline.take(str(account.jid), limit=PAGE):
                if account.sessions.get(session.jid.resource) is not session:
                    # Gone meanwhile: the messages stay for the next.
                    return
                for message in messages:
                    session.write(self._stamped(message.stanza, session, message.stored_at))
                await self.server.offline.delete(str(account.jid), messages[-1].id)
        finally:
            turn.release()
            if not turn.locked:
                account.keep(Offline, None)

    def _stamped(self, raw: bytes, session: Session, stored_at: int) -> Stanza:
        stanza = from_tree(parse(raw))
        stanza.append(delay(session.jid.domain, stored_at))
        return stanza
