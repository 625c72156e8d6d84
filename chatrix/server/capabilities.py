"""What the clients of our sessions can do: learned from themselves, and once for all that show the same (XEP-0115).

SECURITY: what one client says is believed for others only when its hash is right and it can be read in one way only
(`chatrix.xmpp.caps`). Without a hash, with an unknown or a wrong one, an answer counts for its own session alone. The
memory is bounded: the least recently used answers are forgotten, and one that is too long is none.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from twisted.internet.defer import Deferred

from chatrix.server.iq import Requests
from chatrix.server.session import Session
from chatrix.xmpp.caps import Claim, IllFormed, is_shareable, ver
from chatrix.xmpp.disco import features_in
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.namespaces import NS_DISCO_INFO
from chatrix.xmpp.stanza import IQ, Presence

KEPT: Final = 1000
LONGEST_ANSWER: Final = 16 * 1024
"""Octets of an answer; clients in use need a quarter of it."""
NOTHING: Final[frozenset[str]] = frozenset()


class _Told:
    """What one session claims, and what came of asking it."""

    __slots__ = ("claim", "features", "presence", "waiting")

    def __init__(self, presence: Presence, claim: Claim | None) -> None:
        self.presence = presence
        self.claim = claim
        self.features: frozenset[str] | None = None
        "Its own answer, when it is not one for all."
        self.waiting: list[Deferred[frozenset[str]]] | None = None
        "Who else wants to know, while the client is being asked."


class Capabilities:
    """The features of clients, by what their presence claims."""

    def __init__(self, requests: Requests, kept: int = KEPT) -> None:
        self._requests = requests
        self._kept = kept
        self._known: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()
        "By hash and ver."

    def known(self, claim: Claim) -> frozenset[str] | None:
        """The features of all who claim this, if somebody has proved them."""
        if not claim.verifiable:
            return None
        features = self._known.get((claim.hash, claim.ver))
        if features is not None:
            self._known.move_to_end((claim.hash, claim.ver))
        return features

    async def features_of(self, session: Session) -> frozenset[str]:
        """What a session's client can do; nothing when it does not say, or does not answer.

        Asked when it is not known; asking costs nobody but who asks: presence goes on meanwhile.
        """
        presence = session.presence
        if presence is None:
            return NOTHING
        told: _Told | None = session.state(Capabilities)
        if told is None or told.presence is not presence:
            told = self._look(session, told, presence)
        if told.claim is None:
            return NOTHING
        features = self.known(told.claim)
        if features is None:
            features = told.features
        if features is not None:
            return features
        if told.waiting is not None:
            answer: Deferred[frozenset[str]] = Deferred()
            told.waiting.append(answer)
            return await answer
        return await self._learn(session, told, told.claim)

    def _look(self, session: Session, told: _Told | None, presence: Presence) -> _Told:
        """Read the claim of a new presence; with the same claim as before, nothing is new."""
        claim = Claim.of(presence)
        if told is None or told.claim != claim:
            told = _Told(presence, claim)
            session.keep(Capabilities, told)
        told.presence = presence
        return told

    async def _learn(self, session: Session, told: _Told, claim: Claim) -> frozenset[str]:
        told.waiting = []
        features = NOTHING
        try:
            features = told.features = await self._ask(session, claim)
        except StanzaError as error:
            # Who has said no is not asked again; who was silent (asleep, perhaps) is.
            if error.type != "wait":
                told.features = NOTHING
        finally:
            waiting, told.waiting = told.waiting, None
            for each in waiting:
                each.callback(features)
        return features

    async def _ask(self, session: Session, claim: Claim) -> frozenset[str]:
        query = Element(NS_DISCO_INFO, "query", {"node": f"{claim.node}#{claim.ver}"})
        addresses = {"type": "get", "from": session.jid.domain, "to": str(session.jid)}
        reply = await self._requests.ask(IQ.build(addresses, query))
        if len(reply.inner) > LONGEST_ANSWER:
            return NOTHING
        answer = reply.child(NS_DISCO_INFO, "query")
        if answer is None:
            return NOTHING
        features = frozenset(features_in(answer))
        if _proves(answer, claim):
            self._known[(claim.hash, claim.ver)] = features
            if len(self._known) > self._kept:
                self._known.popitem(last=False)
        return features


def _proves(answer: Element, claim: Claim) -> bool:
    try:
        return claim.verifiable and ver(answer, claim.hash) == claim.ver and is_shareable(answer)
    except IllFormed:
        return False
