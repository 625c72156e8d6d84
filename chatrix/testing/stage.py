"""Where a transcript is performed: something that makes accounts and connections. `TCPStage` uses sockets."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS

from chatrix.testing.client import Client


class Stage(Protocol):
    """A server to be talked to."""

    clock: IReactorTime

    async def add_account(self, jid: str, password: str) -> None:
        """Make an account that nobody has used."""

    async def connect(self, client: Client, tls: bool = False) -> None:
        """Connect; with `tls` to a port that speaks TLS from the first byte. Else sets `client.encrypt`."""


class TCPStage:
    """A server on this machine, with real TLS; its certificate must be signed by `authority` and name the host."""

    def __init__(
        self,
        reactor: IReactorTCP,
        clock: IReactorTime,
        port: int,
        tls_port: int,
        authority: bytes,
        add_account: Callable[[str, str], Awaitable[None]],
        address: str = "127.0.0.1",
    ) -> None:
        self.clock = clock
        self._reactor = reactor
        self._address, self._port, self._tls_port = address, port, tls_port
        self._authority = Certificate.loadPEM(authority)
        self._add_account = add_account

    async def add_account(self, jid: str, password: str) -> None:
        """Make an account, in the way the server at hand has for it."""
        await self._add_account(jid, password)

    async def connect(self, client: Client, tls: bool = False) -> None:
        """Open a socket. Raises: twisted.internet.error.ConnectError."""
        options = optionsForClientTLS(client.domain, trustRoot=self._authority)
        endpoint = TCP4ClientEndpoint(self._reactor, self._address, self._tls_port if tls else self._port)
        await endpoint.connect(Factory.forProtocol(lambda: client))
        client.encrypt = partial(client.transport.startTLS, options)  # type: ignore[union-attr]
        if tls:
            client.start_tls()
