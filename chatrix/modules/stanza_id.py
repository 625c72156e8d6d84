"""XEP-0359: Unique and Stable Stanza IDs, version 0.7.0; those that are forged are `forgery`'s business."""

from __future__ import annotations

import secrets
import time
from typing import Any

from chatrix.api import Arriving, Module, Server, Stage, on
from chatrix.xmpp.keeping import is_archived
from chatrix.xmpp.namespaces import NS_STANZA_ID

STANZA_ID = (NS_STANZA_ID, "stanza-id")
TOKENS = 512
"""Tokens made at once: asking the system for each costs more than everything else here."""
DIGITS = 16


class StanzaIds:
    """Makes ids: the first half of one grows with time, the second nobody can guess."""

    def __init__(self) -> None:
        self._last = 0
        self._tokens: list[str] = []

    def next(self) -> str:
        """An id of 32 hexadecimal digits; as text, too, it comes after all that were made before."""
        if not self._tokens:
            digits = secrets.token_hex(TOKENS * DIGITS // 2)
            self._tokens = [digits[start : start + DIGITS] for start in range(0, len(digits), DIGITS)]
        now = time.time_ns() // 1000
        if now <= self._last:
            now = self._last + 1
        self._last = now
        return f"{now:016x}{self._tokens.pop()}"


class StanzaId(Module):
    """Give each message that is worth keeping an id by the account it arrives at."""

    requires = ("forgery",)
    features = (NS_STANZA_ID,)
    account_features = (NS_STANZA_ID,)

    def __init__(self, server: Server, options: Any) -> None:
        super().__init__(server, options)
        self._ids = StanzaIds()

    @on(Arriving, Stage.STAMP, stanzas=("message",))
    def stamp(self, arriving: Arriving) -> None:
        """Add the id, which is the archive's, to what an archive keeps (section 3)."""
        stanza = arriving.stanza
        if is_archived(stanza):
            stanza_id = arriving.stanza_id = self._ids.next()
            # No character that means something in XML is allowed in a bare JID (RFC 7622 section 3.3.1).
            by = str(arriving.account.jid)
            element = f"<stanza-id xmlns='{NS_STANZA_ID}' by='{by}' id='{stanza_id}'/>"
            stanza.append(element.encode(), STANZA_ID)
