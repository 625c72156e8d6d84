"""A server under measurement: where it lives, how it starts, when it answers, how it ends.

Every server gets the same conditions: a folder of its own, a port on loopback, the same accounts, a certificate of the
same kind (EC P-256, self-signed), no other server beside it. Nothing outlives the run: a server leads its own process
group, which is killed as a whole, and the kernel kills it should the run itself be killed.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

DOMAIN = "bench.localhost"
ROOMS = f"conference.{DOMAIN}"
USER_PREFIX = "u"
PASSWORD = "secret"
ITERATIONS = 10_000

# Below the kernel's ephemeral ports: a port the load generator's own connections can never occupy.
PORTS = range(27_000, 28_000)
START_SECONDS = 60.0
STOP_SECONDS = 20.0
PR_SET_PDEATHSIG = 1

HEADER = (
    f"<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
).encode()


class ServerFailed(Exception):
    """A server did not start, did not answer, or could not be prepared; the text says what it wrote."""


_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Between fork and exec: ask the kernel to kill this process when the run that started it is gone."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One kind of server; subclasses say how it is configured and started."""

    name = ""
    """What the table's column and `--servers` call it."""
    offers: frozenset[str] = frozenset()
    """What scenarios may need and this server has: `plain` (no TLS required), `archive`, `room`."""

    def __init__(self, folder: Path, accounts: int, archive: bool = False) -> None:
        self.folder = folder
        self.accounts = accounts
        self.archive = archive
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Why this server cannot run on this machine, and what to install; None when it can."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """The version that is measured."""
        raise NotImplementedError

    def configure(self) -> None:
        """Write the configuration and make the accounts; `port` and the folder are there already."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The command that runs the server in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What the server finds in its environment."""
        return {**os.environ, "HOME": str(self.folder)}

    @property
    def pid(self) -> int:
        """The root process; its descendants count as well."""
        assert self._process is not None
        return self._process.pid

    def prepare(self) -> None:
        """Make folder, port, configuration and accounts: once, before the first start.

        Raises:
            ServerFailed: when the server's own tools refuse.
        """
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.configure()

    @contextmanager
    def running(self) -> Iterator[float]:
        """Run the server for the length of the block; the value is the seconds from exec to its first answer.

        Raises:
            ServerFailed: when it ends or does not answer in time.
        """
        try:
            yield self._start()
        finally:
            self._stop()

    def written(self) -> str:
        """The last lines of what the server wrote on its terminal."""
        try:
            return "\n".join(self._output.read_text(errors="replace").splitlines()[-20:])
        except FileNotFoundError:
            return ""

    @property
    def _output(self) -> Path:
        return self.folder / "output"

    def _start(self) -> float:
        with self._output.open("wb") as output:
            begun = time.monotonic()
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - this program has one thread
            )
        while not answers(self.port):
            if self._process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with status {self._process.returncode}:\n{self.written()}")
            if time.monotonic() - begun > START_SECONDS:
                raise ServerFailed(f"{self.name} does not answer on port {self.port}:\n{self.written()}")
            time.sleep(0.005)
        return time.monotonic() - begun

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Whatever it started goes with it, and so does the server itself when it would not end.
            with suppress(ProcessLookupError):
                for _ in range(100):
                    os.killpg(process.pid, signal.SIGKILL)
                    process.poll()
                    time.sleep(0.01)


def free_port() -> int:
    """A port on loopback on which nobody listens.

    Raises:
        ServerFailed: when all of them are taken.
    """
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed(f"no free port between {PORTS.start} and {PORTS.stop - 1}")


def answers(port: int) -> bool:
    """Whether a client would get stream features for the measured host: more than a port that is open."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(HEADER)
            while b"features" not in received:
                data = connection.recv(4096)
                if not data:
                    return False
                received += data
    except OSError:
        return False
    return True


def make_certificate(certificate: Path, key: Path) -> None:
    """Write a self-signed EC P-256 certificate for the measured domain and its rooms.

    Raises:
        ServerFailed: when openssl is not installed or refuses.
    """
    if shutil.which("openssl") is None:
        raise ServerFailed("openssl is not installed (Debian package: openssl)")
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "30", "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN},DNS:{ROOMS}"]
    run_tool([*request, *names, "-keyout", str(key), "-out", str(certificate)])


def join(joined: Path, *parts: Path) -> None:
    """Write several files into one, which only its owner may read: one of them is a key."""
    joined.touch(mode=0o600)
    joined.write_text("".join(part.read_text() for part in parts))


def run_tool(command: list[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run one of a server's tools to its end and return what it wrote.

    Raises:
        ServerFailed: when it is not there, fails, or takes minutes.
    """
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
            preexec_fn=die_with_parent,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise ServerFailed(f"{command[0]}: {problem}") from problem
    written = done.stdout.decode(errors="replace")
    if done.returncode:
        raise ServerFailed(f"{command[0]} failed with status {done.returncode}:\n{written.strip()}")
    return written


def fill(template: Path, words: Mapping[str, str]) -> str:
    """The text of a template with each `@WORD@` replaced."""
    text = template.read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
