"""A program on a terminal of its own, for tests of what somebody sees who types `make`."""

import os
import pty
import signal
from collections.abc import Callable
from pathlib import Path
from select import select

CTRL_C, CTRL_Z = b"\x03", b"\x1a"
PATIENCE = 60


def on_terminal(command: list[str], folder: Path, wanted: bytes, act: Callable[[int, int], object]) -> tuple[int, str]:
    """Run a command; once it printed `wanted`, call `act(terminal, pid)`; return its exit status and what it printed.

    A negative status is the signal that it died of. Raises: AssertionError when nothing is printed for too long.
    """
    child, terminal = pty.fork()
    if child == 0:
        # As a shell leaves them; continuous integration may run the tests with some of them ignored.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        os.execvp(command[0], command)
    try:
        printed = read_until(terminal, wanted)
        act(terminal, child)
        printed += read_until(terminal, None)
    except BaseException:
        # What does not end by itself must not keep the tests from ending.
        for group in {os.tcgetpgrp(terminal), os.getpgid(child)}:
            os.killpg(group, signal.SIGKILL)
        raise
    finally:
        # Whatever still runs on it is hung up.
        os.close(terminal)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), printed.decode()


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
