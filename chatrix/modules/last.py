"""XEP-0012: Last Activity, version 2.0."""

from __future__ import annotations

from chatrix.api import (
    IQ,
    Account,
    BecameUnavailable,
    Element,
    Module,
    Server,
    SessionEnded,
    StanzaError,
    Target,
    iq,
    microseconds,
    on,
)
from chatrix.xmpp.element import XML_LANG, parse
from chatrix.xmpp.namespaces import NS_LAST

QUERY = (NS_LAST, "query")


class Last(Module):
    """Tell who may see an account's presence since when it is away, and anybody since when the server runs.

    An account that does not exist answers like one that hides.
    """

    features = (NS_LAST,)
    account_features = (NS_LAST,)
    requires = ("presence",)

    def __init__(self, server: Server, options: None) -> None:
        super().__init__(server, options)
        server.last_seen.in_use = True
        self._started = server.reactor.seconds()

    @on(BecameUnavailable)
    def note(self, fact: BecameUnavailable) -> None:
        """Remember what the session said."""
        self.server.last_seen.became_unavailable(fact.session, fact.presence)

    @on(SessionEnded)
    async def keep(self, fact: SessionEnded) -> None:
        """Write it down, once for each session."""
        await self.server.last_seen.ended(fact.session, fact.presence)

    @iq("get", QUERY, to=Target.HOST)
    def tell_uptime(self, request: IQ) -> Element:
        """Section 5: since when the server runs."""
        return _answer(self.server.reactor.seconds() - self._started)

    @iq("get", QUERY, to=Target.OWN_ACCOUNT)
    def tell_oneself(self, request: IQ) -> Element:
        """Who asks is there."""
        return _answer(0)

    @iq("get", QUERY, to=Target.ACCOUNT)
    async def tell(self, request: IQ) -> Element:
        """Section 3."""
        asked, asking = request.to, request.from_
        assert asked is not None
        roster = await self.server.rosters.of(asked)
        if roster is None or asking is None or not roster.lets_see(asking):
            raise StanzaError("auth", "forbidden")
        account = self.server.directory.account(asked) or Account(asked)
        # "subject to local security policies": who is connected and unavailable wants to appear offline.
        if account.available:
            return _answer(0)
        activity = await self.server.last_seen.of(account)
        if activity is None:
            raise StanzaError("cancel", "item-not-found")
        return _answer((microseconds() - activity.at) / 1_000_000, _text(activity.status))


def _answer(seconds: float, status: str = "") -> Element:
    return Element(*QUERY, {"seconds": str(max(0, int(seconds)))}, status or None)


def _text(statuses: bytes) -> str:
    """The status that has no language of its own, or else the first."""
    found = list(parse(b"<all>" + statuses + b"</all>"))
    found.sort(key=lambda status: XML_LANG in status.attrib)
    return found[0].text or "" if found else ""
