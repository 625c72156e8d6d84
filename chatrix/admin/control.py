"""The control socket: where `chatrixctl` talks to the running server.

SECURITY: speaks to root and to the server's own user alone. The socket has mode 0600 from the moment it exists, and the
peer's uid is asked of the kernel (SO_PEERCRED). It trusts such a peer's intentions, not its bytes: one JSON object a
line, lines of bounded length, one command at a time, a bounded number of connections.

    {"command": "status", "arguments": {}}   ->   {"ok": true, "result": ...}  or  {"ok": false, "error": "..."}
"""

import contextlib
import fcntl
import inspect
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin

from chatrix.admin.errors import AdminError
from chatrix.server.background import in_background

Command = Callable[..., Awaitable[Any]]
"""Called with the arguments by name; its result must fit into JSON. Raises AdminError to refuse with a reason."""

LONGEST_LINE = 64 * 1024
CONNECTIONS = 16
SILENCE = 60
"""Seconds after which a peer that asks nothing is dropped."""

_CREDENTIALS = struct.Struct("iII")
log = Logger(namespace="chatrix.control")


class ControlSocket(Service):
    """Listens in `state` while the server runs; while it does, no second server can use the same folder."""

    def __init__(self, path: Path, commands: Mapping[str, Command], reactor: Any) -> None:
        self.path = path
        self._factory = _ControlFactory(commands, reactor)
        self._reactor = reactor
        self._port: IListeningPort | None = None
        self._lock = -1

    def startService(self) -> None:
        """Create the socket.

        Raises: AdminError when another server is there, or when what is there is no socket of ours.
        """
        prepare_state(self.path.parent)
        self._lock = _locked(self.path.with_suffix(".lock"))
        try:
            _clear(self.path)
            # chmod after bind would leave a moment in which anybody may connect.
            umask = os.umask(0o177)
            try:
                self._port = self._reactor.listenUNIX(str(self.path), self._factory, mode=0o600)
            except CannotListenError as error:
                raise AdminError(f"{self.path}: {error.socketError}") from None
            finally:
                os.umask(umask)
        except AdminError:
            self._unlock()
            raise
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Stop listening, remove the socket and drop whoever is connected."""
        Service.stopService(self)
        if self._port is None:
            return succeed(None)
        port, self._port = self._port, None
        stopped: Deferred[None] = Deferred.fromCoroutine(_stopped(port))
        for connection in list(self._factory.connections):
            connection.transport.abortConnection()

        return stopped.addCallback(lambda _: self._unlock())

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


def prepare_state(state: Path) -> None:
    """Create the folder of what the server writes, with mode 0700, when it is missing.

    Raises: AdminError when it cannot be, or when others may write into it and so swap our files for theirs.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = state.stat().st_mode
    except OSError as error:
        raise AdminError(f"{state}: {error.strerror}") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AdminError(f"{state}: others may write into this folder; mend it with: chmod go-w {state}")


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        # Whoever has cleared the folder away meanwhile must not keep the server from stopping.
        with contextlib.suppress(FileNotFoundError):
            await stopping


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process at the other end of a UNIX socket, as the kernel saw it connect."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return int(uid)


def _locked(path: Path) -> int:
    """An open, locked file. The kernel lets go of the lock however the server ends, so it is never stale."""
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AdminError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise AdminError(f"another server is running with the state in {path.parent}") from None
    return lock


def _clear(path: Path) -> None:
    """Remove a socket that a server which ended badly has left, and nothing else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AdminError(f"{path} is there and is not a socket; remove it if it is not needed")
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(5)
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise AdminError(f"{path}: {error.strerror or error}") from None
    raise AdminError(f"another server answers on {path}")


class _ControlProtocol(LineOnlyReceiver, TimeoutMixin):
    """One connection of a `chatrixctl`."""

    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE
    factory: "_ControlFactory"
    transport: Any

    def __init__(self) -> None:
        self._busy = False

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:
        """Time by the reactor that the socket was given."""
        timer: IDelayedCall = self.factory.reactor.callLater(period, func)
        return timer

    def timeoutConnection(self) -> None:
        """Drop a peer that has gone silent."""
        self._leave()

    def connectionMade(self) -> None:
        """Look at who is there before anything is read."""
        uid = self.factory.uid_of(self.transport.getHandle())
        if uid not in (0, os.geteuid()):
            log.error("control socket: refused uid {uid}", uid=uid)
            self._refuse("only the server's own user and root may use this socket")
        elif len(self.factory.connections) >= CONNECTIONS:
            self._refuse("too many connections")
        else:
            self.factory.connections.add(self)
            self._give_up_after(SILENCE)

    def connectionLost(self, reason: Any = None) -> None:
        """Forget the connection; a command that runs is not interrupted."""
        self.factory.connections.discard(self)
        self._give_up_after(None)

    def lineReceived(self, line: bytes) -> None:
        """Start the command that the line asks for."""
        if self not in self.factory.connections:
            return  # refused, and perhaps still sending
        if self._busy:
            self._refuse("one command at a time")
            return
        self._busy = True
        self._give_up_after(None)
        in_background(self._answer(line), "answering on the control socket")

    def lineLengthExceeded(self, line: bytes) -> None:
        """Answer what no command of ours can be."""
        self._refuse(f"a command has at most {LONGEST_LINE} bytes")

    async def _answer(self, line: bytes) -> None:
        try:
            reply = {"ok": True, "result": await self._run(line)}
        except AdminError as error:
            reply = {"ok": False, "error": str(error)}
        except Exception:
            log.failure("a command of the control socket failed")
            reply = {"ok": False, "error": "the server failed to do it; its log says why"}
        if self in self.factory.connections:
            self._busy = False
            self._give_up_after(SILENCE)
            self._say(reply)

    async def _run(self, line: bytes) -> Any:
        try:
            request = json.loads(line)
            name, arguments = request["command"], request.get("arguments", {})
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            raise AdminError("this is not a command") from None
        command = self.factory.commands.get(name) if isinstance(name, str) else None
        if command is None or not isinstance(arguments, dict):
            raise AdminError(f"the server knows no command {name!r}" if command is None else "this is not a command")
        try:
            inspect.signature(command).bind(**arguments)
        except TypeError as error:
            raise AdminError(f"{name}: {error}") from None
        return await command(**arguments)

    def _say(self, reply: Mapping[str, Any]) -> None:
        self.transport.write(json.dumps(reply).encode() + b"\n")

    def _refuse(self, reason: str) -> None:
        self._say({"ok": False, "error": reason})
        self._leave()

    def _leave(self) -> None:
        self.factory.connections.discard(self)
        self._give_up_after(None)
        self.transport.loseConnection()

    def _give_up_after(self, seconds: float | None) -> None:
        TimeoutMixin.setTimeout(self, seconds)


class _ControlFactory(Factory):
    """What the connections share."""

    noisy = False

    def __init__(self, commands: Mapping[str, Command], reactor: Any) -> None:
        self.commands = commands
        self.reactor = reactor
        self.connections: set[_ControlProtocol] = set()
        self.uid_of = peer_uid

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A fresh connection."""
        protocol = _ControlProtocol()
        protocol.factory = self
        return protocol
