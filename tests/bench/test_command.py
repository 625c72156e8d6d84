"""The options of `bench/run`, and that a server never outlives its run."""

import os
import sys
from argparse import ArgumentTypeError
from pathlib import Path

from twisted.trial.unittest import TestCase

from bench.command import parse, positive
from bench.scenario import FULL, QUICK
from bench.servers.server import Server, ServerFailed

# Listens, answers as a server would, and has a child that ignores SIGTERM.
SERVER = """
import os, signal, socket, sys
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("up", flush=True)
while True:
    connection, _ = listening.accept()
    connection.recv(4096)
    connection.sendall(b"<stream:features/>")
    connection.close()
"""


class Script(Server):
    """A server that is a few lines of Python."""

    name = "script"
    text = SERVER

    def configure(self) -> None:
        (self.folder / "server.py").write_text(self.text)

    def command(self) -> list[str]:
        return [sys.executable, str(self.folder / "server.py"), str(self.port)]


class Failing(Script):
    """Ends before it listens."""

    text = "print('no such option'); raise SystemExit(3)"


def processes_in(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getpgid(int(folder.name)) == group:
                found += [int(folder.name)] if "\nState:\tZ" not in (folder / "status").read_text() else []
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


class RunningTests(TestCase):
    """Servers start, answer, and end with all they started."""

    def prepared(self, kind: type[Script]) -> Script:
        """A server ready to start."""
        server = kind(Path(self.mktemp()).resolve(), 1)
        server.prepare()
        return server

    def test_nothing_is_left(self) -> None:
        """A child that ignores SIGTERM is gone after the block as well, also when the block raises."""
        server = self.prepared(Script)
        groups = []

        def interrupted() -> None:
            with server.running():
                groups.append(server.pid)
                self.assertEqual(len(processes_in(server.pid)), 2)
                raise KeyboardInterrupt

        self.assertRaises(KeyboardInterrupt, interrupted)
        self.assertEqual(processes_in(groups[0]), [])

    def test_failure_says_what_the_server_said(self) -> None:
        """A server that ends at once is an error with its status and its last words."""
        server = self.prepared(Failing)
        with self.assertRaises(ServerFailed) as caught, server.running():
            pass
        self.assertIn("status 3", str(caught.exception))
        self.assertIn("no such option", str(caught.exception))


class OptionTests(TestCase):
    """What the command line means."""

    def test_default_is_everything(self) -> None:
        """All servers, the usual scenarios, full size."""
        options = parse([])
        self.assertEqual([server.name for server in options.servers], ["chatrix", "Prosody", "ejabberd"])
        self.assertEqual(options.size, FULL)
        self.assertNotIn("archive", [scenario.name for scenario in options.scenarios])

    def test_quick_with_changes(self) -> None:
        """`--quick` sets all sizes, single options override it."""
        size = parse(["--quick", "--sessions", "50"]).size
        self.assertEqual((size.sessions, size.duration, size.runs), (50, QUICK.duration, QUICK.runs))
        self.assertEqual(size.accounts, 400)

    def test_choice(self) -> None:
        """Named servers and scenarios only, scenarios in the table's order."""
        options = parse(["--servers", "ejabberd", "--scenarios", "room", "login"])
        self.assertEqual([server.name for server in options.servers], ["ejabberd"])
        self.assertEqual([scenario.name for scenario in options.scenarios], ["login", "room"])

    def test_counts_are_positive(self) -> None:
        """Nothing that is no whole number above zero passes for a count."""
        self.assertEqual(positive("12"), 12)
        for text in ("0", "-1", "1.5", "x", "", "\u0661"):
            with self.assertRaises(ArgumentTypeError, msg=text):
                positive(text)
