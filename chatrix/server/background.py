"""Run a coroutine that nobody waits for, so that a failure is never lost, and the end of the server waits for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger(namespace="chatrix.background")

_running: set[Deferred[Any]] = set()


def in_background(coroutine: Coroutine[Any, Any, Any], what: str) -> Deferred[None] | None:
    """Start `coroutine`; a failure is logged with `what` it was doing.

    Returns None when it came to its end at once, as most do: they cost no Deferred, which would be a tenth of a log-in.
    Otherwise a Deferred that fires with None, whatever becomes of it.
    """
    try:
        waiting = coroutine.send(None)
    except StopIteration:
        return None
    except Exception:
        log.failure("{what} failed", what=what)
        return None

    def failed(failure: Failure) -> None:
        # Cancelled by `come_to_an_end` or by who started it: that is no failure of its own.
        if not failure.check(CancelledError):
            log.failure("{what} failed", failure, what=what)

    deferred: Deferred[None] = Deferred.fromCoroutine(_go_on(coroutine, waiting))
    deferred.addErrback(failed)
    if not deferred.called:
        _running.add(deferred)
        deferred.addBoth(_ended, deferred)
    return deferred


async def _go_on(coroutine: Coroutine[Any, Any, Any], waiting: Deferred[Any]) -> None:
    """Lead a coroutine that has begun to its end; `waiting` is what it waits for."""
    while True:
        try:
            try:
                result = await waiting
            except Exception as error:
                waiting = coroutine.throw(error)
            else:
                waiting = coroutine.send(result)
        except StopIteration:
            return


def _ended(result: Any, deferred: Deferred[Any]) -> Any:
    _running.discard(deferred)
    return result


async def come_to_an_end(reactor: IReactorTime, patience: float) -> None:
    """Wait until nothing runs in the background any more; what takes longer than `patience` seconds is cancelled."""
    while _running:
        await DeferredList(tuple(_running)).addTimeout(patience, reactor)
