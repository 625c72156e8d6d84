"""What holds in each test: a bystander is served, the process lives, the log is clean, memory is bounded."""

import atexit
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.certificates import leaf
from tests.running import RunningServer
from tests.threats.raw import PATIENCE, RawClient

LONG = os.environ.get("CHATRIX_LONG") == "1"
"""The full numbers of the table; otherwise as many as prove the point in seconds."""

BYSTANDER = 0.25
"""Seconds within which a bystander's ping must be answered while an attacker works."""

PING_EVERY = 0.025

GROWTH = 8 << 20
"""Bytes by which the process may grow in one test."""

HOSTS = ("a.test", "b.test")
ANOTHER = "c.test"
"""A host with a certificate of its own."""

ACCOUNTS = ("alice@a.test", "bob@a.test", "bystander@a.test", "alice@b.test", *(f"u{n}@a.test" for n in range(1, 30)))

MiB = 1 << 20


class Servers:
    """The one server that runs at a time, by its options; it stops when another is wanted, or with this process."""

    def __init__(self) -> None:
        self._options: tuple[str, str, tuple[str, ...]] | None = None
        self._server: RunningServer | None = None
        atexit.register(self.stop)

    async def get(self, limits: str, options: str, under: tuple[str, ...]) -> RunningServer:
        """Return a running server with these lines in [limits] and in [chatrix]; `under` is a command to run it by."""
        key = (limits, options, under)
        if self._server is None or self._options != key:
            self.stop()
            another = f"[host {ANOTHER}]\ncertificate = another.pem\nmechanisms = SCRAM-SHA-256-PLUS SCRAM-SHA-256"
            sections = f"\n[limits]\n{limits}\n\n{another}"
            server = RunningServer(HOSTS, options=options, sections=sections, under=under)
            (server.folder / "another.pem").write_bytes(leaf(ANOTHER).pem)
            (server.folder / "another.pem").chmod(0o600)
            server.start()
            self._server, self._options = server, key
            await server.add_accounts(*ACCOUNTS)
        return self._server

    def stop(self) -> None:
        """Stop the server, if there is one."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()


SERVERS = Servers()


class Bystander:
    """A client that pings the server all the time, at a steady pace, whether it is answered or not.

    So a server that is deaf for a second is seen by forty late answers, not by one.
    """

    def __init__(self, port: int, tls_port: int) -> None:
        self.delays: list[float] = []
        self._client = RawClient(port, "127.0.0.1").log_in("bystander", resource="b")
        self._sent: dict[int, float] = {}
        self._stopping = False
        self._problem = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[float]:
        """Wait for the answers to all pings; return how long each one took. Raises: AssertionError."""
        self._stopping = True
        self._thread.join(PATIENCE)
        self._client.close()
        if self._problem or self._thread.is_alive() or self._sent:
            raise AssertionError(f"the bystander was not served: {self._problem or 'no answer'}")
        return self.delays

    def _run(self) -> None:
        due, number, received = time.monotonic(), 0, b""
        client = self._client.socket
        until = 0.0
        while not self._stopping or self._sent:
            now = time.monotonic()
            if self._stopping and not until:
                until = now + PATIENCE / 2
            if until and now > until:
                return
            if now >= due and not self._stopping:
                number += 1
                self._sent[number] = now
                due = max(due + PING_EVERY, now)
                client.sendall(b"<iq type='get' id='p%d' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>" % number)
            client.settimeout(max(due - time.monotonic(), 0.001) if not self._stopping else 0.1)
            try:
                data = client.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                self._problem = repr(error)
                return
            if not data:
                self._problem = f"its stream ended: {received[-500:]!r}"
                return
            now = time.monotonic()
            received += data
            *answers, received = received.split(b"/>")
            for answer in answers:
                self.delays.append(now - self._sent.pop(int(answer.partition(b"id='p")[2].partition(b"'")[0])))


class Threat(TestCase):
    """A test against a running server, with the global oracle around it."""

    timeout = 7200 if LONG else 120
    limits = ""
    "Lines of [limits]."
    options = ""
    "Lines of [chatrix]."
    under: tuple[str, ...] = ()
    "What the server's command is an argument of."
    growth = GROWTH

    _sources = 0

    async def setUp(self) -> None:  # type: ignore[override]
        """Start the server if need be, and a bystander."""
        self.server = server = await SERVERS.get(self.limits, self.options, self.under)
        # What a server takes for its first clients it has for good.
        for _ in range(2):
            self._warm_up()
        self._seen = len(server.program.log)
        self._bystander = await deferToThread(Bystander, server.port, server.tls_port)
        self._memory = self.memory()
        self.addCleanup(self._judge)

    def _warm_up(self) -> None:
        client = RawClient(self.server.port, "127.0.0.1").log_in("bystander", resource="warm")
        client.send(b"</stream:stream>")
        client.rest()
        client.close()

    def connect(self, source: str = "", *, direct: bool = False) -> RawClient:
        """Connect from an address of its own per test, or from `source`."""
        client = RawClient(self.server.tls_port if direct else self.server.port, source or self.source)
        self.addCleanup(client.close)
        return client

    @property
    def source(self) -> str:
        """An address that no other test comes from: failures and bans are counted by address."""
        if not self._source:
            Threat._sources += 1
            self._source = f"127.1.{Threat._sources >> 8}.{Threat._sources & 255}"
        return self._source

    _source = ""

    def memory(self) -> int:
        """Bytes that the server has in memory."""
        for line in Path(f"/proc/{self.server.program.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the server's process is gone")

    def cpu(self) -> float:
        """Seconds of processor time that the server has used."""
        fields = Path(f"/proc/{self.server.program.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def eventually(self, what: Callable[[], bool], within: float = 5.0) -> bool:
        """Whether this becomes true in time."""
        until = time.monotonic() + within
        while not what():
            if time.monotonic() > until:
                return False
            threading.Event().wait(0.02)
        return True

    def _judge(self) -> None:
        delays = sorted(self._bystander.stop())
        self.assertTrue(Path(f"/proc/{self.server.program.pid}").exists(), "the server's process is gone")
        self.assertEqual("", self.server.tracebacks(self._seen))
        self.assertTrue(delays, "the bystander never pinged")
        # A machine with other things to do takes the processor away for longer at times: one in twenty may be late.
        late = delays[int(len(delays) * 0.95)]
        self.assertLess(late, BYSTANDER, f"of {len(delays)} pings of a bystander the slowest took {delays[-5:]}")
        grown = self.eventually(lambda: self.memory() - self._memory < self.growth)
        self.assertTrue(grown, f"the server grew by {(self.memory() - self._memory) / MiB:.1f} MiB")
