"""Waiting in line, on a clock of the test's own."""

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatrix.store.database import DatabaseUnavailable
from chatrix.store.turns import Turns


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turns: Turns[str] = Turns(self.clock, "the database", most=2, seconds=5)

    def test_free(self) -> None:
        """What is free is had at once."""
        self.turns.give("a")
        self.assertEqual(self.successResultOf(self.turns.take()), "a")

    def test_in_order(self) -> None:
        """Who came first is served first, and leaves no clock running."""
        first, second = self.turns.take(), self.turns.take()
        self.turns.give("a")
        self.assertEqual(self.successResultOf(first), "a")
        self.assertNoResult(second)
        self.turns.give("b")
        self.assertEqual(self.successResultOf(second), "b")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """Who waited long enough is told so, and what comes then is for the others."""
        waiting = self.turns.take()
        self.clock.advance(3)
        other = self.turns.take()
        self.clock.advance(2)
        self.assertIn("5 s", str(self.failureResultOf(waiting, DatabaseUnavailable).value))
        self.turns.give("a")
        self.assertEqual(self.successResultOf(other), "a")

    def test_too_many(self) -> None:
        """When too many wait the next is refused at once."""
        waiting = [self.turns.take() for _ in range(3)]
        self.failureResultOf(waiting[2], DatabaseUnavailable)
        self.turns.give("a")
        self.assertEqual(self.successResultOf(waiting[0]), "a")

    def test_cancelled(self) -> None:
        """Who gives up waiting takes nothing."""
        first, second = self.turns.take(), self.turns.take()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.turns.give("a")
        self.assertEqual(self.successResultOf(second), "a")

    def test_close(self) -> None:
        """Closing turns away who waits and who comes."""
        waiting = self.turns.take()
        self.turns.close()
        self.failureResultOf(waiting, DatabaseUnavailable)
        self.failureResultOf(self.turns.take(), DatabaseUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])
