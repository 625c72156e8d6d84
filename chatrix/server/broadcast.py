"""Presence of an account's sessions, sent to those who may see it (RFC 6121 section 4)."""

from __future__ import annotations

from collections.abc import Iterable

from chatrix.server.directory import Account
from chatrix.server.router import Router
from chatrix.server.session import Session
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import Presence


def unavailable(session: Session) -> Presence:
    """What the server says for a session that cannot say it itself."""
    return Presence({"from": str(session.jid), "type": "unavailable"})


def send_to(router: Router, presence: Presence, contacts: Iterable[str]) -> None:
    """Route a presence, whose `from` is stamped, to each of these JIDs that its account does not block."""
    sender = presence.from_
    blocklist = None if sender is None else router.blocklists.of(sender)
    for contact in contacts:
        if blocklist is not None and blocklist.jids and blocklist.blocks(JID.parse(contact)):
            continue
        copy = presence.copy()
        copy.attributes["to"] = contact
        router.send_answer(copy)


def send_current(router: Router, account: Account, contact: str) -> None:
    """Send a contact the presence of each available session of an account."""
    for session in account.available:
        if session.presence is not None:
            send_to(router, session.presence, (contact,))


def send_unavailable(router: Router, account: Account, contact: str) -> None:
    """Tell a contact that it sees no session of an account any more."""
    for session in account.available:
        send_to(router, unavailable(session), (contact,))
        if session.directed:
            # RFC 6121 section 4.6.1: who was told that it is over is not told again when the session ends.
            told = [text for text, jid in session.directed.items() if str(jid.bare) == contact]
            for text in told:
                del session.directed[text]
