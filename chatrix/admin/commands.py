"""What the running server does when `chatrixctl` asks it over the control socket."""

import os
import resource
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chatrix.admin.control import Command
from chatrix.admin.errors import AdminError
from chatrix.config.problems import ConfigError
from chatrix.process.worker import Worker
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.jid import JID, InvalidJID


def commands(worker: Worker) -> Mapping[str, Command]:
    """The commands by name."""
    return {
        "status": _Status(worker).tell,
        "reload": _Reload(worker).do,
        "account changed": _AccountChanged(worker).act,
    }


class _Status:
    """`chatrixctl status`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._started = worker.reactor.seconds()

    async def tell(self) -> dict[str, Any]:
        """What runs, for how long, and how much there is of it."""
        server = self._worker.server
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "version": _version(),
            "process": os.getpid(),
            "running for": f"{self._worker.reactor.seconds() - self._started:.0f} s",
            "state": "starting or stopping" if server is None else "running",
            "hosts": list(self._worker.config.hosts),
            "modules": list(self._worker.config.chatrix.modules),
            "sessions": server.directory.session_count if server is not None else 0,
            "peak memory": f"{peak / 1024:.0f} MiB",
        }


class _Reload:
    """`chatrixctl reload`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def do(self) -> list[str]:
        """A line for each thing that is different now."""
        try:
            return self._worker.reload()
        except ConfigError as error:
            raise AdminError(f"the server goes on with the ini it has, as the new one is wrong:\n{error}") from None


class _AccountChanged:
    """`chatrixctl user` has changed the database behind the server's back."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def act(self, account: str, change: str) -> int:
        """Close the account's sessions, as whoever is in them may not be who holds it now; returns how many."""
        server = self._worker.server
        if server is None:
            return 0
        try:
            jid = JID.parse(account).bare
        except InvalidJID as error:
            raise AdminError(f"not an account: {error}") from None
        connected = server.directory.account(jid)
        sessions = len(connected.sessions) if connected is not None else 0
        if change == "deleted":
            server.account_deleted(jid)
        elif change == "password":
            server.end_sessions(jid, StreamError("not-authorized", "the password was changed"))
        else:
            raise AdminError(f"no such change: {change}")
        return sessions


def _version() -> str:
    try:
        return version("chatrix")
    except PackageNotFoundError:
        return "not installed"
