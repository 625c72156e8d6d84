"""The scenarios: the load each puts on a server, the one figure it yields, and the budget of that figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.servers.server import ROOMS


@dataclass(frozen=True)
class Size:
    """How much load a run puts on a server."""

    duration: float
    """Seconds of chat that are measured, after the warm-up."""
    warmup: float
    """Seconds of chat before that."""
    logins: int
    sessions: int
    """Idle sessions whose memory is measured."""
    settle: float
    """Seconds of quiet before memory is read."""
    runs: int

    @property
    def accounts(self) -> int:
        """Accounts every server needs: the ring of presence uses 400 of them, chat and the room 100."""
        return max(self.logins, self.sessions, 400)


FULL = Size(duration=10, warmup=2, logins=1000, sessions=2000, settle=8, runs=3)
QUICK = Size(duration=4, warmup=1, logins=300, sessions=500, settle=4, runs=1)


@dataclass(frozen=True)
class Budget:
    """What chatrix may spend: `limit` must hold, `goal` is to be reached and then beaten."""

    limit: float | None = None
    goal: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.limit is not None:
            parts.append(f"at most {self.limit:g}")
        if self.goal is not None:
            parts.append(f"goal {self.goal:g}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    name: str
    """What `--scenarios` calls it."""
    title: str
    unit: str
    load: str
    """Arguments of the load generator, with the fields of Size in braces; empty when none is needed."""
    figure: str
    """The field of the load generator's result that goes into the table; `start_s` is the run's own."""
    budget: Budget = Budget()
    scale: float = 1.0
    """What the field is multiplied by to become the unit."""
    needs: str = ""
    """What a server must offer for this row, see Server.offers; the cell stays empty otherwise."""
    usual: bool = True
    """Part of a run that names no scenarios."""
    settled: bool = False
    """Leave the server in peace for `settle` seconds first: what it needed to start is no measure of its memory."""

    def arguments(self, size: Size) -> list[str]:
        """The load generator's arguments for a run of this size."""
        return self.load.format(**vars(size)).split()

    def figure_of(self, result: Mapping[str, Any]) -> float | None:
        """The figure in the row's unit; None when the result does not hold it."""
        value = result.get(self.figure)
        return None if value is None else float(value) * self.scale


TIMES = "--warmup {warmup} --duration {duration}"
CHAT = f"--pairs 50 --window 4 {TIMES}"
PER_MESSAGE = "server_cpu_us_per_msg"

SCENARIOS = (
    Scenario(
        "chat-tls", "chat over TLS", "us CPU per message", f"chat --tls {CHAT}", PER_MESSAGE, Budget(limit=40, goal=25)
    ),
    Scenario("chat-plain", "chat, no TLS", "us CPU per message", f"chat --plain {CHAT}", PER_MESSAGE, needs="plain"),
    Scenario(
        "login",
        "log-in with TLS and SCRAM",
        "ms CPU per log-in",
        "login --tls --count {logins} --concurrency 64 --settle 0",
        "server_cpu_ms_per_login",
        Budget(limit=1.2, goal=0.9),
    ),
    Scenario(
        "idle",
        "idle TLS session",
        "KiB PSS per session",
        "idle --tls --count {sessions} --concurrency 64 --settle {settle} --duration 1",
        "pss_kib_per_conn",
        Budget(limit=32, goal=28),
        settled=True,
    ),
    Scenario(
        "rest", "at rest", "MiB PSS", "stat --duration 0", "pss_kib_now", Budget(limit=60), scale=1 / 1024, settled=True
    ),
    Scenario("start", "start", "s from exec to an answer", "", "start_s", Budget(limit=1)),
    Scenario(
        "presence",
        "presence to 10 contacts each, TLS",
        "us CPU per copy",
        f"presence --tls --count 400 --degree 10 --concurrency 64 --rate 100 {TIMES}",
        "server_cpu_us_per_copy",
        Budget(limit=60),
    ),
    Scenario(
        "archive",
        "chat over TLS, archived (SQLite)",
        "us CPU per message",
        f"chat --tls {CHAT}",
        PER_MESSAGE,
        Budget(goal=45),
        needs="archive",
        usual=False,
    ),
    Scenario(
        "room",
        "copy to one of 100 in a room, TLS",
        "us CPU per copy",
        f"muc --tls --muc {ROOMS} --occupants 100 --window 4 {TIMES}",
        "server_cpu_us_per_copy",
        Budget(goal=8),
        needs="room",
        usual=False,
    ),
)
