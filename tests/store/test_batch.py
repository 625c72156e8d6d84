"""Group commit, without a database: the flush is in the test's hands."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatrix.store.batch import Batch
from chatrix.store.database import DatabaseConflict, DatabaseFull, DatabaseUnavailable


class BatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.flushed: list[list[str]] = []
        self.running: list[Deferred[Sequence[str]]] = []

    def batch(self, **bounds: int) -> Batch[str, str]:
        """A batch whose flushes end when the test says so."""
        return Batch(self.flush, len, **bounds)

    async def flush(self, rows: Sequence[str]) -> Sequence[str]:
        self.flushed.append(list(rows))
        self.running.append(Deferred())
        return await self.running[-1]

    def finish(self) -> None:
        """The flush that runs succeeds, with each row in capitals as its answer."""
        self.running[-1].callback([row.upper() for row in self.flushed[-1]])

    def test_idle(self) -> None:
        """The first row is flushed at once, and answered when the flush is done, not before."""
        answer = self.batch().append("a")
        self.assertEqual(self.flushed, [["a"]])
        self.assertNoResult(answer)
        self.finish()
        self.assertEqual(self.successResultOf(answer), "A")

    def test_grows(self) -> None:
        """What comes while a flush runs goes into the next one, together; there is never a second one beside it."""
        batch = self.batch()
        answers = [batch.append(row) for row in "abc"]
        self.assertEqual(self.flushed, [["a"]])
        self.finish()
        self.assertEqual(self.flushed, [["a"], ["b", "c"]])
        answers.append(batch.append("d"))
        self.finish()
        self.finish()
        self.assertEqual(self.flushed, [["a"], ["b", "c"], ["d"]])
        self.assertEqual([self.successResultOf(each) for each in answers], ["A", "B", "C", "D"])
        batch.append("e")
        self.assertEqual(self.flushed[-1], ["e"])

    def test_append_from_an_answer(self) -> None:
        """Whoever appends when it gets its answer is neither lost nor flushed beside the others."""
        batch = self.batch()
        later: list[Deferred[str]] = []
        batch.append("a").addCallback(lambda _: later.append(batch.append("c")))
        batch.append("b")
        self.finish()
        self.assertEqual(self.flushed, [["a"], ["b", "c"]])
        self.finish()
        self.assertEqual(self.successResultOf(later[0]), "C")

    def test_failure(self) -> None:
        """A flush that fails fails its own rows' callers, and nobody else."""
        batch = self.batch()
        answers = [batch.append(row) for row in "abc"]
        self.finish()
        answers.append(batch.append("d"))
        self.running[-1].errback(DatabaseFull("full"))
        self.finish()
        self.assertEqual(self.successResultOf(answers[0]), "A")
        for answer in answers[1:3]:
            self.failureResultOf(answer, DatabaseFull)
        self.assertEqual(self.successResultOf(answers[3]), "D")

    def test_one_bad_row(self) -> None:
        """When the rows are at fault they are tried one by one: only the bad one fails."""

        async def flush(rows: Sequence[str]) -> Sequence[str]:
            if "bad" in rows:
                raise DatabaseConflict("bad")
            return await self.flush(rows)

        batch = Batch(flush, len)
        first, *answers = [batch.append(row) for row in ("a", "b", "bad", "c")]
        for _ in range(3):
            self.finish()
        self.assertEqual(self.successResultOf(first), "A")
        self.assertEqual([self.successResultOf(answers[0]), self.successResultOf(answers[2])], ["B", "C"])
        self.failureResultOf(answers[1], DatabaseConflict)
        self.assertEqual(self.flushed, [["a"], ["b"], ["c"]])

    def test_wrong_number_of_answers(self) -> None:
        """A flush that does not answer every row has answered none: nobody is told that a row is kept by mistake."""
        answer = self.batch().append("a")
        self.running[-1].callback([])
        self.failureResultOf(answer, RuntimeError)

    def test_cancelled(self) -> None:
        """A caller who no longer waits does not disturb the others; the row is written all the same."""
        batch = self.batch()
        answers = [batch.append(row) for row in "abc"]
        answers[1].cancel()
        self.failureResultOf(answers[1], CancelledError)
        self.finish()
        self.finish()
        self.assertEqual(self.flushed, [["a"], ["b", "c"]])
        self.assertEqual(self.successResultOf(answers[2]), "C")

    def test_bounded_rows(self) -> None:
        """When too many rows are on their way the next is refused at once; there is room again after a flush."""
        batch = self.batch(waiting_rows=3)
        answers = [batch.append(row) for row in "abcd"]
        self.failureResultOf(answers[3], DatabaseUnavailable)
        self.finish()
        self.assertNoResult(batch.append("e"))
        self.finish()
        self.assertEqual(self.flushed, [["a"], ["b", "c"], ["e"]])

    def test_bounded_octets(self) -> None:
        """The bound counts octets too; one huge row passes when nothing else is on its way."""
        batch = self.batch(waiting_octets=10)
        huge = batch.append("x" * 100)
        self.failureResultOf(batch.append("a"), DatabaseUnavailable)
        self.finish()
        self.successResultOf(huge)
        answers = [batch.append("x" * 5) for _ in range(3)]
        self.failureResultOf(answers[2], DatabaseUnavailable)

    def test_size_of_a_flush(self) -> None:
        """A long line is written in flushes of bounded size."""
        batch = self.batch(rows=3, octets=10)
        rows = ["a", "b", "c", "d", "e", "x" * 20, "f" * 8, "g" * 8]
        answers = [batch.append(row) for row in rows]
        while len(self.running) and not self.running[-1].called:
            self.finish()
        self.assertEqual(self.flushed, [["a"], ["b", "c", "d"], ["e"], ["x" * 20], ["f" * 8], ["g" * 8]])
        self.assertEqual([self.successResultOf(each) for each in answers], [row.upper() for row in rows])

    @given(st.lists(st.sampled_from(["append", "finish", "fail"]), max_size=60))
    def test_every_row_is_answered_once(self, steps: list[str]) -> None:
        """Whatever happens in whatever order, every row is flushed once, in order, and gets its own flush's answer."""
        self.flushed, self.running = [], []
        batch = self.batch(rows=4)
        rows: list[str] = []
        answers: list[Deferred[str]] = []
        failed: set[str] = set()

        def end(step: str) -> None:
            if self.running and not self.running[-1].called:
                if step == "fail":
                    failed.update(self.flushed[-1])
                    self.running[-1].errback(DatabaseUnavailable("lost"))
                else:
                    self.finish()

        for step in steps:
            if step == "append":
                rows.append(f"row{len(rows)}")
                answers.append(batch.append(rows[-1]))
            else:
                end(step)
        while self.running and not self.running[-1].called:
            end("finish")
        self.assertEqual([row for flush in self.flushed for row in flush], rows)
        results: list[Any] = [
            type(self.failureResultOf(answer).value) if row in failed else self.successResultOf(answer)
            for row, answer in zip(rows, answers, strict=True)
        ]
        self.assertEqual(results, [DatabaseUnavailable if row in failed else row.upper() for row in rows])
