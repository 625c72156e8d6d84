"""Ids and times: made by us, as BIGINT, so that both engines store and sort them alike."""

import secrets
import time

SPARE_BITS = 10


def microseconds() -> int:
    """Now, in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Ids:
    """Makes ids that grow with time: the microsecond, and below it a number that tells processes apart.

    52 bits of microseconds last until 2112. Two ids of one process never agree; ids of two processes agree only if both
    have drawn the same number (of 1024), in the same microsecond.
    """

    def __init__(self, number: int | None = None) -> None:
        self._number = secrets.randbelow(1 << SPARE_BITS) if number is None else number
        self._last = 0

    def next(self) -> int:
        """An id greater than all that this process made before, even when the clock was set back."""
        self._last = max(self._last + 1, microseconds())
        return self._last << SPARE_BITS | self._number
