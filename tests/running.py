"""The real thing for tests: `twistd -n chatrix` as a process, with free ports, a certificate and accounts."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from chatrix.store.migrate import migrate
from chatrix.testing.accounts import add_accounts
from chatrix.testing.host import MODULES
from tests.certificates import leaf

ROOT = Path(__file__).parent.parent

START_WITHIN = 30.0
STOP_WITHIN = 15.0


class NotRunning(Exception):
    """A program ended, or did not say in time that it is ready. The text holds its output."""


class Test(Protocol):
    """What a program needs of the test it runs for."""

    def addCleanup(self, function: Callable[[], object], /) -> object:
        """As in trial."""

    def fail(self, message: object, /) -> object:
        """As in trial."""


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 on which nobody listens now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def write_certificate(folder: Path, hosts: Iterable[str]) -> tuple[Path, Path]:
    """Write a certificate for all `hosts` with its key, and the authority to trust; return the paths of both."""
    certificate = leaf(*hosts)
    authority, pem = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(certificate.authority_pem)
    pem.touch(mode=0o600)
    pem.write_bytes(certificate.pem)
    return authority, pem


class Program:
    """A subprocess whose output is collected while it runs."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        # The checkout's plugin and code, installed or not.
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._ended = False

    def start(self, ready: Iterable[str] = (), within: float = START_WITHIN) -> None:
        """Start, and wait until each text of `ready` has been printed. Raises: NotRunning."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader.start()
        for text in ready:
            self.wait_for(text, within)

    def wait_for(self, text: str, within: float = START_WITHIN) -> None:
        """Wait until `text` is in the output. Raises: NotRunning."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._printed(text), within)
            if not self._printed(text):
                why = "ended" if self._ended else f"did not print {text!r} within {within:g} s"
                raise NotRunning(f"{self._command[0]} {why}:\n" + "\n".join(self._lines[-40:]))

    def stop(self) -> int:
        """Ask the program to end, and insist when it does not; return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join(STOP_WITHIN)
        return status

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> list[str]:
        """The lines of output so far."""
        with self._changed:
            return list(self._lines)

    def _printed(self, text: str) -> bool:
        return any(text in line for line in self._lines)

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        self._process.stdout.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Script:
    """One of the client scripts in tests/clients/, run to its end in a process of its own."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]

    def run(self, within: float = 120.0) -> tuple[int, str]:
        """Return the exit status and the output. Blocking. Raises: subprocess.TimeoutExpired."""
        done = subprocess.run(
            self._command,
            cwd=ROOT,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=within,
        )
        return done.returncode, done.stdout


class RunningServer:
    """chatrix on free ports of 127.0.0.1, for `hosts`, below a temporary folder.

    `options` are lines for the section [chatrix]; `sections` is what follows the hosts. `under` is a command that runs
    the one given to it, such as prlimit.
    """

    def __init__(
        self,
        hosts: Sequence[str] = ("localhost",),
        *,
        modules: str = MODULES,
        database: str = "sqlite:chatrix.sqlite",
        options: str = "",
        sections: str = "",
        under: Sequence[str] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chatrix-test-"))
        self.port, self.tls_port = free_ports(2)
        self.database = database
        self.authority, pem = write_certificate(self.folder, hosts)
        self.ini = self.folder / "chatrix.ini"
        lines = [
            "[chatrix]",
            "state = var",
            f"modules = {modules}",
            f"database = {database}",
            f"c2s = tcp:{self.port}:interface=127.0.0.1",
            f"c2s tls = tcp:{self.tls_port}:interface=127.0.0.1",
            options,
            *(f"\n[host {host}]\ncertificate = {pem}\nadmins = admin@{host}" for host in hosts),
            sections,
        ]
        self.ini.write_text("\n".join(lines) + "\n")
        self.program = Program(
            [*under, *twistd_command(), "-n", f"--pidfile={self.folder}/pid", "chatrix", "-c", str(self.ini)]
        )

    def start(self, test: Test | None = None) -> None:
        """Make the tables, start, wait until it listens; after `test` stop, and fail the test for a traceback.

        Raises: NotRunning.
        """
        try:
            (self.folder / "var").mkdir()
            migrate(self.database, str(self.folder / "var"))
            self.program.start(("chatrix is ready",))
        except NotRunning:
            self.stop()
            raise
        if test is not None:
            test.addCleanup(lambda: self._end(test))

    def stop(self) -> None:
        """Stop, and forget everything."""
        self.program.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def add_accounts(self, *jids: str, password: str = "secret") -> None:
        """Make accounts, whether the server runs or not. Raises: DatabaseError, AccountExists."""
        from twisted.internet import reactor

        await add_accounts(self.database, self.folder / "var", [(jid, password) for jid in jids], reactor)

    def control(self, *words: str, given: str = "") -> str:
        """Run chatrixctl; return what it prints. Raises: subprocess.CalledProcessError."""
        command = [sys.executable, "-m", "chatrix.admin.ctl", "-c", str(self.ini), *words]
        done = subprocess.run(command, input=given, check=True, text=True, stdout=subprocess.PIPE)
        return done.stdout

    def tracebacks(self, since: int = 0) -> str:
        """Return the log from its first traceback on, beginning at line number `since`; '' when there is none."""
        lines = self.program.log[since:]
        first = next((number for number, line in enumerate(lines) if "Traceback (most recent call last)" in line), None)
        return "" if first is None else "\n".join(lines[max(first - 2, 0) : first + 40])

    def _end(self, test: Test) -> None:
        self.stop()
        if traceback := self.tracebacks():
            test.fail(f"the server's log has a traceback:\n{traceback}")


def twistd_command() -> list[str]:
    """Return how to run twistd by this very interpreter."""
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
