"""Writes to connections, collected and flushed once per reactor tick."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

log = Logger()


class Flushable(Protocol):
    """What a Flusher needs of a connection."""

    def flush(self) -> None:
        """Send what was collected."""


class Flusher:
    """Calls `flush` of every connection that was written to, once, when the current reactor tick is over."""

    __slots__ = ("__weakref__", "_dirty", "reactor")

    _of: WeakKeyDictionary[Any, Flusher] = WeakKeyDictionary()

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self._dirty: list[Flushable] = []

    @classmethod
    def of(cls, reactor: IReactorTime) -> Flusher:
        """The one Flusher of this reactor."""
        flusher = cls._of.get(reactor)
        if flusher is None:
            flusher = cls._of[reactor] = cls(reactor)
        return flusher

    def schedule(self, connection: Flushable) -> None:
        """Flush this connection at the end of the tick. The caller sees to it that it asks once per tick."""
        if not self._dirty:
            self.reactor.callLater(0, self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            try:
                connection.flush()
            except Exception:
                # One broken connection must not keep the others of this tick from being flushed.
                log.failure("flushing {connection}", connection=connection)
