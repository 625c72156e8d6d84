"""Connections, failures and allowances; time is a number here."""

from unittest.mock import patch

from hypothesis import given
from hypothesis.strategies import floats, lists, tuples
from twisted.trial.unittest import SynchronousTestCase

from chatrix.server import limits
from chatrix.server.limits import Allowance, Connections, Failures, origin


class Origins(SynchronousTestCase):
    """`origin`."""

    def test_origins(self) -> None:
        """IPv4 by address, also when it comes mapped into IPv6; IPv6 by /64; what is no address as it is."""
        for address, expected in (
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            ("/run/chatrix.sock", "/run/chatrix.sock"),
            ("", ""),
        ):
            with self.subTest(address=address):
                self.assertEqual(expected, origin(address))


class Connecting(SynchronousTestCase):
    """`Connections`."""

    def test_per_origin(self) -> None:
        """One origin fills its share and no other's; who leaves makes room."""
        connections = Connections(2, 100)
        self.assertEqual([True, True, False], [connections.admit("a") for _ in range(3)])
        self.assertTrue(connections.admit("b"))
        connections.leave("a")
        self.assertEqual([True, False], [connections.admit("a") for _ in range(2)])

    def test_in_all(self) -> None:
        """When the server is full nobody comes in, and a refusal counts for nothing."""
        connections = Connections(100, 3)
        self.assertEqual([True, True, True, False, False], [connections.admit(name) for name in "abcde"])
        self.assertEqual(3, connections.count)
        connections.leave("a")
        self.assertTrue(connections.admit("e"))

    def test_forgotten(self) -> None:
        """Of an origin that has left, or was refused, nothing stays in memory."""
        connections = Connections(1, 1)
        connections.admit("a")
        connections.admit("b")
        connections.leave("a")
        self.assertEqual({}, dict(connections._by_origin))
        self.assertEqual(0, connections.count)


class Failing(SynchronousTestCase):
    """`Failures`."""

    def test_ban(self) -> None:
        """So many failures ban an origin, until the ban has passed without another."""
        failures = Failures(3, 60)
        for attempt in range(3):
            self.assertFalse(failures.banned("a", attempt))
            failures.failed("a", f"account{attempt}", attempt)
        self.assertTrue(failures.banned("a", 3))
        self.assertFalse(failures.banned("b", 3))
        self.assertTrue(failures.banned("a", 62))
        self.assertFalse(failures.banned("a", 62.5))

    def test_after_a_ban(self) -> None:
        """After a ban the count begins anew."""
        failures = Failures(2, 60)
        failures.failed("a", "x", 0)
        failures.failed("a", "x", 1)
        failures.failed("a", "x", 100)
        self.assertFalse(failures.banned("a", 100))

    def test_slow(self) -> None:
        """An account under attack from everywhere is answered later and later, up to 8 seconds."""
        failures = Failures(2, 60)
        delays = [failures.failed(f"origin{n}", "juliet@example.com", n) for n in range(9)]
        self.assertEqual([0, 0.5, 1, 2, 4, 8, 8, 8, 8], delays)
        self.assertEqual(0, failures.delay("romeo@example.com", 9))
        self.assertEqual(0, failures.delay("juliet@example.com", 200))

    def test_kinds_are_apart(self) -> None:
        """An account with the name of an origin is something else."""
        failures = Failures(1, 60)
        failures.failed("a", "b", 0)
        self.assertFalse(failures.banned("b", 0))

    def test_off(self) -> None:
        """With 0 nobody is banned and nothing is slow."""
        failures = Failures(0, 60)
        self.assertEqual({0}, {failures.failed("a", "x", 0) for _ in range(20)})
        self.assertFalse(failures.banned("a", 0))

    def test_bound(self) -> None:
        """The table is bounded: the longest without a failure are forgotten first."""
        with patch.object(limits, "FAILURES_KEPT", 4):
            failures = Failures(1, 60)
            for name in ("a", "b", "a", "c"):
                failures.failed(name, "x", 0)
            self.assertEqual(4, len(failures._failures))
            self.assertEqual([True, True, True], [failures.banned(name, 0) for name in "abc"])
            failures.failed("d", "x", 0)
            self.assertEqual([True, False, True, True], [failures.banned(name, 0) for name in "abcd"])
            self.assertEqual(4, len(failures._failures))

    def test_nothing_readable(self) -> None:
        """Neither addresses nor names lie in memory."""
        failures = Failures(1, 60)
        failures.failed("192.0.2.7", "juliet@example.com", 0)
        kept = repr(failures._failures)
        self.assertNotIn("192.0.2.7", kept)
        self.assertNotIn("juliet", kept)


class Allowances(SynchronousTestCase):
    """`Allowance`."""

    def test_burst_then_rate(self) -> None:
        """The burst is free, a debt is paid by waiting, and what is not used fills up to the burst only."""
        allowance = Allowance(10, 100, 0)
        self.assertEqual(0, allowance.spend(100, 0))
        self.assertEqual(2, allowance.spend(20, 0))
        self.assertEqual(0, allowance.spend(0, 2))
        self.assertEqual(0, allowance.spend(100, 1000))
        self.assertEqual(1, allowance.spend(10, 1000))

    def test_no_limit(self) -> None:
        """A rate of 0 limits nothing."""
        self.assertEqual(0, Allowance(0, 1, 0).spend(10**9, 0))

    @given(lists(tuples(floats(0, 1e6), floats(0, 100)), max_size=30))
    def test_long_run(self, spendings: list[tuple[float, float]]) -> None:
        """Who waits as told never gets more than burst and rate, and never waits for more than that."""
        now, spent = 0.0, 0.0
        allowance = Allowance(1000, 5000, now)
        for units, pause in spendings:
            now += pause
            wait = allowance.spend(units, now)
            spent += units
            now += wait
            self.assertLessEqual(spent, 5000 + 1000 * now + 1e-3)
            self.assertLessEqual(wait, units / 1000 + 1e-6)
