"""The load generator: its self-check, and what it must refuse to call a measurement."""

import os
import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from bench.loadgen import FOLDER, MUST_BE_ZERO, PACKAGES, PROGRAM, problem_in

SOURCE = (FOLDER / "xmppload.c").read_text()


def can_build() -> bool:
    """Whether make, a C compiler and OpenSSL's headers are here."""
    if not (shutil.which("make") and shutil.which("cc")):
        return False
    command = ["cc", "-E", "-include", "openssl/ssl.h", "-x", "c", os.devnull]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class SelfCheckTests(TestCase):
    """The C program against its toy server."""

    def test_self_check(self) -> None:
        """Legal but unusual XML, byte by byte, does not make the load generator lose or invent a message."""
        if not can_build() and not os.environ.get("CHATRIX_REQUIRE_ALL"):
            raise SkipTest(f"the load generator cannot be built here ({PACKAGES})")
        done = subprocess.run(
            ["make", "-C", str(FOLDER), "check"], capture_output=True, text=True, check=False, timeout=120
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(Path(PROGRAM).exists())


class ProblemTests(TestCase):
    """What makes figures worthless."""

    def test_nothing_wrong(self) -> None:
        """Zeros, and fields that a mode does not report, are no problem; complaints alone are not either."""
        self.assertEqual(problem_in({"lost": 0, "delivered": 10}, "a note"), "")

    def test_each_count(self) -> None:
        """Every count of things gone wrong is a problem, and the load generator's own words are kept."""
        for count in MUST_BE_ZERO:
            self.assertEqual(problem_in({count: 2}, "why\n"), f"2 {count.replace('_', ' ')}: why")

    def test_counts_are_the_programs_own(self) -> None:
        """A field renamed in the C file would otherwise never be looked at again."""
        for count in MUST_BE_ZERO:
            self.assertIn(f'"{count}"', SOURCE)
