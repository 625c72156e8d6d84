"""XEP-0115: Entity Capabilities, version 1.6: the server's own; those of clients are `server.capabilities`."""

from __future__ import annotations

from collections.abc import Iterable

from chatrix.api import IQ, Element, Host, Module, Server, Session
from chatrix.xmpp.caps import Claim, ver
from chatrix.xmpp.namespaces import NS_CAPS

NODE = "https://chatrix.one"
HASH = "sha-1"
"""What every client can verify (section 9.1)."""


class Caps(Module):
    """Show in the stream features what disco#info of the host would say, so that known clients need not ask."""

    features = (NS_CAPS,)
    requires = ("disco",)

    def __init__(self, server: Server, options: None) -> None:
        super().__init__(server, options)
        self._claims: dict[str, tuple[int, Claim]] = {}
        "By host, with the number of the ini that it was made from."

    def host_features(self, host: Host) -> Iterable[Element]:
        """The claim of this host, whose forms may be its own."""
        return (self.claim(host).to_element(),)

    def claim(self, host: Host) -> Claim:
        """Made once for each host, and anew after the ini was read again."""
        configured, claim = self._claims.get(host.domain, (0, None))
        if claim is None or configured != self.server.configured:
            claim = Claim(HASH, NODE, ver(self.server.info(host), HASH))
            self._claims[host.domain] = (self.server.configured, claim)
        return claim

    async def info_of_node(self, request: IQ, node: str) -> Element | None:
        """The node that stands for the claim has the info that the host has (section 6.2)."""
        to = request.to
        host = None if to is None or to.local else self.server.hosts.get(to.domain)
        if host is None or node != f"{NODE}#{self.claim(host).ver}":
            return None
        return self.server.info(host, node)

    async def features_of(self, session: Session) -> frozenset[str]:
        """What the client of a session can do; see `chatrix.server.capabilities`."""
        return await self.server.capabilities.features_of(session)
