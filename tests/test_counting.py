"""What `make test` says at the end: the skipped tests by reason, and the count that continuous integration reads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import TestCase

from tests.imports import ROOT

SAMPLE = '''\
"""A sample with one test of each outcome."""
from twisted.trial.unittest import SkipTest, TestCase
class Sample(TestCase):
    def test_passing(self):
        pass
    def test_skipped(self):
        raise SkipTest("no such program")
'''
FAILING = """\
    def test_failing_twice(self):
        self.addCleanup(self.fail, "again")
        self.fail("once")
"""


class Counting(TestCase):
    """`python -m tests` run on samples."""

    def run_tests(self, sample: str, require_all: str) -> tuple[int, list[str]]:
        """Return the exit status and the printed lines."""
        folder = Path(mkdtemp(prefix="chatrix-counting-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "test_sample.py").write_text(sample)
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=lambda path, names: [n for n in names if n[0] != "_"])
        done = subprocess.run(
            [sys.executable, "-m", "tests", "test_sample"],
            cwd=folder,
            env={**os.environ, "CHATRIX_REQUIRE_ALL": require_all},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    def test_skips_are_loud(self) -> None:
        """A skipped test is named with its reason, and does not fail the run."""
        status, lines = self.run_tests(SAMPLE, "")
        self.assertEqual((status, lines[-1]), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertEqual(
            [line.strip() for line in lines[lines.index("NOT RUN on this machine:") + 1 :][:2]],
            ["no such program", "test_sample.Sample.test_skipped"],
        )

    def test_skips_fail_where_nothing_may_be_missing(self) -> None:
        """With CHATRIX_REQUIRE_ALL=1 a missing part is a failure."""
        status, lines = self.run_tests(SAMPLE, "1")
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_failures_are_counted_by_test(self) -> None:
        """A test that fails in its body and in its clean-up is one failed test."""
        status, lines = self.run_tests(SAMPLE + FAILING, "")
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 1 skipped"))
