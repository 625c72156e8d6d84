"""XEP-0359: Unique and Stable Stanza IDs, version 0.7.0.

Security: clients take the id `by` an account for its server's word. So all elements that claim to be by the account, or
by its host, are removed from what the account sends and from what reaches it, wherever they stand and however the
address is written; then ours is added.
"""

from __future__ import annotations

import secrets
from typing import Any

from chatrix.api import (
    JID,
    Arriving,
    Element,
    Ids,
    InvalidJID,
    Module,
    Sending,
    Server,
    Stage,
    Stanza,
    on,
)
from chatrix.xmpp.element import escape_attribute
from chatrix.xmpp.keeping import is_archived
from chatrix.xmpp.namespaces import NS_STANZA_ID

STANZA_ID = (NS_STANZA_ID, "stanza-id")
TOKENS = 512
"""Tokens made at once: asking the system for each costs more than everything else here."""
DIGITS = 16


class StanzaIds:
    """Makes ids: the first half of one grows with time, the second nobody can guess."""

    def __init__(self) -> None:
        self._ids = Ids()
        self._tokens = ""
        self._position = 0

    def next(self) -> str:
        """An id of 32 hexadecimal digits; as text, too, it comes after all that were made before."""
        position = self._position
        if position == len(self._tokens):
            self._tokens = secrets.token_hex(TOKENS * DIGITS // 2)
            position = 0
        end = self._position = position + DIGITS
        return f"{self._ids.next():016x}{self._tokens[position:end]}"


class StanzaId(Module):
    """Give each message that is worth keeping an id by the account it arrives at, and believe nobody else's."""

    features = (NS_STANZA_ID,)
    account_features = (NS_STANZA_ID,)

    def __init__(self, server: Server, options: Any) -> None:
        super().__init__(server, options)
        self._ids = StanzaIds()

    @on(Sending, Stage.STAMP, stanzas=("message",))
    def strip(self, sending: Sending) -> None:
        """Nobody speaks for his own server, either."""
        stanza = sending.stanza
        if STANZA_ID in stanza.children:
            _strip(stanza, sending.session.account.jid)

    @on(Arriving, Stage.STAMP, stanzas=("message",))
    def stamp(self, arriving: Arriving) -> None:
        """Section 3: remove what claims to be ours, "even if they are not adding their own stanza ID"; add ours."""
        stanza = arriving.stanza
        account = arriving.account.jid
        if STANZA_ID in stanza.children:
            _strip(stanza, account)
        if is_archived(stanza):
            stanza_id = arriving.stanza_id = self._ids.next()
            by = escape_attribute(str(account))
            element = f"<stanza-id xmlns='{NS_STANZA_ID}' by='{by}' id='{stanza_id}'/>"
            stanza.append(element.encode(), STANZA_ID)


def _strip(stanza: Stanza, account: JID) -> None:
    stanza.remove_children(lambda child: _claims(child, account))


def _claims(child: Element, account: JID) -> bool:
    """Whether a child is an id by the account or its host, in any spelling."""
    if (child.namespace, child.name) != STANZA_ID:
        return False
    try:
        by = JID.parse(child.get("by", ""))
    except InvalidJID:
        return False
    return by.bare == account or (not by.local and by.domain == account.domain)
