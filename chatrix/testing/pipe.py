"""Two protocols joined without a socket: what one writes, the other receives in the reactor's next turn."""

from collections.abc import Iterable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IAddress)
class Here:
    """The address of both ends."""

    host = "127.0.0.1"
    port = 0


@implementer(ITransport, IConsumer, IPushProducer)
class PipeEnd(StringTransport):
    """One end; `protocol` sits on it. Of Twisted's transport for tests only the shape is left."""

    def __init__(self, protocol: IProtocol, reactor: IReactorTime) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.protocol = protocol
        self.reactor = reactor
        self.other: PipeEnd
        self.connected = True
        self.disconnecting = False
        self._incoming: list[bytes] = []
        self._closing: Failure | None = None
        self._paused = False
        self._scheduled = False
        self._producer: Any = None

    # ITransport

    def write(self, data: bytes) -> None:
        """Let the other end have it."""
        if self.connected and not self.disconnecting and data:
            self.other._incoming.append(bytes(data))
            self.other._schedule()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Let the other end have all of it."""
        self.write(b"".join(data))

    def loseConnection(self, _: object = None) -> None:
        """Close both ends, once what was written has been received."""
        if not self.disconnecting:
            self.disconnecting = True
            self._end(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        """Close both ends at once."""
        self.disconnecting = True
        self.other._incoming.clear()
        self._end(Failure(ConnectionAborted()))

    def getPeer(self) -> IAddress:
        """The same for both ends."""
        return Here()

    getHost = getPeer

    # IPushProducer, IConsumer

    def pauseProducing(self) -> None:
        """Keep what comes."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Hand over what was kept, and what comes."""
        self._paused = False
        self._schedule()

    def stopProducing(self) -> None:
        """The consumer has gone."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A pipe is never full: a pull producer is asked until it has nothing more."""
        self._producer = producer
        if not streaming:
            while self._producer is producer:
                producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._producer = None

    # TLS for the client's side

    def start_tls(self, options: IOpenSSLClientConnectionCreator) -> None:
        """Put Twisted's TLS between this end and its protocol, as the client."""
        self.protocol = TLSMemoryBIOProtocol(TLSMemoryBIOFactory(options, True, Factory()), self.protocol)
        self.protocol.makeConnection(self)

    def _end(self, reason: Failure) -> None:
        for end, why in ((self.other, Failure(ConnectionDone())), (self, reason)):
            if end._closing is None:
                end._closing = why
                end._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self.connected:
            self._scheduled = True
            self.reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._incoming and not self._paused and not self.disconnecting:
            data = b"".join(self._incoming)
            self._incoming.clear()
            self.protocol.dataReceived(data)
        if self._closing is not None and self.connected and (self.disconnecting or not self._incoming):
            self.connected = False
            self.protocol.connectionLost(self._closing)


def join(client: IProtocol, server: IProtocol, reactor: IReactorTime) -> PipeEnd:
    """Connect two protocols; return the client's end."""
    near, far = PipeEnd(client, reactor), PipeEnd(server, reactor)
    near.other, far.other = far, near
    server.makeConnection(far)
    client.makeConnection(near)
    return near
