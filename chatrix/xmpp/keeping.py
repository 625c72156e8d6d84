"""Which messages are worth keeping for those who are away: by type (XEP-0160), content and hints (XEP-0334)."""

from __future__ import annotations

from typing import Final

from chatrix.xmpp.namespaces import NS_CHATSTATES, NS_DELAY, NS_HINTS, NS_STANZA_ID
from chatrix.xmpp.stanza import Stanza

NO_STORE: Final = (NS_HINTS, "no-store")
NO_PERMANENT_STORE: Final = (NS_HINTS, "no-permanent-store")
STORE: Final = (NS_HINTS, "store")

_BODY: Final = (None, "body")
_PASSING: Final = frozenset({NS_CHATSTATES, NS_HINTS, NS_STANZA_ID, NS_DELAY})
_HINTS: Final = frozenset({NO_STORE, NO_PERMANENT_STORE, STORE})
_NEVER: Final = frozenset({"groupchat", "headline", "error"})
_THREAD: Final = (None, "thread")


def says_something(message: Stanza) -> bool:
    """Whether there is more in a message than how its sender is writing it, and how it is to be treated."""
    children = message.children
    # Most messages have a body: that is seen without a loop of ours.
    return _BODY in children or any(name != _THREAD and name[0] not in _PASSING for name in children)


def waits(message: Stanza) -> bool:
    """Whether a message is to wait for an account that is away.

    An empty one is: the XEP makes one exception, chat states. `no-permanent-store` speaks of archives only.

    Source: XEP-0160 section 3, XEP-0334 sections 4 and 5.
    """
    if message.type in _NEVER:
        return False
    children = message.children
    if NO_STORE in children:
        return False
    return not children or STORE in children or says_something(message)


def is_archived(message: Stanza) -> bool:
    """Whether a message belongs into the archives of both accounts, and so gets an id from there.

    Not a message of a room, which has an archive of its own.

    Source: XEP-0313 section 5.1.1, XEP-0334 section 4, XEP-0359 section 3.
    """
    if message.attributes.get("type") in _NEVER:
        return False
    if _HINTS.isdisjoint(message.children):
        return says_something(message)
    children = message.children
    if NO_STORE in children or NO_PERMANENT_STORE in children:
        return False
    return STORE in children or says_something(message)
