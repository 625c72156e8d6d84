"""What becomes of a stanza for an account of ours: RFC 6121 section 8.5 as tables.

Source: RFC 6121 sections 8.5.2, 8.5.3 and 8.5.4 (Table 1).
"""

from __future__ import annotations

import enum


class Delivery(enum.Enum):
    """What to do with a stanza."""

    MOST_AVAILABLE = "to the sessions with the highest non-negative priority"
    ALL_NON_NEGATIVE = "to all sessions with a non-negative priority"
    ALL_AVAILABLE = "to all available sessions, whatever their priority"
    KEEP = "nobody takes it now: offline store, push, or a bounce"
    IGNORE = "nothing, silently"
    REFUSE = "service-unavailable to the sender"


_MESSAGES: dict[str, tuple[Delivery, Delivery, Delivery, Delivery]] = {
    # type: (bare JID, somebody available), (bare JID, nobody), (full JID without match, somebody), (the same, nobody)
    "normal": (Delivery.MOST_AVAILABLE, Delivery.KEEP, Delivery.REFUSE, Delivery.REFUSE),
    "chat": (Delivery.MOST_AVAILABLE, Delivery.KEEP, Delivery.MOST_AVAILABLE, Delivery.KEEP),
    "groupchat": (Delivery.REFUSE, Delivery.REFUSE, Delivery.REFUSE, Delivery.REFUSE),
    "headline": (Delivery.ALL_NON_NEGATIVE, Delivery.IGNORE, Delivery.IGNORE, Delivery.IGNORE),
    "error": (Delivery.IGNORE, Delivery.IGNORE, Delivery.IGNORE, Delivery.IGNORE),
}


def of_message(type: str, to_full: bool, somebody: bool) -> Delivery:
    """What to do with a message of `type` that no session matches exactly.

    `to_full`: it is for a full JID, whose resource is not there. `somebody`: there is an available session with a
    non-negative priority. A type that RFC 6121 does not define counts as normal (section 5.2.2).
    """
    row = _MESSAGES.get(type) or _MESSAGES["normal"]
    return row[2 * to_full + (not somebody)]


def of_presence(type: str, to_full: bool) -> Delivery:
    """What to do with a presence that no session matches exactly.

    Subscriptions and probes are dealt with before they come here (sections 3 and 4.3); without the modules that do,
    they are ignored. An error for a bare JID answers a subscription stanza, which came from there: the user should know
    (section 3.1.2).
    """
    return Delivery.ALL_AVAILABLE if type in ("", "unavailable", "error") and not to_full else Delivery.IGNORE
