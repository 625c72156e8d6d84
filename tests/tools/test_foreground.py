"""Ctrl-C on `make run`: the server ends as it wants to, and make sees how."""

import os
import pty
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from select import select
from tempfile import mkdtemp

from twisted.trial.unittest import SkipTest, TestCase

from tests.imports import ROOT

SERVER = """\
import signal, sys
def end(number, frame):
    print("ended by", signal.Signals(number).name, flush=True)
    if {status} < 0:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    sys.exit({status})
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
print("listening", flush=True)
while True:
    signal.pause()
"""
CTRL_C, CTRL_Z = b"\x03", b"\x1a"
PATIENCE = 30


class Foreground(TestCase):
    """tools/foreground.py between a real make and a terminal."""

    def make(self, status: int, act: Callable[[int, int], object]) -> tuple[int, str]:
        """Run a server below make on a terminal, act once it listens; return make's exit status and what it printed."""
        if not shutil.which("make"):
            raise SkipTest("make is not installed")
        folder = Path(mkdtemp(prefix="chatrix-foreground-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "server.py").write_text(SERVER.format(status=status))
        tool = ROOT / "tools" / "foreground.py"
        (folder / "Makefile").write_text(f"run:\n\t@exec {sys.executable} {tool} {sys.executable} {folder}/server.py\n")
        child, terminal = pty.fork()
        if child == 0:
            os.execvp("make", ["make", "-C", str(folder), "--no-print-directory", "run"])
        self.addCleanup(os.close, terminal)
        printed = read_until(terminal, b"listening")
        act(terminal, child)
        printed += read_until(terminal, None)
        _, wait_status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(wait_status), printed.decode()

    def test_ctrl_c_ends_the_server_alone(self) -> None:
        """The server hears of Ctrl-C, make does not: no "Interrupt", no "Error 130", status 0."""
        status, printed = self.make(0, lambda terminal, _: os.write(terminal, CTRL_C))
        self.assertEqual(status, 0, printed)
        self.assertIn("ended by SIGINT", printed)
        self.assertNotIn("***", printed)

    def test_ending_by_the_signal_is_no_failure(self) -> None:
        """twistd stops in good order, then ends by the same signal: that is what was asked for."""
        status, printed = self.make(-1, lambda terminal, _: os.write(terminal, CTRL_C))
        self.assertEqual(status, 0, printed)
        self.assertNotIn("***", printed)

    def test_failure_stays_a_failure(self) -> None:
        """A server that ends with an error makes make fail."""
        status, printed = self.make(3, lambda terminal, _: os.write(terminal, CTRL_C))
        self.assertEqual(status, 2, printed)
        self.assertIn("Error 3", printed)

    def test_ctrl_z_does_not_freeze_the_terminal(self) -> None:
        """Nobody could wake a server that stopped, so it goes on and Ctrl-C still works."""
        status, printed = self.make(0, lambda terminal, _: os.write(terminal, CTRL_Z + CTRL_C))
        self.assertEqual(status, 0, printed)
        self.assertIn("ended by SIGINT", printed)

    def test_terminated_make_takes_the_server_along(self) -> None:
        """SIGTERM to make, as from a script, leaves no server behind."""
        _, printed = self.make(0, lambda _, make: os.kill(make, signal.SIGTERM))
        self.assertIn("ended by SIGTERM", printed)


def read_until(terminal: int, wanted: bytes | None) -> bytes:
    """Return what a terminal prints up to the wanted text, or up to its end."""
    seen = b""
    while wanted is None or wanted not in seen:
        ready, _, _ = select([terminal], [], [], PATIENCE)
        if not ready:
            raise AssertionError(f"nothing more came after {seen!r}")
        try:
            data = os.read(terminal, 4096)
        except OSError:
            # Linux says so when the last program on the terminal has gone.
            data = b""
        if not data:
            break
        seen += data
    return seen
