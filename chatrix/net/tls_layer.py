"""What TLS has in common over a socket and over any other transport: handshake, when to send, how to close."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.python.failure import Failure

from chatrix.net.flush import Flusher
from chatrix.net.transport import CLOSED, OPEN, FlushedTransport

RECORD = 1 << 14
"""Plaintext of one record at most (RFC 8446 section 5.1)."""


class TLSLayer(FlushedTransport):
    """One TLS connection; `protocol.transport` of the protocol above. Made by `chatrix.net.tls.start_tls`.

    Calls `protocol.tls_started()`, if there is one, when the handshake is complete.
    """

    __slots__ = ("connection", "handshake_complete", "problem")

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

    def begin(self) -> None:
        """Start the handshake. Called by `start_tls`."""
        self._shake_hands()

    def _shake_hands(self) -> None:
        """Do the next step of the handshake, if all it needs has come."""
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            self._send_waiting()
        except SSL.WantWriteError:
            self._wait_to_write()
        except SSL.Error as error:
            self._break_off(error)
        else:
            self._send_waiting()
            self.handshake_complete = True
            tls_started = getattr(self.protocol, "tls_started", None)
            if tls_started is not None:
                tls_started()
            self.flush()

    def flush(self) -> None:
        """Encrypt and send what was collected, once there is a key to encrypt it with."""
        if self.handshake_complete:
            super().flush()
        elif self._closing is not OPEN and self.connected:
            # There is no key, and no peer to say goodbye to.
            self._closing = CLOSED
            self._drop()
            self._close_our_side()

    def _send_waiting(self) -> None:
        """Send what OpenSSL has to say by itself: handshake, alerts, key updates."""

    def _wait_to_write(self) -> None:
        """OpenSSL cannot write: try again when it can."""
        raise NotImplementedError

    # -- closing

    def _finish(self) -> None:
        """Say close_notify, and do not wait for the peer's: the stream above has ended, and it may be deaf."""
        with suppress(SSL.Error):
            self.connection.shutdown()
        self._send_waiting()
        self._close_our_side()

    def _peer_closed(self) -> None:
        """The peer said close_notify: nothing more will come, what waits may still go."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.stopProducing()
        self.loseConnection()
        if self._closing is not CLOSED:
            # Something waits, and the peer does not read. It may be gone for good.
            self._linger()

    def _break_off(self, error: SSL.Error) -> None:
        """TLS cannot go on: send the alert, if OpenSSL has one, and close."""
        self.problem = error.with_traceback(None)
        self._closing = CLOSED
        self._drop()
        self._send_waiting()
        self._close_our_side()

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the connection is gone. Without a close_notify, too: the stream knows if its end tag came."""
        if not self.connected:
            return
        super().connectionLost(reason)
        # Some 20 KiB that must not wait for a garbage collection.
        del self.connection
