"""One process of the server: database, modules, doors and certificates, from start to stop.

Starts whole or not at all: whatever is wrong is found before the first port listens, or closes those that do.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from chatrix.config.load import Config, load
from chatrix.config.problems import ConfigError
from chatrix.net.c2s import C2S
from chatrix.net.certificates import Certificates
from chatrix.net.pulse import Pulse
from chatrix.server.account import server_secret
from chatrix.server.background import come_to_an_end
from chatrix.server.loading import load_modules, module_options, module_words
from chatrix.server.server import Server
from chatrix.store.database import DatabaseOutdated, open_database
from chatrix.store.migrate import migrate
from chatrix.xmpp.errors import StreamError

log = Logger(namespace="chatrix.worker")

BACKLOG = 1024
"""Connections that the kernel keeps until we accept them: with the 50 of Twisted, a wave makes others wait a second."""

FAREWELL = 3
"""Seconds that clients have to read that the server stops."""


class CannotStart(Exception):
    """The server cannot start; the message is for the admin."""


def load_config(path: Any) -> Config:
    """The ini, with the options of its modules typed.

    Raises:
        ConfigError: with all problems.
    """
    return load(path, module_options, module_words)


class Worker(Service):
    """The server in this process."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self.config = config
        self._started_with = config
        self.reactor = reactor
        self.certificates = Certificates(_sources(config))
        self.pulse = Pulse(reactor)
        self.server: Server | None = None
        self.ready: Deferred[None] = Deferred()
        "Fires when everything listens, or fails with `CannotStart`."
        self._database: Any = None
        self._ports: list[IListeningPort] = []
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin to start; `ready` tells the end."""
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.chainDeferred(self.ready)

    async def _start(self) -> None:
        try:
            await self._build()
        except BaseException:
            await self._tear_down()
            raise
        gc.collect()
        gc.freeze()

    async def _build(self) -> None:
        config = self.config
        fatal = [problem for problem in self.certificates.reload() if problem.fatal]
        if fatal:
            raise CannotStart("; ".join(str(problem) for problem in fatal))
        self._database = open_database(config.chatrix.database, str(config.chatrix.state), self.reactor)
        try:
            await self._database.open()
        except DatabaseOutdated as error:
            if not error.empty:
                # Changing what is there is for the admin to begin, once there is a backup.
                raise
            log.info("making the tables")
            await deferToThread(migrate, config.chatrix.database, str(config.chatrix.state))
            await self._database.open()
        secret = server_secret(config.chatrix.state / "secret")
        server = Server(config, self._database, secret, self.reactor)
        await server.tiers.load()
        load_modules(server, config)
        for module in server.modules.values():
            await module.start()
        self.server = server
        self.pulse.start()
        self.certificates.watch(self.reactor)
        for endpoints, direct in ((config.chatrix.c2s, False), (config.chatrix.c2s_tls, True)):
            for endpoint in endpoints:
                door = C2S(server, self.certificates, self.pulse, self.reactor, direct)
                await self._listen(endpoint, door, "clients, direct TLS" if direct else "clients, STARTTLS")

    async def _listen(self, endpoint: str, factory: Any, what: str) -> None:
        try:
            port = await serverFromString(self.reactor, _with_backlog(endpoint)).listen(factory)
        except Exception as error:
            raise CannotStart(f"cannot listen on {endpoint} ({what}): {error}") from error
        self._ports.append(port)
        log.info("listening on {endpoint}: {what}", endpoint=endpoint, what=what)

    def stopService(self) -> Deferred[Any]:
        """Say goodbye to all clients, let what runs come to its end, and close."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            # What is half started cannot be stopped; `ready` tells how it ended.
            await DeferredList([self._starting], consumeErrors=True)
        await self._tear_down()

    async def _tear_down(self) -> None:
        ports, self._ports = self._ports, []
        await DeferredList([Deferred.fromCoroutine(_closed(port)) for port in ports])
        server, self.server = self.server, None
        if server is not None:
            server.close_all(StreamError("system-shutdown"))
            for stream in tuple(self.pulse.streams):
                stream.close(StreamError("system-shutdown"))
            for _ in range(10 * FAREWELL):
                if not self.pulse.streams:
                    break
                await deferLater(self.reactor, 0.1)
            for stream in tuple(self.pulse.streams):
                stream.abort()
            await come_to_an_end(self.reactor, FAREWELL)
            for module in reversed(server.modules.values()):
                await module.stop()
        self.certificates.stop_watching()
        self.pulse.stop()
        if self._database is not None:
            await self._database.close()
            self._database = None

    def reload(self) -> list[str]:
        """Read the ini and the certificates again; the answer says what changed.

        Raises:
            ConfigError: the ini is wrong, or a new host has no certificate, and everything stays as it was.
        """
        config = load_config(self.config.path)
        changes = self.config.difference(config)
        # What the process was not started with waits for a restart, whichever reload brought it.
        waiting = [change for change in self._started_with.difference(config) if change.restart]
        lines = [*dict.fromkeys(str(change) for change in [*changes, *waiting])]
        server = self.server
        if server is not None:
            removed = [domain for domain in server.hosts if domain not in config.hosts]
            # Tried on others first: a file that is gone could not be read again.
            fatal = [problem for problem in Certificates(_sources(config)).reload() if problem.fatal]
            fatal = [problem for problem in fatal if problem.host not in server.hosts]
            if fatal:
                raise ConfigError(
                    [config.problem(f"host {problem.host}", "certificate", problem.text) for problem in fatal]
                )
            problems = self.certificates.reload(_sources(config))
            self.config = config
            server.configure(config)
            for domain in removed:
                server.close_host(domain)
            lines += [f"certificate of {problem}" for problem in problems]
        return lines or ["nothing changed"]


def _sources(config: Config) -> dict[str, Path]:
    """Where the certificate of each host is."""
    return {domain: host.certificate for domain, host in config.hosts.items()}


def _with_backlog(endpoint: str) -> str:
    """Ask for our backlog where the ini asks for none."""
    if "backlog=" in endpoint or not endpoint.startswith(("tcp:", "tcp6:")):
        return endpoint
    return f"{endpoint}:backlog={BACKLOG}"


async def _closed(port: IListeningPort) -> None:
    closing = port.stopListening()
    if closing is not None:
        await closing
