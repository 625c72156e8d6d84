"""A host: one domain whose users log in here, as its section of the ini says."""

from __future__ import annotations

from dataclasses import dataclass

from chatrix.config.sections import HostOptions
from chatrix.xmpp.jid import JID


@dataclass(slots=True)
class Host:
    """One [host DOMAIN] section."""

    domain: str
    options: HostOptions

    def is_admin(self, jid: JID) -> bool:
        """Whether this account, with whatever resource, may administer this host and no other.

        An admin is an account of the host: nobody else's word for who he is, another host's or server's, gives power.
        """
        return jid.domain == self.domain and jid.bare in self.options.admins
