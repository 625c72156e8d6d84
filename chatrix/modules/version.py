"""XEP-0092: Software Version, version 1.1; the same in disco#info by XEP-0232, version 0.3."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from chatrix.api import IQ, Element, Form, Host, Module, Target, iq
from chatrix.xmpp.dataform import Field
from chatrix.xmpp.namespaces import NS_SOFTWAREINFO, NS_VERSION

NAME = "chatrix"
VERSION = version("chatrix")


class Version(Module):
    """Tell name and version of the server; never the operating system, which helps only attackers."""

    features = (NS_VERSION,)

    @iq("get", (NS_VERSION, "query"), to=Target.HOST)
    def tell(self, request: IQ) -> Element:
        """Answer with what may be known."""
        query = Element(NS_VERSION, "query")
        query.add(NS_VERSION, "name", text=NAME)
        query.add(NS_VERSION, "version", text=VERSION)
        return query

    def forms(self, host: Host) -> Iterable[Form]:
        """The same, for those who look at disco#info."""
        fields = (Field("software", values=(NAME,)), Field("software_version", values=(VERSION,)))
        return (Form("result", fields, form_type=NS_SOFTWAREINFO),)
