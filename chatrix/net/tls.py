"""The TLS layer between a Twisted transport and a protocol, over OpenSSL memory BIOs (RFC 6120 section 5, XEP-0368).

Security: faces strangers from the first byte. OpenSSL is fed whole records only, at most SLICE bytes at a time; what a
peer may make us keep is one record. The time a handshake may take is limited by whoever starts it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatrix.net.flush import CLOSED, OPEN, FlushedTransport, Flusher

RECORD = 1 << 14
"""Plaintext of one record at most (RFC 8446 section 5.1)."""

CIPHERTEXT = RECORD + 2048
"""Ciphertext of one record at most (RFC 5246 section 6.2.3)."""

SLICE = 1 << 12
"""Bytes given to OpenSSL in one go: a memory BIO never shrinks, so the largest slice stays allocated for ever."""

OVERHEAD = 64
"""More than header, nonce, tag and padding of a record, so that one bio_read fetches it."""

HEADER = 5
CONTENT_TYPES = range(20, 25)

log = Logger()


@implementer(ITransport, IConsumer, IPushProducer, IProtocol)
class TLSLayer(FlushedTransport):
    """One TLS connection; `protocol.transport` of the protocol above. Made by `start_tls`.

    Calls `protocol.tls_started()`, if there is one, when the handshake is complete.
    """

    __slots__ = ("_held", "_paused", "_stalled", "connection", "handshake_complete", "problem")

    connection: SSL.Connection
    """For export_keying_material, get_servername, ...; gone (AttributeError) after connectionLost."""
    handshake_complete: bool
    """Nothing is sent and nothing is received before."""
    problem: Exception | None
    """What TLS broke on, if it did: for the log, never for the peer."""

    def __init__(self, protocol: Any, connection: SSL.Connection, flusher: Flusher | None) -> None:
        super().__init__(protocol, flusher)
        self.connection = connection
        self.handshake_complete = False
        self.problem = None
        self._held = b""
        self._paused = self._stalled = False

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the wire. Decrypts the whole records among them and keeps the rest."""
        if self._held:
            data = self._held + data
            self._held = b""
        size = len(data)
        start = 0
        while size - start >= HEADER and self._closing is OPEN:
            if self._paused:
                self._stalled = True
                break
            end, records = _run(data, start, SLICE if self.handshake_complete else 0)
            if not records:
                break
            run = data if end - start == size else data[start:end]
            start = end
            if not self.handshake_complete:
                self._shake_hands(run)
            else:
                self._decrypt(run, records)
        if start < size and self._closing is OPEN:
            self._held = data[start:]

    def _shake_hands(self, record: bytes = b"") -> None:
        """Feed one record of the handshake (never more: what follows it may be application data)."""
        try:
            if record:
                self.connection.bio_write(record)
            self.connection.do_handshake()
        except SSL.WantReadError:
            self._send_waiting()
        except SSL.Error as error:
            self._break_off(error)
        else:
            self._send_waiting()
            self.handshake_complete = True
            tls_started = getattr(self.protocol, "tls_started", None)
            if tls_started is not None:
                tls_started()
            self.flush()

    def _decrypt(self, run: bytes, records: int) -> None:
        """Feed whole records, and give what was in them to the protocol in one piece.

        A record gives at most one SSL_read its data, so there is no need to read on until OpenSSL wants more.
        """
        connection = self.connection
        pieces = []
        problem = None
        try:
            if len(run) <= SLICE:
                connection.bio_write(run)
                for _ in range(records):
                    pieces.append(connection.recv(len(run)))  # noqa: PERF401 (the last may raise: close_notify)
            else:
                pieces.append(self._decrypt_long(run))
        except SSL.WantReadError:
            # A record without data: a key update, a session ticket, an alert that may be ignored.
            self._send_waiting()
        except SSL.Error as error:
            problem = error
        if pieces:
            self.protocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if problem is not None and self._closing is OPEN:
            if isinstance(problem, SSL.ZeroReturnError):
                self._peer_closed()
            else:
                self._break_off(problem)

    def _decrypt_long(self, record: bytes) -> bytes:
        """Feed one record in slices; all but the last make OpenSSL want more."""
        connection = self.connection
        for start in range(0, len(record), SLICE):
            connection.bio_write(record[start : start + SLICE])
            try:
                return connection.recv(RECORD)
            except SSL.WantReadError:
                pass
        raise SSL.WantReadError()

    def pauseProducing(self) -> None:
        """Stop reading, and keep back what was read but not decrypted."""
        self._paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """Read on; what was kept back is given at the end of the tick, not from within this call."""
        self._paused = False
        super().resumeProducing()
        if self._stalled:
            self._flusher.schedule(self)

    # -- writing

    def flush(self) -> None:
        """Encrypt and send what was collected, once there is a key to encrypt it with."""
        if self._stalled and not self._paused:
            self._stalled = False
            self.dataReceived(b"")
        if self.handshake_complete:
            super().flush()
        elif self._closing is not OPEN and self.connected:
            # There is no key, and no peer to say goodbye to.
            self._closing = CLOSED
            self._drop()
            self.transport.loseConnection()

    def _send(self, data: bytes | memoryview) -> None:
        """Encrypt, with one SSL_write and one bio_read for what fits a slice."""
        connection = self.connection
        size = len(data)
        try:
            if size <= SLICE:
                connection.send(data)
                wire = connection.bio_read(size + OVERHEAD)
                if len(wire) == size + OVERHEAD:
                    wire += self._waiting_wire()
            else:
                pieces = []
                for start in range(0, size, SLICE):
                    connection.send(data[start : start + SLICE])
                    pieces.append(connection.bio_read(SLICE + OVERHEAD))
                pieces.append(self._waiting_wire())
                wire = b"".join(pieces)
        except SSL.Error as error:
            self._break_off(error)
            return
        super()._send(wire)

    def _waiting_wire(self) -> bytes:
        """Everything OpenSSL has for the peer."""
        wire = b""
        try:
            while True:
                wire += self.connection.bio_read(RECORD)
        except SSL.WantReadError:
            return wire

    def _send_waiting(self) -> None:
        """Send what OpenSSL has to say by itself: handshake, alerts, key updates."""
        wire = self._waiting_wire()
        if wire:
            super()._send(wire)

    # -- closing

    def _finish(self) -> None:
        """Say close_notify, and do not wait for the peer's: the stream above has ended, and it may be deaf."""
        with suppress(SSL.Error):
            self.connection.shutdown()
        self._send_waiting()
        self.transport.loseConnection()

    def _peer_closed(self) -> None:
        """The peer said close_notify: nothing more will come, what waits may still go."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.stopProducing()
        self.loseConnection()

    def _break_off(self, error: SSL.Error) -> None:
        """TLS cannot go on: send the alert, if OpenSSL has one, and close."""
        self.problem = error
        log.debug("TLS with {peer} broke off: {error!r}", peer=self.getPeer(), error=error)
        self._closing = CLOSED
        self._drop()
        self._send_waiting()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the connection is gone. Without a close_notify, too: the stream knows if its end tag came."""
        if not self.connected:
            return
        super().connectionLost(reason)
        self._held = b""
        # Some 20 KiB that must not wait for a garbage collection.
        del self.connection


