"""What only a server may say, taken out of what clients and strangers say: delays, carbons, archives, privileges.

A client that is careless believes a delay (XEP-0203 section 5) in the name of its server, and a copy (XEP-0280
section 11) or a result from the archive (XEP-0313 section 8) that somebody else has made up. No client of ours says
such a thing for a good reason, and nobody says it in our name.

Stanza ids are `stanza_id`'s business, the marks of a room (XEP-0045, XEP-0421) the room's.
"""

from __future__ import annotations

from chatrix.api import JID, Arriving, Element, InvalidJID, Module, Sending, Stage, Stanza, on
from chatrix.xmpp.namespaces import NS_CARBONS, NS_DELAY, NS_DELEGATION, NS_LEGACY_DELAY, NS_MAM, NS_PRIVILEGE

DELAYS = frozenset({(NS_DELAY, "delay"), (NS_LEGACY_DELAY, "x")})
COPIES = frozenset({(NS_CARBONS, "sent"), (NS_CARBONS, "received")})
POWERS = frozenset({(NS_PRIVILEGE, "privilege"), ("urn:xmpp:privilege:1", "privilege"), (NS_DELEGATION, "delegation")})
FROM_CLIENTS = COPIES | POWERS | {(NS_MAM, "result"), (NS_MAM, "fin")}
"""What no client sends in a message."""
TO_ACCOUNTS = COPIES | POWERS
"""What nobody else sends to an account; the result of a room's archive is true."""
LOOKED_AT_SENDING = FROM_CLIENTS | DELAYS
LOOKED_AT_ARRIVING = TO_ACCOUNTS | DELAYS


class Forgery(Module):
    """Strip it, all copies, wherever they stand."""

    @on(Sending, Stage.STAMP, stanzas=("message", "presence"))
    def strip_sent(self, sending: Sending) -> None:
        """Before anybody keeps or copies it."""
        if not LOOKED_AT_SENDING.isdisjoint(sending.stanza.children):
            self._strip(sending.stanza, sending.account.jid, FROM_CLIENTS, ours_too=False)

    @on(Arriving, Stage.STAMP, stanzas=("message",))
    def strip_arriving(self, arriving: Arriving) -> None:
        """The same for what comes from elsewhere."""
        stanza = arriving.stanza
        if LOOKED_AT_ARRIVING.isdisjoint(stanza.children):
            return
        account = arriving.account.jid
        if stanza.attributes.get("from") != str(account):
            self._strip(stanza, account, TO_ACCOUNTS, ours_too=True)

    def _strip(self, stanza: Stanza, account: JID, names: frozenset[tuple[str, str]], ours_too: bool) -> None:
        """Remove these, and delays by a host of ours; with `ours_too`, also those by the account."""
        serves = self.server.directory.serves

        def forged(child: Element) -> bool:
            name = (child.namespace, child.name)
            if name in names:
                return True
            if name not in DELAYS:
                return False
            try:
                by = JID.parse(child.get("from", ""))
            except InvalidJID:
                return False
            return (not by.local and serves(by.domain)) or (ours_too and by.bare == account)

        stanza.remove_children(forged)
