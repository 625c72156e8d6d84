"""XEP-0199: XMPP Ping, version 2.0.1."""

from __future__ import annotations

from chatrix.api import IQ, Module, Target, iq
from chatrix.xmpp.namespaces import NS_PING


class Ping(Module):
    """Answer pings for the hosts, and for an account to its own clients."""

    features = (NS_PING,)

    @iq("get", (NS_PING, "ping"), to=(Target.HOST, Target.OWN_ACCOUNT))
    def pong(self, request: IQ) -> None:
        """An empty result says: here I am."""