def _run(data: bytes, start: int, limit: int) -> tuple[int, int]:
    """Where a run of whole records from `start` ends, and how many they are: as many as `limit` bytes hold, or one.

    What cannot be a record is a run of its own, for OpenSSL to refuse.
    """
    size = len(data)
    end = start
    records = 0
    while size - end >= HEADER:
        length = data[end + 3] << 8 | data[end + 4]
        if data[end] not in CONTENT_TYPES or length > CIPHERTEXT:
            return (size, 1) if not records else (end, records)
        after = end + HEADER + length
        if after > size or (records and after - start > limit):
            break
        end = after
        records += 1
    return end, records


def start_tls(
    protocol: Any,
    context: SSL.Context,
    *,
    client: bool = False,
    server_name: str = "",
    flusher: Flusher | None = None,
) -> TLSLayer:
    """Begin TLS on the connection of this protocol: the layer becomes `protocol.transport`.

    What was written before goes out first, in the clear. What the protocol has read before it must drop itself: nothing
    that came in the clear may be taken for something that came under TLS (CVE-2011-0411).

    `server_name` (in ASCII) is for a client to name the host it wants; `flusher` for a transport without a reactor.
    """
    connection = SSL.Connection(context, None)
    layer = TLSLayer(protocol, connection, flusher)
    if client:
        connection.set_connect_state()
        if server_name:
            connection.set_tlsext_host_name(server_name.encode("ascii"))
        layer._shake_hands()
    else:
        connection.set_accept_state()
    return layer
