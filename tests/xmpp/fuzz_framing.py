"""Run the framing's properties for as long as one likes: `python -m tests.xmpp.fuzz_framing --minutes 60`."""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import HealthCheck, settings

from tests.xmpp.properties import PROPERTIES


def main() -> None:
    """Take turns, a few thousand examples each, until the time is over or an example fails."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=1.0)
    end = time.monotonic() + 60 * arguments.parse_args().minutes
    profile = settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    rounds = 0
    while time.monotonic() < end:
        for check in PROPERTIES:
            profile(check)()
            if time.monotonic() > end:
                break
        rounds += 1
        sys.stdout.write(f"{rounds} rounds of {profile.max_examples}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
