"""`make run`, as the README promises it: what is missing is made, a server listens, Ctrl-C ends it cleanly."""

import os
import re
import shutil
import socket
import sys
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SkipTest, TestCase

from tests.imports import ROOT
from tests.tools.terminal import CTRL_C, on_terminal

PASSWORD = re.compile(r"^ +([0-9a-z]{4}-){3}[0-9a-z]{4}\r?$", re.MULTILINE)


class MakeRun(TestCase):
    """The Makefile's own recipe, in a folder of its own, with the environment that runs the tests in place of .venv."""

    def setUp(self) -> None:
        if not shutil.which("make") or not (Path(sys.prefix) / "bin" / "chatrixctl").exists():
            raise SkipTest("make is not installed, or chatrix is not installed where the tests run (pip install -e .)")
        self.folder = Path(mkdtemp(prefix="chatrix-make-run-"))
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copytree(ROOT / "etc", self.folder / "etc")
        shutil.copytree(ROOT / "tools", self.folder / "tools")
        shutil.copy(ROOT / "Makefile", self.folder)
        ini = self.folder / "etc" / "chatrix.ini"
        text = ini.read_text()
        for port in ("5222", "5223"):
            self.assertIn(f"tcp:{port}:", text)
            text = text.replace(f"tcp:{port}:", f"tcp:{free_port()}:")
        ini.write_text(text)

    def make_run(self) -> tuple[int, str]:
        """Run it until the server is ready, press Ctrl-C, return exit status and output."""
        # -o: what is installed is taken as it is.
        command = ["make", "run", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"]
        return on_terminal(command, self.folder, b"chatrix is ready", lambda terminal, _: os.write(terminal, CTRL_C))

    def test_first_and_second_run(self) -> None:
        """The first run makes certificate, database and admin, and shows a password; the second shows none."""
        status, printed = self.make_run()
        self.assertEqual(status, 0, printed)
        self.assertRegex(printed, PASSWORD)
        self.assertIn("admin@localhost", printed)
        self.assertNotIn("***", printed)
        made = {path.name for path in (self.folder / "var").iterdir()}
        self.assertLessEqual({"chatrix.sqlite", "localhost.pem"}, made)
        status, printed = self.make_run()
        self.assertEqual(status, 0, printed)
        self.assertNotRegex(printed, PASSWORD)

    def test_nothing_is_left_where_others_could_read_it(self) -> None:
        """What the server keeps is for its own user alone."""
        self.make_run()
        open_to_others = [str(path) for path in (self.folder / "var").rglob("*") if path.stat().st_mode & 0o077]
        self.assertEqual(open_to_others, [])


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
