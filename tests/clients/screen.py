"""A terminal in tmux, for the scripts beside this file that drive clients with a text interface."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.clients.person import WITHIN


class Screen:
    """A program in a terminal: type into it, and look at it. Its settings and data are in `folder`."""

    def __init__(self, folder: Path, command: str) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        environment = {
            **os.environ,
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TERM": "screen-256color",
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
        }
        start = [*self._tmux, "new-session", "-d", "-x", "150", "-y", "50", command]
        subprocess.run(start, env=environment, check=True)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self.press("-l", "--", line)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def look(self) -> str:
        """Return what is on the screen."""
        capture = [*self._tmux, "capture-pane", "-p"]
        return subprocess.run(capture, check=False, text=True, stdout=subprocess.PIPE).stdout

    async def shows(self, text: str) -> None:
        """Wait until a text is on the screen. Raises: TimeoutError."""
        try:
            async with asyncio.timeout(WITHIN):
                while text not in self.look():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise TimeoutError(f"the screen never showed {text!r}:\n{self.look().rstrip()}") from None

    def close(self) -> None:
        """End the program, whatever it does: poezio looks for a lost terminal for ever."""
        panes = [*self._tmux, "list-panes", "-a", "-F", "#{pane_pid}"]
        found = subprocess.run(panes, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        subprocess.run([*self._tmux, "kill-server"], check=False, stderr=subprocess.DEVNULL)
        for group in found.stdout.split():
            with suppress(ProcessLookupError):
                os.killpg(int(group), signal.SIGKILL)


def worked(what: str) -> None:
    print(what, flush=True)  # noqa: T201 - the script's output is its result
