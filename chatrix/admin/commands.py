"""What the running server does when `chatrixctl` asks it over the control socket."""

import os
import resource
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chatrix.admin.control import Command
from chatrix.admin.errors import AdminError
from chatrix.config.problems import ConfigError
from chatrix.modules.shared_roster import SharedRoster
from chatrix.process.worker import Worker
from chatrix.server.server import Server
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.jid import JID, InvalidJID


def commands(worker: Worker) -> Mapping[str, Command]:
    """The commands by name."""
    return {
        "status": _Status(worker).tell,
        "reload": _Reload(worker).do,
        "account changed": _AccountChanged(worker).act,
        "delete account": _AccountChanged(worker).delete,
        "groups changed": _GroupsChanged(worker).act,
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
        """Close the account's sessions, as whoever is in them may not be who holds it now; returns how many.

        A change of the tier closes none.
        """
        server = self._worker.server
        if server is None:
            return 0
        jid = _account(account)
        if change == "tier":
            await server.tiers.refresh(jid)
            return 0
        sessions = _sessions(server, jid)
        if change == "deleted":
            server.account_deleted(jid)
        elif change == "password":
            server.end_sessions(jid, StreamError("not-authorized", "the password was changed"))
        elif change == "disabled":
            server.end_sessions(jid, StreamError("not-authorized", "the account was disabled"))
        else:
            raise AdminError(f"no such change: {change}")
        return sessions

    async def delete(self, account: str) -> int:
        """Delete the account, and tell its contacts; returns how many sessions were closed."""
        server = self._worker.server
        if server is None:
            raise AdminError("the server is starting or stopping; try again")
        jid = _account(account)
        sessions = _sessions(server, jid)
        if not await server.delete_account(jid):
            raise AdminError(f"there is no account {jid}")
        return sessions


class _GroupsChanged:
    """`chatrixctl group` has changed the shared groups in the database."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def act(self) -> None:
        """Tell everybody whom it concerns."""
        server = self._worker.server
        module = server.module(SharedRoster) if server is not None else None
        if module is not None:
            await module.refresh()


def _account(text: str) -> JID:
    try:
        return JID.parse(text).bare
    except InvalidJID as error:
        raise AdminError(f"not an account: {error}") from None


def _sessions(server: Server, jid: JID) -> int:
    connected = server.directory.account(jid)
    return len(connected.sessions) if connected is not None else 0


def _version() -> str:
    try:
        return version("chatrix")
    except PackageNotFoundError:
        return "not installed"
