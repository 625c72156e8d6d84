"""Group commit: rows that arrive while the last ones are being written are written together, in one transaction.

A flush starts when the last one returned, so an idle server writes at once and a busy one grows its batches by itself;
there is no timer to tune. Whoever appends waits until the row is on disk.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatrix.store.database import DatabaseUnavailable

R = TypeVar("R")
A = TypeVar("A")

ROWS = 500
OCTETS = 4 * 1024 * 1024
WAITING_ROWS = 20_000
WAITING_OCTETS = 32 * 1024 * 1024


class Batch(Generic[R, A]):
    """Rows on their way into the database. `flush` writes some and returns one answer for each, in their order."""

    def __init__(
        self,
        flush: Callable[[Sequence[R]], Awaitable[Sequence[A]]],
        octets_of: Callable[[R], int],
        *,
        rows: int = ROWS,
        octets: int = OCTETS,
        waiting_rows: int = WAITING_ROWS,
        waiting_octets: int = WAITING_OCTETS,
    ) -> None:
        """At most `rows` of `octets` in one flush; at most `waiting_rows` of `waiting_octets` on their way."""
        self._flush = flush
        self._octets_of = octets_of
        self._rows = rows
        self._octets = octets
        self._waiting_rows = waiting_rows
        self._waiting_octets = waiting_octets
        self._filling: list[tuple[R, int, Deferred[A]]] = []
        self._on_the_way_rows = 0
        self._on_the_way_octets = 0
        self._flushing = False
        self.flushes = 0
        """How many transactions there were."""

    def append(self, row: R) -> "Deferred[A]":
        """The flush's answer to this row, once it is durable.

        Raises: DatabaseUnavailable at once when too much is on its way; what the flush raised, for exactly its rows.
        """
        octets = self._octets_of(row)
        full = self._on_the_way_rows >= self._waiting_rows or self._on_the_way_octets + octets > self._waiting_octets
        # However large a row: when nothing is on its way there is room for it.
        answer: Deferred[A] = Deferred()
        if full and self._on_the_way_rows:
            answer.errback(DatabaseUnavailable(f"{self._on_the_way_rows} rows wait to be written already"))
            return answer
        self._on_the_way_rows += 1
        self._on_the_way_octets += octets
        self._filling.append((row, octets, answer))
        if not self._flushing:
            self._flushing = True
            Deferred.fromCoroutine(self._flush_all())
        return answer

    async def _flush_all(self) -> None:
        while self._filling:
            batch = self._next()
            await self._write(batch)
            # A caller who cancelled had its answer; its row is written all the same.
        self._flushing = False

    def _next(self) -> list[tuple[R, int, "Deferred[A]"]]:
        size = octets = 0
        for _, weight, _ in self._filling:
            octets += weight
            if size and (size == self._rows or octets > self._octets):
                break
            size += 1
        batch, self._filling = self._filling[:size], self._filling[size:]
        return batch

    async def _write(self, batch: Sequence[tuple[R, int, "Deferred[A]"]]) -> None:
        self.flushes += 1
        answers: Sequence[A] = ()
        failure: Failure | None = None
        try:
            answers = await self._flush([row for row, _, _ in batch])
        except DatabaseUnavailable:
            failure = Failure()
        except Exception:
            failure = Failure()
            if len(batch) > 1:
                # One of them cannot be stored, whatever we do; the others must not suffer for it.
                for each in batch:
                    await self._write([each])
                return
        self._on_the_way_rows -= len(batch)
        self._on_the_way_octets -= sum(octets for _, octets, _ in batch)
        if failure is None and len(answers) != len(batch):
            failure = Failure(RuntimeError(f"{len(answers)} answers to {len(batch)} rows"))
        for index, (_, _, answer) in enumerate(batch):
            if answer.called:
                continue
            if failure is None:
                answer.callback(answers[index])
            else:
                answer.errback(failure)
