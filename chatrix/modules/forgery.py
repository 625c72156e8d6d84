"""What only a server may say, taken out of what others say: stanza ids, delays, copies, results, privileges.

Security: a client takes the id `by` its account for its server's word (XEP-0359 section 6), and a careless one believes
a delay in the name of its server (XEP-0203 section 5), a copy (XEP-0280 section 11) or a result from its archive
(XEP-0313 section 8) that somebody else has made up. No client of ours says the latter for a good reason, and nobody
says the former in our name: all copies go, wherever they stand, however namespace and address are written.

The marks of a room (XEP-0045, XEP-0421) are the room's business.
"""

from __future__ import annotations

from chatrix.api import JID, Arriving, Element, InvalidJID, Module, Sending, Stage, Stanza, on
from chatrix.xmpp.namespaces import (
    NS_CARBONS,
    NS_DELAY,
    NS_DELEGATION,
    NS_LEGACY_DELAY,
    NS_MAM,
    NS_PRIVILEGE,
    NS_STANZA_ID,
)

STANZA_ID = (NS_STANZA_ID, "stanza-id")
DELAYS = frozenset({(NS_DELAY, "delay"), (NS_LEGACY_DELAY, "x")})
COPIES = frozenset({(NS_CARBONS, "sent"), (NS_CARBONS, "received")})
POWERS = frozenset({(NS_PRIVILEGE, "privilege"), ("urn:xmpp:privilege:1", "privilege"), (NS_DELEGATION, "delegation")})
FROM_CLIENTS = COPIES | POWERS | {(NS_MAM, "result")}
"""What no client sends in a message."""
TO_ACCOUNTS = COPIES | POWERS
"""What nobody else sends to an account; the result of a room's archive is true."""
SENDING = FROM_CLIENTS | DELAYS | {STANZA_ID}
ARRIVING = TO_ACCOUNTS | DELAYS | {STANZA_ID}


class Forgery(Module):
    """Strip it, on the way out and on the way in."""

    @on(Sending, Stage.STAMP, stanzas=("message", "presence"))
    def strip_sent(self, sending: Sending) -> None:
        """Before anybody keeps or copies it."""
        stanza = sending.stanza
        if not SENDING.isdisjoint(stanza.children):
            self._strip(stanza, sending.account.jid, FROM_CLIENTS, arriving=False)

    @on(Arriving, Stage.STAMP, stanzas=("message",))
    def strip_arriving(self, arriving: Arriving) -> None:
        """The same for what comes from elsewhere."""
        stanza = arriving.stanza
        if not ARRIVING.isdisjoint(stanza.children):
            account = arriving.account.jid
            # What the account itself says, the server says for it.
            names = TO_ACCOUNTS if stanza.attributes.get("from") != str(account) else frozenset()
            self._strip(stanza, account, names, arriving=True)

    def _strip(self, stanza: Stanza, account: JID, names: frozenset[tuple[str, str]], *, arriving: bool) -> None:
        """Remove these, ids by the account or its host, and delays by a host of ours or, arriving, by the account."""
        serves = self.server.directory.serves

        def forged(child: Element) -> bool:
            name = (child.namespace, child.name)
            if name == STANZA_ID:
                by = _author(child, "by")
                return by is not None and (by.bare == account or (not by.local and by.domain == account.domain))
            if name in DELAYS:
                by = _author(child, "from")
                return by is not None and ((not by.local and serves(by.domain)) or (arriving and by.bare == account))
            return name in names

        stanza.remove_children(forged)


def _author(child: Element, attribute: str) -> JID | None:
    try:
        return JID.parse(child.get(attribute, ""))
    except InvalidJID:
        return None
