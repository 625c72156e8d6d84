"""chatrix from this checkout, as it comes, with the limits lifted that would stop a load generator."""

import importlib.util
import os
import re
import sys
from pathlib import Path

from bench.servers.server import DOMAIN, PASSWORD, USER_PREFIX, Server, fill, join, make_certificate, run_tool

TEMPLATE = Path(__file__).with_name("chatrix.ini")
PROJECT = Path(__file__).resolve().parent.parent.parent


class Chatrix(Server):
    """SQLite as storage; one process. TLS is required of clients, so there is no `plain`."""

    name = "chatrix"

    @classmethod
    def missing(cls) -> str | None:
        # Not "twisted" alone: the folder of our plugin is a (namespace) package of that name.
        if importlib.util.find_spec("twisted.internet") is None:
            return f"{sys.executable} has no Twisted: run `make bench`, or bench/run with the Python that has chatrix"
        return None

    @classmethod
    def version(cls) -> str:
        found = re.search(r"^version = (\S+)$", (PROJECT / "setup.cfg").read_text(), re.MULTILINE)
        return found[1] if found else "unknown"

    @property
    def _ini(self) -> Path:
        return self.folder / "chatrix.ini"

    def configure(self) -> None:
        certificate, key = self.folder / "bench.crt", self.folder / "bench.key"
        make_certificate(certificate, key)
        join(self.folder / "bench.pem", key, certificate)
        self._ini.write_text(fill(TEMPLATE, {"PORT": str(self.port), "DOMAIN": DOMAIN}))
        make_accounts = [sys.executable, "-m", "bench.servers.chatrix_accounts"]
        run_tool(
            [*make_accounts, str(self._ini), DOMAIN, USER_PREFIX, str(self.accounts), PASSWORD], self.environment()
        )

    def command(self) -> list[str]:
        # What the console script `twistd` does, in this very Python and whether or not chatrix is installed in it.
        twistd = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
        return [sys.executable, "-c", twistd, "-n", "--pidfile=", "chatrix", "-c", str(self._ini)]

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
        return {**super().environment(), "PYTHONPATH": path}
