"""One clock for all streams: what the time is, to the second, and who is late or silent.

A timer per connection would cost more than the connection does; here one LoopingCall a second looks at the few streams
that are not logged in, and every `SILENCE_PERIOD` seconds at all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chatrix.xmpp.errors import StreamError

log = Logger(namespace="chatrix.pulse")

SILENCE_PERIOD = 15


class Timed(Protocol):
    """A stream, as its pulse sees it."""

    def check_deadline(self, now: int) -> None:
        """Called every second until the stream is logged in."""

    def check_silence(self, now: int) -> None:
        """Called every `SILENCE_PERIOD` seconds."""

    def close(self, error: StreamError) -> None:
        """Close the stream, because the server stops."""

    def abort(self) -> None:
        """Cut the connection, because the server stops."""


class Pulse:
    """Beats once a second while it runs."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._loop = LoopingCall(self._beat)
        self._loop.clock = clock
        self.now = int(clock.seconds())
        "Seconds of the reactor's clock, as of the last beat: cheap to read, exact enough for time-outs."
        self._look_at = self.now + SILENCE_PERIOD
        self.opening: set[Timed] = set()
        "Streams that are not logged in."
        self.streams: set[Timed] = set()
        "All streams."

    def start(self) -> None:
        """Begin to beat."""
        self.now = int(self._clock.seconds())
        self._look_at = self.now + SILENCE_PERIOD
        self._loop.start(1, now=False)

    def stop(self) -> None:
        """Stop beating."""
        if self._loop.running:
            self._loop.stop()

    def next_turn(self, function: Callable[[], None]) -> None:
        """Call this when all streams that wait have had their turn."""
        self._clock.callLater(0, function)

    def _beat(self) -> None:
        self.now = int(self._clock.seconds())
        for stream in tuple(self.opening):
            self._ask(stream.check_deadline)
        if self.now >= self._look_at:
            # Not at every fifteenth second: a busy reactor leaves some of them out.
            self._look_at = self.now + SILENCE_PERIOD
            for stream in tuple(self.streams):
                self._ask(stream.check_silence)

    def _ask(self, check: object) -> None:
        try:
            check(self.now)  # type: ignore[operator]
        except Exception:
            # One stream's failure must not stop the clock of the others.
            log.failure("checking a stream's time")
