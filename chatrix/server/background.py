"""Run a coroutine that nobody waits for, so that a failure is never lost."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger(namespace="chatrix.background")


def in_background(coroutine: Coroutine[Any, Any, Any], what: str) -> Deferred[Any]:
    """Start `coroutine`; a failure is logged with `what` it was doing. The Deferred fires with None on a failure."""
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addErrback(lambda failure: log.failure("{what} failed", failure, what=what))
    return deferred
