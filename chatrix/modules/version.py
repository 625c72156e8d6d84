"""XEP-0092: Software Version, version 1.1."""

from __future__ import annotations

from importlib.metadata import version

from chatrix.api import IQ, Element, Module, Target, iq
from chatrix.xmpp.namespaces import NS_VERSION

VERSION = version("chatrix")


class Version(Module):
    """Tell name and version of the server; never the operating system, which helps only attackers."""

    features = (NS_VERSION,)

    @iq("get", (NS_VERSION, "query"), to=Target.HOST)
    def tell(self, request: IQ) -> Element:
        """Answer with what may be known."""
        query = Element(NS_VERSION, "query")
        query.add(NS_VERSION, "name", text="chatrix")
        query.add(NS_VERSION, "version", text=VERSION)
        return query
