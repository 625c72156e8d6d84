"""Run tests by trial, then say loudly what did not run and why: `python -m tests [NAME ...]`, all without a name.

With CHATRIX_REQUIRE_ALL=1 a skipped test counts as failed. The last line of the output is always the count.
"""

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator

from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner

REQUIRE_ALL = os.environ.get("CHATRIX_REQUIRE_ALL") == "1"


class Counting(TreeReporter):
    """Trial's tree of tests, with the skipped ones by reason and one line of counts at the end."""

    def done(self) -> None:
        super().done()
        # Straight to the stream: the reporter's own writing indents.
        self._stream.write("\n".join([*self._skipped_by_reason(), self.counts(), ""]))
        self._stream.flush()

    def wasSuccessful(self) -> bool:
        return super().wasSuccessful() and not (REQUIRE_ALL and self.skips)

    def counts(self) -> str:
        """Return "N passed, N failed, N skipped"; a test that failed in its body and in its clean-up counts once."""
        failed = {test.id() for test, *_ in [*self.errors, *self.failures, *self.unexpectedSuccesses]}
        passed = self.successes + len(self.expectedFailures)
        skipped = len(self.skips)
        if REQUIRE_ALL:
            return f"{passed} passed, {len(failed) + skipped} failed, 0 skipped"
        return f"{passed} passed, {len(failed)} failed, {skipped} skipped"

    def _skipped_by_reason(self) -> Iterator[str]:
        tests_of = defaultdict(list)
        for test, reason in self.skips:
            tests_of[str(reason)].append(test.id())
        if not tests_of:
            return
        yield "=" * 79
        yield "FAILED, because these must not be skipped here:" if REQUIRE_ALL else "NOT RUN on this machine:"
        for reason, tests in tests_of.items():
            yield f"  {reason}"
            yield from (f"    {test}" for test in tests)
        yield "=" * 79


def main(names: list[str]) -> int:
    """Run the named tests, return the exit status."""
    # Whoever runs them in the background has it ignored, and so would the servers that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Trial looks tests up by name as the `trial` program does: a package means everything below it.
    suite = TestLoader().loadByNames(names or ["tests"], recurse=True)
    result = TrialRunner(Counting, tracebackFormat="default").run(suite)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
