"""Ctrl-C on `make run`: the server ends as it wants to, and make sees how."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SkipTest, TestCase

from tests.imports import ROOT
from tests.tools.terminal import CTRL_C, CTRL_Z, on_terminal

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


class Foreground(TestCase):
    """tools/foreground.py between a real make and a terminal."""

    def make(self, status: int, act: Callable[[int, int], object]) -> tuple[int, str]:
        """Run a server below make, act once it listens; return make's exit status and what was printed."""
        if not shutil.which("make"):
            raise SkipTest("make is not installed")
        folder = Path(mkdtemp(prefix="chatrix-foreground-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "server.py").write_text(SERVER.format(status=status))
        command = f"{sys.executable} {ROOT}/tools/foreground.py {sys.executable} server.py"
        (folder / "Makefile").write_text(f"run:\n\t@exec {command}\n")
        return on_terminal(["make", "--no-print-directory", "run"], folder, b"listening", act)

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
