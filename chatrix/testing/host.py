"""A whole chatrix in this process, without a socket: the worker that `twistd chatrix` runs, with pipes for ports."""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IConnector, IListeningPort, IReactorTCP, IReactorTime
from twisted.internet.ssl import Certificate, optionsForClientTLS
from zope.interface import implementer

from chatrix.process.worker import Worker, load_config
from chatrix.store.migrate import migrate
from chatrix.testing.accounts import add_accounts
from chatrix.testing.client import Client
from chatrix.testing.pipe import Here, join

MODULES = (
    "blocking forgery stanza_id disco roster presence subscription ping version time last offline vcard private caps "
    "contact commands announcements admin shared_roster"
)
"""What the transcripts need, as in etc/chatrix.ini."""

PORT, TLS_PORT = 5222, 5223

_INI = """
[chatrix]
state = .
modules = {modules}
database = sqlite:chatrix.sqlite
c2s = tcp:{port}
c2s tls = tcp:{tls_port}
{options}

[host {domain}]
certificate = host.pem
admins = admin@{domain}
{sections}
"""


@implementer(IReactorTCP)
class SocketlessReactor:
    """Somebody else's reactor, with ports that only `MemoryHost.connect` can reach."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.factories: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Remember who serves the port."""
        self.factories[port] = factory
        factory.doStart()
        return _Port(lambda: self.factories.pop(port).doStop())

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """Connect for real: to a database, say."""
        connector: IConnector = self._reactor.connectTCP(host, port, factory, timeout, bindAddress)
        return connector


@implementer(IListeningPort)
class _Port:
    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close

    def startListening(self) -> None:
        """It listens from the beginning."""

    def stopListening(self) -> None:
        """Forget who serves the port."""
        self._close()

    def getHost(self) -> Here:
        """An address, as good as any."""
        return Here()


class MemoryHost:
    """A stage for transcripts (see `chatrix.testing.stage`), and a server for any other test.

    `pem` is a certificate for `domain` with its key, `authority` what signed it; `folder` is made and keeps the state.
    `options` are lines for [chatrix], `sections` is what follows the host's section.
    """

    def __init__(
        self,
        domain: str,
        pem: bytes,
        authority: bytes,
        folder: Path,
        reactor: Any,
        *,
        modules: str = MODULES,
        options: str = "",
        sections: str = "",
    ) -> None:
        self.clock: IReactorTime = reactor
        self._reactor = SocketlessReactor(reactor)
        self._authority = Certificate.loadPEM(authority)
        folder.mkdir(parents=True)
        (folder / "host.pem").touch(mode=0o600)
        (folder / "host.pem").write_bytes(pem)
        self.ini = folder / "chatrix.ini"
        self.ini.write_text(
            _INI.format(
                domain=domain, modules=modules, options=options, sections=sections, port=PORT, tls_port=TLS_PORT
            )
        )
        self.worker = Worker(load_config(self.ini), self._reactor)

    async def start(self) -> None:
        """Start the worker and wait until it listens. Raises: chatrix.process.worker.CannotStart."""
        chatrix = self.worker.config.chatrix
        migrate(chatrix.database, str(chatrix.state))
        self.worker.startService()
        await self.worker.ready
        # The worker freezes what there is for a server that runs for months.
        gc.unfreeze()

    async def stop(self) -> None:
        """Stop the worker."""
        await self.worker.stopService()

    async def add_account(self, jid: str, password: str) -> None:
        """Make an account."""
        chatrix = self.worker.config.chatrix
        await add_accounts(chatrix.database, chatrix.state, [(jid, password)], self._reactor)

    async def connect(self, client: Client, tls: bool = False) -> None:
        """Connect by a pipe."""
        options = optionsForClientTLS(client.domain, trustRoot=self._authority)
        server = self._reactor.factories[TLS_PORT if tls else PORT].buildProtocol(Here())
        near = join(client, server, self.clock)
        client.encrypt = partial(near.start_tls, options)
        if tls:
            client.start_tls()
