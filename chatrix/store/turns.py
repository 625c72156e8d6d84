"""Waiting for one's turn at something scarce: SQLite's writer, a connection to PostgreSQL."""

from collections import deque
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chatrix.store.database import DatabaseUnavailable

T = TypeVar("T")


class Turns(Generic[T]):
    """First come, first served; bounded in how many wait, and for how long."""

    def __init__(self, reactor: IReactorTime, what: str, *, most: int, seconds: float) -> None:
        self._reactor = reactor
        self._what = what
        self._most = most
        self._seconds = seconds
        self._closed = False
        self.free: list[T] = []
        """Nobody waits for these."""
        self.waiting: deque[Deferred[T]] = deque()
        """Those who found nothing free, the first of them first."""

    def take(self) -> Deferred[T]:
        """One of them, to be given back.

        Raises: DatabaseUnavailable when too many wait already, when it took too long, or when all is closed.
        """
        if self._closed:
            return fail(DatabaseUnavailable(f"{self._what}: closed"))
        if self.free:
            return succeed(self.free.pop())
        if len(self.waiting) >= self._most:
            return fail(DatabaseUnavailable(f"{self._what}: {self._most} requests wait already"))
        waiter: Deferred[T] = Deferred(self.waiting.remove)
        self.waiting.append(waiter)
        return waiter.addTimeout(self._seconds, self._reactor, self._too_late)

    def give(self, resource: T) -> None:
        """Give back, or add, one of them."""
        if self.waiting:
            self.waiting.popleft().callback(resource)
        else:
            self.free.append(resource)

    def close(self) -> None:
        """Turn away all who wait, and all who come."""
        self._closed = True
        while self.waiting:
            self.waiting.popleft().errback(DatabaseUnavailable(f"{self._what}: closed"))

    def _too_late(self, result: object, seconds: float) -> Failure:
        return Failure(DatabaseUnavailable(f"{self._what}: no answer within {seconds:g} s"))
