"""The golden conversations of tests/transcripts/, performed in memory and over TCP: one test per file and way.

docs/transcripts.md describes their format.
"""

import atexit
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from chatrix.testing.host import MemoryHost
from chatrix.testing.runner import perform
from chatrix.testing.stage import TCPStage
from chatrix.testing.transcript import load
from tests.certificates import leaf
from tests.running import RunningServer

FOLDER = Path(__file__).parent / "transcripts"
FILES = sorted(FOLDER.glob("*.transcript"))


def host_for(path: Path) -> str:
    """Return the host that a transcript has for itself on the one server that performs them all."""
    return f"t{FILES.index(path)}.localhost"


@lru_cache(maxsize=1)
def running_server() -> RunningServer:
    """Return the server for all transcripts, started at first need; it stops with this process."""
    server = RunningServer([host_for(path) for path in FILES])
    server.start()
    atexit.register(server.stop)
    return server


class Performance(TestCase):
    """A way to perform transcripts; `a_test_per_file` gives it its tests."""

    timeout = 60

    async def perform(self, path: Path) -> None:
        raise NotImplementedError


def a_test_per_file(case: type[Performance]) -> type[Performance]:
    """Class decorator: add one test for each transcript."""

    def make(path: Path) -> Callable[[Any], Any]:
        async def test(self: Performance) -> None:
            await self.perform(path)

        test.__doc__ = load(path).title
        return test

    for path in FILES:
        setattr(case, "test_" + re.sub(r"\W", "_", path.stem), make(path))
    return case


@a_test_per_file
class InMemory(Performance):
    """On a host of its own in this process, without a socket."""

    async def perform(self, path: Path) -> None:
        certificate = leaf("localhost")
        folder = Path(self.mktemp())
        host = MemoryHost("localhost", certificate.pem, certificate.authority_pem, folder, reactor)
        await host.start()
        try:
            await perform(load(path), host)
        finally:
            await host.stop()


@a_test_per_file
class OverTCP(Performance):
    """On `twistd chatrix`, by real sockets and TLS."""

    async def perform(self, path: Path) -> None:
        server = running_server()
        seen = len(server.program.log)

        async def add_account(jid: str, password: str) -> None:
            await server.add_accounts(jid, password=password)

        authority = server.authority.read_bytes()
        stage = TCPStage(reactor, reactor, server.port, server.tls_port, authority, add_account)
        await perform(load(path, host_for(path)), stage)
        self.assertEqual("", server.tracebacks(seen))
