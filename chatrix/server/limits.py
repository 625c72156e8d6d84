"""Limits on what strangers and clients may use: connections, log-in failures, bytes per second.

Everything here is bounded itself: a table that is full forgets its oldest entry.

Source: RFC 6120 sections 13.12 (denial of service) and 6.4.5 (SASL retries).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import Counter, OrderedDict
from functools import lru_cache

FAILURES_KEPT = 100_000


@lru_cache(maxsize=1024)
def origin(address: str) -> str:
    """What counts as one peer: an IPv4 address, or the /64 network of an IPv6 address (one customer has as many)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


class Connections:
    """How many connections there are, in all and per origin."""

    def __init__(self, per_origin: int, in_all: int) -> None:
        self.per_origin = per_origin
        self.in_all = in_all
        self.count = 0
        self._by_origin: Counter[str] = Counter()

    def admit(self, peer: str) -> bool:
        """Count a new connection of the origin `peer`, or refuse it."""
        if self.count >= self.in_all or self._by_origin[peer] >= self.per_origin:
            return False
        self.count += 1
        self._by_origin[peer] += 1
        return True

    def leave(self, peer: str) -> None:
        """An admitted connection ended."""
        self.count -= 1
        self._by_origin[peer] -= 1
        if self._by_origin[peer] <= 0:
            del self._by_origin[peer]


class Failures:
    """Failed log-ins: an origin with too many is banned for a while, an account under attack is answered slowly.

    An account is never locked: whoever knows its password gets in, from any origin that is not banned. Keys are keyed
    hashes, so that neither addresses nor names lie in memory for longer than their connection.
    """

    def __init__(self, most: int, ban: float) -> None:
        """`most` failures of an origin ban it for `ban` seconds; 0 switches banning off."""
        self.most = most
        self.ban = ban
        self._secret = secrets.token_bytes(32)
        self._failures: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def _key(self, kind: str, what: str) -> bytes:
        return hmac.digest(self._secret, f"{kind}\0{what}".encode(), hashlib.sha256)[:16]

    def _count(self, key: bytes, now: float) -> int:
        count, last = self._failures.get(key, (0, now))
        return 0 if now - last > self.ban else count

    def failed(self, peer: str, account: str, now: float) -> float:
        """Count a failure, at `now` seconds. Returns the seconds to wait before it is answered.

        `account` is "" where no account can be meant; all those together are nobody's account.
        """
        keys = [self._key("origin", peer)]
        if account:
            keys.append(self._key("account", account))
        for key in keys:
            self._failures[key] = (self._count(key, now) + 1, now)
            self._failures.move_to_end(key)
            if len(self._failures) > FAILURES_KEPT:
                self._failures.popitem(last=False)
        return self.delay(account, now)

    def delay(self, account: str, now: float) -> float:
        """Seconds to wait before a failed log-in of this account is answered: 0 at first, then doubling up to 8."""
        if not self.most:
            return 0.0
        excess = self._count(self._key("account", account), now) - self.most
        return 0.0 if excess < 0 else min(8.0, 0.5 * 2.0 ** min(excess, 4))

    def banned(self, peer: str, now: float) -> bool:
        """Whether an origin had too many failures lately."""
        return bool(self.most and self._failures) and self._count(self._key("origin", peer), now) >= self.most


class Allowance:
    """A token bucket: `rate` units a second, up to `burst` at once; 0 means no limit."""

    __slots__ = ("burst", "left", "rate", "since")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.left = burst
        self.since = now

    def spend(self, units: float, now: float) -> float:
        """Take `units` and return the seconds after which the debt is paid; 0 when there is none."""
        if not self.rate:
            return 0.0
        self.left = min(self.burst, self.left + (now - self.since) * self.rate) - units
        self.since = now
        return 0.0 if self.left >= 0 else -self.left / self.rate
