"""The load generator (load/xmppload.c) as a function: build it, run it, return what it found."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.servers.server import DOMAIN, PASSWORD, USER_PREFIX, ServerFailed, die_with_parent, run_tool

FOLDER = Path(__file__).parent / "load"
PROGRAM = FOLDER / "xmppload"
PACKAGES = "Debian packages: build-essential libssl-dev"
MAX_SECONDS = 900

# Counts that must be zero for a figure to mean anything.
MUST_BE_ZERO = ("lost", "copies_lost", "duplicated", "reordered", "login_failures", "disconnects", "stanza_errors")


def build() -> None:
    """Build the load generator where it lies.

    Raises:
        ServerFailed: when the tools are missing or the compiler complains.
    """
    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            raise ServerFailed(f"{tool} is not installed ({PACKAGES})")
    try:
        run_tool(["make", "--silent", "-C", str(FOLDER), PROGRAM.name])
    except ServerFailed as problem:
        raise ServerFailed(f"the load generator cannot be built ({PACKAGES})\n{problem}") from problem


def put_load(arguments: Sequence[str], port: int, pid: int) -> tuple[dict[str, Any], str]:
    """Run the load generator against a server.

    Returns what it found, and what was wrong with that ("" when nothing was).

    Raises:
        ServerFailed: when it could not finish.
    """
    command = [str(PROGRAM), *arguments, "--port", str(port), "--pid", str(pid)]
    command += ["--domain", DOMAIN, "--user-prefix", USER_PREFIX, "--password", PASSWORD]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - this program has one thread
    ) as process:
        try:
            written, complaints = process.communicate(timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired as problem:
            raise ServerFailed(f"the load generator did not finish within {MAX_SECONDS} s") from problem
        finally:
            process.kill()
    if process.returncode not in {0, 1} or not written.strip():
        raise ServerFailed(f"the load generator ended with status {process.returncode}: {complaints.strip()}")
    found: dict[str, Any] = json.loads(written.splitlines()[-1])
    return found, problem_in(found, complaints)


def problem_in(found: dict[str, Any], complaints: str = "") -> str:
    """What makes the load generator's figures worthless; "" when nothing does."""
    wrong = [f"{found[count]} {count.replace('_', ' ')}" for count in MUST_BE_ZERO if found.get(count)]
    if not wrong:
        return ""
    return ", ".join(wrong) + (f": {complaints.strip()}" if complaints.strip() else "")
