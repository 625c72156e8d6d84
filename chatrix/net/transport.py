"""A transport that sends once per reactor tick, for plain streams and under the TLS layer.

Twisted's transports pay two epoll_ctl calls and one more turn of the event loop for every write. Here everything
written to a connection within a tick is joined, sent straight to the socket at the end of the tick, and only what the
kernel does not take goes the long way round.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.failure import Failure
from zope.interface import implementer

from chatrix.net.flush import Flusher

ROUND = 1 << 16
"""Bytes handed to the socket in one go; a longer queue is worked off as the peer reads, so it is never held twice."""

ROUNDS_PER_TICK = 8
"""One reader with a fast line may take this many rounds before the other connections have their turn."""

OPEN, CLOSING, CLOSED = range(3)
"""Of our side: written to; waiting for the last bytes to leave; the transport was told to close."""

LINGER = 2.0
"""Seconds that a peer has to close its side after we closed ours. Closed at once, with something unread, the kernel
would reset the connection, and the peer might never see why it was closed."""

FULL = 1 << 16
"""With more bytes than this waiting, a registered producer is paused."""


@implementer(IPullProducer)
class Drain:
    """Tells a FlushedTransport that the transport below has sent everything it was left with.

    A pull producer is asked for more each time the buffer of the transport is empty: the one public way to learn of it.
    """

    __slots__ = ("_armed", "_layer")

    def __init__(self, layer: FlushedTransport) -> None:
        self._layer = layer
        self._armed = False

    def resumeProducing(self) -> None:
        """Twisted: the buffer is empty (or, the first time, the producer was just registered)."""
        if self._armed:
            self._layer._drained()
        self._armed = True

    def stopProducing(self) -> None:
        """Twisted: the connection is lost, which the layer is told otherwise."""


@implementer(ITCPTransport, IConsumer, IPushProducer, IProtocol)
class FlushedTransport:
    """Sits between a Twisted transport and a protocol and sends once per tick. Made by `flush_writes`.

    Everything sent on the connection must go through it from then on. Reads pass through unchanged.
    """

    __slots__ = (
        "__weakref__",
        "_below",
        "_blocked",
        "_closing",
        "_flusher",
        "_lingering",
        "_pending",
        "_producer",
        "_producer_paused",
        "_producer_streams",
        "_socket",
        "_waiting",
        "connected",
        "protocol",
        "transport",
    )

    _flusher: Flusher
    protocol: Any
    """The protocol above; None once the connection is lost."""
    transport: Any
    """The Twisted transport below."""
    connected: bool
    """False from connectionLost on."""

    def __init__(self, protocol: Any, flusher: Flusher | None = None) -> None:
        transport = protocol.transport
        self.connected = True
        self._below = 0
        self._blocked = False
        self._closing = OPEN
        self._pending: list[bytes | memoryview] = []
        self._waiting = 0
        self._producer: Any = None
        self._producer_paused = self._producer_streams = False
        self._socket: socket.socket | None = None
        self._lingering: IDelayedCall | None = None
        if isinstance(transport, FlushedTransport):
            flusher = transport._flusher
            self._socket = transport._release()
            transport = transport.transport
        self._flusher = flusher or Flusher.of(_reactor_of(transport))
        self.protocol = protocol
        self.transport = transport
        transport.protocol = self
        protocol.transport = self

    def _release(self) -> socket.socket | None:
        """Give up this place to another layer; what was written goes out first. Returns the socket if drained."""
        self.flush()
        self.connected = False
        self.protocol = None
        if not self._blocked and not self._pending:
            return self._socket
        if self._blocked:
            self.transport.unregisterProducer()
        self.transport.write(b"".join(self._pending))
        self._pending.clear()
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.protocol!r}>"

    # -- writing

    @property
    def buffered(self) -> int:
        """Bytes written but not yet taken by the kernel: what a slow reader makes us keep."""
        return self._waiting + self._below

    def write(self, data: bytes) -> None:
        """Send this at the end of the tick; dropped when the connection is closing or lost."""
        if (self._closing and self._producer is None) or not data:
            return
        pending = self._pending
        if not pending:
            self._flusher.schedule(self)
        pending.append(data)
        self._waiting += len(data)
        if self._producer is not None:
            self._throttle()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send these at the end of the tick."""
        self.write(b"".join(iovec))

    def flush(self) -> None:
        """Send what was collected, now. Called by the Flusher; may be called by whoever cannot wait for the tick."""
        rounds = ROUNDS_PER_TICK
        while self._pending and not self._blocked and self.connected:
            if not rounds:
                self._flusher.schedule(self)
                return
            rounds -= 1
            self._send(self._take())
        if self._blocked or not self.connected:
            return
        if self._producer is not None:
            self._supply()
        elif self._closing is CLOSING and not self._pending:
            self._closing = CLOSED
            self._finish()

    def _take(self) -> bytes | memoryview:
        """At most ROUND bytes off the front of the queue."""
        pending = self._pending
        if self._waiting <= ROUND:
            self._waiting = 0
            data = pending[0] if len(pending) == 1 else b"".join(pending)
            pending.clear()
            return data
        count = size = 0
        while size < ROUND:
            size += len(pending[count])
            count += 1
        pieces = pending[:count]
        excess = size - ROUND
        if excess:
            last = memoryview(pieces[-1])
            pieces[-1] = last[:-excess]
            count -= 1
            pending[count] = last[-excess:]
        del pending[:count]
        self._waiting -= ROUND
        return b"".join(pieces)

    def _send(self, data: bytes | memoryview) -> None:
        """Hand bytes of the wire to the kernel; what it refuses stays with the transport until that has drained."""
        sent = 0
        if self._blocked:
            self._below += len(data)
            self.transport.write(bytes(data))
            return
        if self._socket is not None:
            # On an error (full, or broken) the transport finds out by itself and does what is to be done.
            with suppress(OSError):
                sent = self._socket.send(data)
            if sent == len(data):
                return
        self.transport.write(bytes(data[sent:]))
        # Until the transport has drained for the first time it may hold bytes older than this layer: no way round it.
        if isinstance(self.transport, TCPConnection) and self.transport.connected:
            self._below = len(data) - sent
            self._blocked = True
            self.transport.registerProducer(Drain(self), False)

    def _drained(self) -> None:
        self._below = 0
        self._blocked = False
        self.transport.unregisterProducer()
        self._socket = self.transport.getHandle()
        self.flush()

    # -- closing

    def loseConnection(self) -> None:
        """Send everything written so far (and what a registered producer still writes), then close."""
        if self._closing or not self.connected:
            return
        self._closing = CLOSING
        self.flush()

    def abortConnection(self) -> None:
        """Close at once; what waits is dropped."""
        self._closing = CLOSED
        self._drop()
        if self.connected:
            self.transport.abortConnection()

    def _finish(self) -> None:
        """Everything is sent and the connection is to be closed."""
        self._close_our_side()

    def _close_our_side(self) -> None:
        """Close for writing now, and for reading when the peer has closed, too."""
        if isinstance(self.transport, TCPConnection):
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()
            self._linger()
        else:
            self.transport.loseConnection()

    def _linger(self) -> None:
        if self._lingering is None:
            self._lingering = self._flusher.reactor.callLater(LINGER, self._lingered)

    def _lingered(self) -> None:
        """The peer had its time."""
        self._lingering = None
        if self.buffered:
            # A transport told to lose its connection waits until the socket takes bytes: never, perhaps.
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def _drop(self) -> None:
        """Forget what waits."""
        self._pending.clear()
        self._waiting = 0
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.stopProducing()

    # -- what Twisted tells us

    def makeConnection(self, transport: ITransport) -> None:
        """IProtocol: never called, as this takes over a protocol that is connected already."""

    def connectionMade(self) -> None:
        """IProtocol: never called, see makeConnection."""

    def dataReceived(self, data: bytes) -> None:
        """Give the bytes of the wire to the protocol."""
        if not self._closing:
            self.protocol.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """The connection below is gone: tell the protocol, once, and keep nothing alive."""
        if not self.connected:
            return
        self.connected = False
        self._closing = CLOSED
        self._below = 0
        self._socket = None
        self._drop()
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(reason)

    # -- a producer above, and being one for the protocol

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """IConsumer: pause a streaming producer while more than FULL bytes wait, ask a pull producer when none do.

        Raises: RuntimeError when there is a producer already.
        """
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._producer_streams = streaming
        self._producer_paused = not streaming
        self._flusher.schedule(self)

    def unregisterProducer(self) -> None:
        """IConsumer: the producer has nothing more to write; a loseConnection that waited for it goes on."""
        self._producer = None
        if self._closing is CLOSING:
            self.flush()

    def _throttle(self) -> None:
        if self._producer_streams and not self._producer_paused and self.buffered > FULL:
            self._producer_paused = True
            self._producer.pauseProducing()

    def _supply(self) -> None:
        if self._producer_paused:
            self._producer_paused = not self._producer_streams
            self._producer.resumeProducing()

    def pauseProducing(self) -> None:
        """Stop reading from the peer."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        if not self._closing:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The consumer of what the peer sends has gone: close."""
        self.loseConnection()

    # -- the socket below

    def loseWriteConnection(self) -> None:
        """ITCPTransport: how every end of ours begins; the other side is closed when the peer, or its time, is done."""
        self.loseConnection()

    def getTcpNoDelay(self) -> bool:
        """ITCPTransport: if small segments are sent at once."""
        return bool(self.transport.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """ITCPTransport: send small segments at once."""
        self.transport.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """ITCPTransport: if the kernel looks whether the peer is there."""
        return bool(self.transport.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """ITCPTransport: let the kernel look whether the peer is there."""
        self.transport.setTcpKeepAlive(enabled)

    # -- addresses

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The other end."""
        return cast(IPv4Address, self.transport.getPeer())

    def getHost(self) -> IPv4Address | IPv6Address:
        """Our end."""
        return cast(IPv4Address, self.transport.getHost())


def flush_writes(protocol: Any, flusher: Flusher | None = None) -> FlushedTransport:
    """Put a FlushedTransport between a connected protocol and its transport.

    `flusher` is needed only for a transport without a reactor, as those of tests.
    """
    return FlushedTransport(protocol, flusher)


def _reactor_of(transport: Any) -> IReactorTime:
    found = getattr(transport, "reactor", None)
    if found is None:
        from twisted.internet import reactor as found
    return cast(IReactorTime, found)
