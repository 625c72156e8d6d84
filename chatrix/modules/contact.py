"""XEP-0157: Contact Addresses for XMPP Services, version 1.1.1."""

from __future__ import annotations

from collections.abc import Iterable

from chatrix.api import Form, Host, Module
from chatrix.xmpp.dataform import Field
from chatrix.xmpp.namespaces import NS_SERVERINFO

ROLES = ("abuse", "admin", "feedback", "sales", "security", "status", "support")
"""Each has an option `ROLE contact` in the section of the host."""


class Contact(Module):
    """Tell in disco#info of a host whom to write to."""

    requires = ("disco",)

    def forms(self, host: Host) -> Iterable[Form]:
        """The addresses that the ini gives; no form without any."""
        addresses = {role: getattr(host.options, f"{role}_contact") for role in ROLES}
        fields = tuple(
            Field(f"{role}-addresses", "list-multi", values=given) for role, given in addresses.items() if given
        )
        return (Form("result", fields, form_type=NS_SERVERINFO),) if fields else ()
