"""Presence subscriptions: the nine states and what each stanza does in them, as RFC 6121's tables.

Source: RFC 6121 appendix A; section 3.4 for pre-approval.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

TYPES = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")
"""The types of presence that manage subscriptions."""


class State(enum.Enum):
    """A subscription as the account sees it: who may see whom, and whose request waits."""

    NONE = ("none", False, False)
    NONE_OUT = ("none", True, False)
    NONE_IN = ("none", False, True)
    NONE_OUT_IN = ("none", True, True)
    TO = ("to", False, False)
    TO_IN = ("to", False, True)
    FROM = ("from", False, False)
    FROM_OUT = ("from", True, False)
    BOTH = ("both", False, False)

    @property
    def subscription(self) -> str:
        """The roster item's `subscription`."""
        return self.value[0]

    @property
    def ask(self) -> bool:
        """Whether the account's request waits for the contact's answer (the roster item's `ask`)."""
        return self.value[1]

    @property
    def asked(self) -> bool:
        """Whether the contact's request waits for the account's answer."""
        return self.value[2]

    @property
    def sends(self) -> bool:
        """Whether the contact gets the account's presence."""
        return self.subscription in ("from", "both")


class Change(NamedTuple):
    """What a stanza does in a state."""

    passes: bool
    "Outbound: it is routed to the contact. Inbound: it is delivered to the account's sessions."
    state: State | None = None
    "The new state, or None when it stays."
    answer: str = ""
    "Inbound: the type of presence that the server answers on the account's behalf."
    approves: bool = False
    "Outbound `subscribed` before any request came: remember the approval."


_N, _NO, _NI, _NOI, _T, _TI, _F, _FO, _B = State
_STAYS = Change(False)
_PASSES = Change(True)
_APPROVES = Change(False, approves=True)
_APPROVED_ALREADY = Change(False, answer="subscribed")


def _to(state: State, answer: str = "") -> Change:
    return Change(True, state, answer)


# Each row in the order of the states above, as in RFC 6121.
_OUTBOUND: dict[str, tuple[Change, ...]] = {
    "subscribe": (_to(_NO), _PASSES, _to(_NOI), _PASSES, _PASSES, _PASSES, _to(_FO), _PASSES, _PASSES),
    "unsubscribe": (_PASSES, _to(_N), _PASSES, _to(_NI), _to(_N), _to(_NI), _PASSES, _to(_F), _to(_F)),
    "subscribed": (_APPROVES, _APPROVES, _to(_F), _to(_FO), _APPROVES, _to(_B), _STAYS, _STAYS, _STAYS),
    "unsubscribed": (_STAYS, _STAYS, _to(_N), _to(_NO), _STAYS, _to(_T), _to(_N), _to(_NO), _to(_T)),
}

_U = "unsubscribed"
_INBOUND: dict[str, tuple[Change, ...]] = {
    "subscribe": (
        _to(_NI), _to(_NOI), _STAYS, _STAYS, _to(_TI), _STAYS, _APPROVED_ALREADY, _APPROVED_ALREADY, _APPROVED_ALREADY,
    ),
    "unsubscribe": (
        _STAYS, _STAYS, _to(_N, _U), _to(_NO, _U), _STAYS, _to(_T, _U), _to(_N, _U), _to(_NO, _U), _to(_T, _U),
    ),
    "subscribed": (_STAYS, _to(_T), _STAYS, _to(_TI), _STAYS, _STAYS, _STAYS, _to(_B), _STAYS),
    "unsubscribed": (_STAYS, _to(_N), _STAYS, _to(_NI), _to(_N), _to(_NI), _STAYS, _to(_F), _to(_F)),
}  # fmt: skip

_ORDER = {state: position for position, state in enumerate(State)}
_PRE_APPROVED = {_N: _F, _NO: _FO, _T: _B}


def state_of(subscription: str, ask: bool, asked: bool) -> State:
    """The state of a roster item, and of a request that waits.

    What cannot be together is taken for what it would mean: nobody asks for what he has.
    """
    if subscription in ("from", "both"):
        asked = False
    if subscription in ("to", "both"):
        ask = False
    return State((subscription, ask, asked))


def outbound(type: str, state: State) -> Change:
    """What happens when the account sends a presence of this type."""
    return _OUTBOUND[type][_ORDER[state]]


def inbound(type: str, state: State, approved: bool = False) -> Change:
    """What happens when a presence of this type comes from the contact; `approved`: the account said yes beforehand."""
    if type == "subscribe" and approved and state in _PRE_APPROVED:
        return Change(False, _PRE_APPROVED[state], "subscribed")
    return _INBOUND[type][_ORDER[state]]
