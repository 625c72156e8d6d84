"""`twistd chatrix -c etc/chatrix.ini`: the options of the command, and the service that it runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet import reactor as _reactor
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from chatrix.admin.commands import commands
from chatrix.admin.control import ControlSocket
from chatrix.admin.errors import AdminError
from chatrix.config.problems import ConfigError
from chatrix.process.worker import CannotStart, Worker, load_config
from chatrix.store.database import DatabaseError

log = Logger(namespace="chatrix")
reactor: Any = _reactor

FAILED = 1


class Options(usage.Options):
    """The command line of `twistd chatrix`."""

    synopsis = "[options]"
    optParameters = [["config", "c", "etc/chatrix.ini", "The ini that says what to serve."]]


class Chatrix(MultiService):
    """The server with its control socket; a failure to start ends the process with status 1."""

    def __init__(self, worker: Worker, control: ControlSocket) -> None:
        super().__init__()
        self.worker = worker
        self.control = control
        worker.setServiceParent(self)
        control.setServiceParent(self)

    def startService(self) -> None:
        """Take the state folder, so that no other server uses it, then start the worker."""
        try:
            self.control.startService()
        except AdminError as error:
            self._give_up(str(error))
            return
        self.running = 1
        self.worker.ready.addCallbacks(self._ready, self._failed)
        self.worker.startService()
        signal.signal(signal.SIGHUP, self._hang_up)

    def stopService(self) -> Any:
        """Stop in the opposite order."""
        if not self.running:
            return None
        return super().stopService()

    def _ready(self, _: None) -> None:
        log.info("chatrix is ready: {hosts}", hosts=" ".join(self.worker.config.hosts))

    def _failed(self, failure: Failure) -> None:
        if failure.check(CannotStart, ConfigError, DatabaseError, ValueError, OSError):
            self._give_up(failure.getErrorMessage())
        else:
            log.failure("the server failed to start", failure)
            self._give_up("the server failed to start; the log says why")

    def _give_up(self, reason: str) -> None:
        log.critical("{reason}", reason=reason)
        # By now twistd has put the log in the place of sys.stderr.
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"chatrix: {reason}\n")
        # twistd has no way to stop with a status; without one, systemd would take the failure for a success.
        reactor.addSystemEventTrigger("after", "shutdown", _exit)
        reactor.callWhenRunning(reactor.stop)

    def _hang_up(self, _signal: int, _frame: object) -> None:
        reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        try:
            lines = self.worker.reload()
        except ConfigError as error:
            log.error("the ini stays as it was: {error}", error=error)
            return
        for line in lines:
            log.info("reload: {line}", line=line)


def _exit() -> None:
    for stream in (sys.stdout, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(FAILED)


def makeService(options: Options) -> IService:
    """The service of this command line.

    Raises:
        SystemExit: the ini is wrong; all its problems, with file and line. (UsageError would become a traceback.)
    """
    try:
        config = load_config(Path(options["config"]))
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    worker = Worker(config, reactor)
    control = ControlSocket(config.chatrix.control_socket, commands(worker), reactor)
    return Chatrix(worker, control)
