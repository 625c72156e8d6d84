"""Run a server for `make run` so that Ctrl-C reaches the server alone and make sees how it ended.

make dies of the same Ctrl-C as its recipe, and says "Interrupt" or "Error 130" after the cleanest end. So on a terminal
the server gets a process group of its own, and that group gets the terminal; make hears nothing until it has gone.
"""

import os
import signal
import sys


def become(command: list[str]) -> None:
    """Replace this process by the command, which then is what make waits for."""
    os.execvp(command[0], command)


def run_in_own_group(command: list[str], terminal: int) -> int:
    """Run the command as the terminal's foreground group, give the terminal back, and return the exit status."""
    ours = os.getpgrp()
    # Who hands the terminal over stands in the background at that moment, and would be stopped for it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    # Only the shell could wake a stopped server, and the shell knows of make alone.
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpid())
        # Whoever started us in the background had it ignored, and a server that inherits this cannot be ended.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        become(command)
    # A closed terminal hangs up; to the server alone that would mean "reload".
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: os.kill(child, signal.SIGTERM))
    _, status = os.waitpid(child, 0)
    os.tcsetpgrp(terminal, ours)
    code = os.waitstatus_to_exitcode(status)
    # twistd, once it has stopped as it should, ends by the very signal that made it stop.
    if code == -signal.SIGINT:
        return 0
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    if not os.isatty(0) or os.tcgetpgrp(0) != os.getpgrp():
        become(sys.argv[1:])
    sys.exit(run_in_own_group(sys.argv[1:], 0))
