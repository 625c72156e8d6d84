"""TLS over a socket: OpenSSL reads and writes it, the reactor watches it."""

from __future__ import annotations

import sys
from contextlib import suppress
from fcntl import ioctl
from socket import SHUT_WR
from termios import FIONREAD
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from chatrix.net.flush import Flusher
from chatrix.net.tls_layer import RECORD, TLSLayer
from chatrix.net.transport import CLOSED, OPEN, Drain

READ_PER_TICK = 1 << 16
"""Bytes taken from one connection before the others have their turn."""

RECORD_OVERHEAD = 22
"""Bytes of a TLS 1.3 record beside the plaintext; no record of ours has less."""

END_OF_FILE = -1
"""What pyOpenSSL has in place of an errno when the peer closed without a close_notify."""


@implementer(IReadWriteDescriptor)
class SocketTLSLayer(TLSLayer):
    """TLS with OpenSSL reading and writing the socket itself, watched by the reactor in place of the transport.

    Against memory BIOs (pyOpenSSL 26.4, OpenSSL 4.0) an idle connection has 21.5 KiB of OpenSSL instead of 24.0, and
    after 8 KB each way still 21.5 instead of 32.5, as a memory BIO never shrinks; a message costs 1 to 3 us less.
    """

    __slots__ = ("_paused", "_reactor", "_rest", "_watched", "fileno")

    def __init__(self, protocol: Any, connection: SSL.Connection, flusher: Flusher | None) -> None:
        super().__init__(protocol, connection, flusher)
        self._reactor = self.transport.reactor
        self.fileno = self.transport.fileno
        self._paused = False
        self._watched = False
        self._rest: bytes | memoryview = b""

    def begin(self) -> None:
        """Take over the socket, once the transport has sent what it was given before."""
        self.transport.stopReading()
        if self._socket is not None:
            self._take_over()
        else:
            self._blocked = True
            self.transport.registerProducer(Drain(self), False)
            self.transport.startWriting()

    def _drained(self) -> None:
        self._blocked = False
        self.transport.unregisterProducer()
        if self._closing is OPEN:
            self._take_over()

    def _take_over(self) -> None:
        self._watched = True
        self._socket = self.transport.getHandle()
        if not self._paused:
            self._reactor.addReader(self)
        self._shake_hands()

    def _leave(self) -> None:
        """Give the socket back to the transport, for it to be closed."""
        if self._watched:
            self._watched = False
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)

    # -- the reactor

    def logPrefix(self) -> str:
        """Twisted: what lines logged from here begin with."""
        return "TLS"

    def doRead(self) -> Any:
        """Twisted: there is something to read. Returns the exception that ends the connection, if one does."""
        if self._closing is CLOSED:
            return self._discard()
        if not self.handshake_complete:
            self._shake_hands()
            return None
        recv = self.connection.recv
        pieces = []
        problem: SSL.Error | None = None
        try:
            pieces.append(recv(RECORD))
            # To ask the kernel is half the price of the WantReadError that would tell that there is no more.
            waiting = int.from_bytes(ioctl(self.fileno(), FIONREAD, b"1234"), sys.byteorder)
            waiting = min(waiting, READ_PER_TICK)
            while waiting > 0:
                data = recv(RECORD)
                pieces.append(data)
                waiting -= len(data) + RECORD_OVERHEAD
        except SSL.WantReadError:
            pass
        except SSL.WantWriteError:
            self._wait_to_write()
        except SSL.Error as error:
            # Its traceback would keep this frame, and the connection with it, until a garbage collection.
            problem = error.with_traceback(None)
        if pieces and self._closing is OPEN:
            self.protocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if problem is None or self._closing is CLOSED:
            return None
        if isinstance(problem, SSL.ZeroReturnError):
            # OpenSSL reads no more, so the end of the file that follows would be readable for ever.
            self._reactor.removeReader(self)
            self._peer_closed()
            return None
        if isinstance(problem, SSL.SysCallError):
            return CONNECTION_DONE if problem.args[0] == END_OF_FILE else CONNECTION_LOST
        self._break_off(problem)
        return None

    def doWrite(self) -> Any:
        """Twisted: the socket takes bytes again."""
        self._reactor.removeWriter(self)
        self._blocked = False
        if not self.handshake_complete:
            self._shake_hands()
            return None
        if self._below:
            rest, self._rest = self._rest, b""
            self._below = 0
            self._send(rest)
        self.flush()
        return None

    def _discard(self) -> Exception | None:
        """We have closed our side: read what still comes, until the peer closes its."""
        try:
            data = self._socket.recv(READ_PER_TICK) if self._socket is not None else b""
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        return None if data else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: from the reactor, then the transport is told to close; or from the transport, which has."""
        if self._watched:
            self._leave()
            self.transport.connectionLost(reason)
        else:
            super().connectionLost(reason)

    # -- reading and writing

    def pauseProducing(self) -> None:
        """Stop reading from the peer."""
        self._paused = True
        if self._watched:
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """Read on."""
        self._paused = False
        if self._watched:
            self._reactor.addReader(self)

    def _send(self, data: bytes | memoryview) -> None:
        """Write records until the socket is full; what is left must then be offered again as it is."""
        send = self.connection.send
        try:
            while True:
                sent = send(data)
                if sent == len(data):
                    return
                data = memoryview(data)[sent:]
        except SSL.WantWriteError:
            self._rest = data
            self._below = len(data)
            self._wait_to_write()
        except SSL.Error as error:
            self._break_off(error)

    def _wait_to_write(self) -> None:
        self._blocked = True
        self._reactor.addWriter(self)

    # -- closing

    def abortConnection(self) -> None:
        """Close at once; what waits is dropped."""
        self._leave()
        super().abortConnection()

    def _close_our_side(self) -> None:
        if self._watched and self._socket is not None:
            self._reactor.removeWriter(self)
            with suppress(OSError):
                self._socket.shutdown(SHUT_WR)
            self._reactor.addReader(self)
            self._linger()
        else:
            self.transport.loseConnection()

    def _lingered(self) -> None:
        self._leave()
        super()._lingered()
