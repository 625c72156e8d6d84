"""Times as XEP-0082 writes them, and the stamp of XEP-0203."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis.strategies import integers
from twisted.trial.unittest import SynchronousTestCase

from chatrix.xmpp.element import serialise
from chatrix.xmpp.timestamps import delay, timestamp

YEAR_9999 = 253_402_300_799_999_999


class Timestamps(SynchronousTestCase):
    """`timestamp` and `delay`."""

    def test_known(self) -> None:
        """Known times, with the milliseconds filled up and cut off, never rounded up."""
        self.assertEqual("1970-01-01T00:00:00.000Z", timestamp(0))
        self.assertEqual("1969-07-21T02:56:15.000Z", timestamp(-14_159_025_000_000))
        self.assertEqual("2002-09-10T23:08:25.007Z", timestamp(1_031_699_305_007_999))
        self.assertEqual("9999-12-31T23:59:59.999Z", timestamp(YEAR_9999))

    @given(integers(0, YEAR_9999))
    def test_reads_back(self, microseconds: int) -> None:
        """Every time reads back to the millisecond."""
        read = datetime.strptime(timestamp(microseconds), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        elapsed = (read - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        self.assertEqual(microseconds // 1000, elapsed)

    def test_delay(self) -> None:
        """The element names who kept the stanza and since when (XEP-0203, example 1)."""
        self.assertEqual(
            b"<delay xmlns='urn:xmpp:delay' from='capulet.com' stamp='2002-09-10T23:08:25.000Z'/>",
            serialise(delay("capulet.com", 1_031_699_305_000_000)).replace(b'"', b"'"),
        )
