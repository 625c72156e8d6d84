"""What is done again and again while the server runs: forgetting what is too old."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from chatrix.server.background import in_background


def repeat(
    reactor: IReactorTime, seconds: float, act: Callable[[], Coroutine[Any, Any, Any]], what: str
) -> LoopingCall:
    """Do `act` now and every so many seconds, never twice at once, until `stop` of what this returns is called.

    A failure is logged with `what` it was doing, and does not keep the next time from coming.
    """
    call = LoopingCall(lambda: in_background(act(), what))
    call.clock = reactor
    call.start(seconds)
    return call
