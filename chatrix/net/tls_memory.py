"""The TLS layer over a transport that is not a socket, as those of tests: OpenSSL on memory BIOs.

What a peer may make us keep is one record: OpenSSL is fed whole records only.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from chatrix.net.flush import Flusher
from chatrix.net.tls_layer import RECORD, TLSLayer
from chatrix.net.transport import OPEN, FlushedTransport

CIPHERTEXT = RECORD + 2048
"""Ciphertext of one record at most (RFC 5246 section 6.2.3)."""

SLICE = 1 << 12
"""Bytes given to OpenSSL in one go: a memory BIO never shrinks, so the largest slice stays allocated for ever."""

OVERHEAD = 64
"""More than header, nonce, tag and padding of a record, so that one bio_read fetches it."""

HEADER = 5
CONTENT_TYPES = range(20, 25)


class MemoryTLSLayer(TLSLayer):
    """TLS that is given the bytes of the wire, and gives its own to the transport."""

    __slots__ = ("_held", "_paused", "_stalled")

    def __init__(self, protocol: Any, connection: SSL.Connection, flusher: Flusher | None) -> None:
        super().__init__(protocol, connection, flusher)
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
                # One record and no more: what follows the last of the handshake is application data.
                self.connection.bio_write(run)
                self._shake_hands()
            else:
                self._decrypt(run, records)
        if start < size and self._closing is OPEN:
            self._held = data[start:]

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
            problem = error.with_traceback(None)
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
        """Take up what was kept back, and send what was collected."""
        if self._stalled and not self._paused:
            self._stalled = False
            self.dataReceived(b"")
        super().flush()

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
        self._to_wire(wire)

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
            self._to_wire(wire)

    def _to_wire(self, wire: bytes) -> None:
        FlushedTransport._send(self, wire)


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
