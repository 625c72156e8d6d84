"""The clock of all streams."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatrix.net.pulse import SILENCE_PERIOD, Pulse
from chatrix.xmpp.errors import StreamError


class Stream:
    """A stream that remembers when it was asked."""

    def __init__(self, breaks: bool = False) -> None:
        self.deadlines: list[int] = []
        self.silences: list[int] = []
        self.breaks = breaks

    def check_deadline(self, now: int) -> None:
        """Asked."""
        self.deadlines.append(now)
        if self.breaks:
            raise RuntimeError("inside")

    def check_silence(self, now: int) -> None:
        """Asked."""
        self.silences.append(now)
        if self.breaks:
            raise RuntimeError("inside")

    def close(self, error: StreamError) -> None:
        """Never called here."""

    def abort(self) -> None:
        """Never called here."""


class Beating(SynchronousTestCase):
    """`Pulse`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.7)
        self.pulse = Pulse(self.clock)
        self.pulse.start()

    def test_now(self) -> None:
        """It knows the time to the second, as of its last beat."""
        self.assertEqual(1000, self.pulse.now)
        self.clock.advance(0.5)
        self.assertEqual(1000, self.pulse.now)
        self.clock.advance(0.5)
        self.assertEqual(1001, self.pulse.now)

    def test_whom_it_asks(self) -> None:
        """Each second those that are not logged in; all of them only now and then."""
        opening, bound = Stream(), Stream()
        self.pulse.opening.add(opening)
        self.pulse.streams.update((opening, bound))
        self.clock.pump([1] * (2 * SILENCE_PERIOD))
        self.assertEqual(list(range(1001, 1001 + 2 * SILENCE_PERIOD)), opening.deadlines)
        self.assertEqual([], bound.deadlines)
        self.assertEqual([1000 + SILENCE_PERIOD, 1000 + 2 * SILENCE_PERIOD], bound.silences)
        self.assertEqual(bound.silences, opening.silences)

    def test_busy(self) -> None:
        """A reactor that is late by seconds, each time, still asks everybody."""
        stream = Stream()
        self.pulse.streams.add(stream)
        self.clock.pump([7] * 9)
        self.assertEqual(3, len(stream.silences))

    def test_leaves_while_asked(self) -> None:
        """A stream may leave when it is asked, and one may break, without harm to the others."""
        broken, other = Stream(breaks=True), Stream()

        class Leaving(Stream):
            def check_deadline(_self, now: int) -> None:  # noqa: N805 (self is the test)
                self.pulse.opening.discard(_self)

        self.pulse.opening.update((broken, Leaving(), other))
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual([1001, 1002], other.deadlines)
        self.assertEqual(2, len(self.pulse.opening))
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))

    def test_stop(self) -> None:
        """It stops, also twice, and leaves nothing in the reactor."""
        self.pulse.stop()
        self.pulse.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
