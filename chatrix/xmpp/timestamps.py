"""Times as XMPP writes them (XEP-0082), always in UTC, and the stamp of a delayed stanza (XEP-0203)."""

from __future__ import annotations

from datetime import UTC, datetime

from chatrix.xmpp.element import Element
from chatrix.xmpp.namespaces import NS_DELAY


def timestamp(microseconds: int) -> str:
    """A time, in microseconds UTC, to the millisecond."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds // 1000 % 1000:03}Z"


def delay(by: str, microseconds: int) -> Element:
    """What tells a client that `by` kept a stanza back since then."""
    return Element(NS_DELAY, "delay", {"from": by, "stamp": timestamp(microseconds)})
