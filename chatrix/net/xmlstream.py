"""An XML stream over a Twisted transport: Twisted's XmlStream with our framing, limits and writes.

Served by Twisted's XmlStreamServerFactory, with a ListenAuthenticator per door that gets the stream's frames by
`element_received`. What is replaced: domish gives way to `chatrix.xmpp.framing`, the XPath dispatch to a direct call,
`startTLS` to `chatrix.net.tls`.

Security: faces strangers. Everything they send goes through the framer's limits; what they do not read is bounded by
`most_unread`; how long they may take is the authenticator's to say, by the pulse.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import xmlstream

from chatrix.net.tls import TLSLayer, start_tls
from chatrix.net.transport import flush_writes
from chatrix.xmpp.element import Element, serialise
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.framing import Framer, Limits, StreamClosed, StreamOpened
from chatrix.xmpp.negotiation import FOOTER, header
from chatrix.xmpp.stanza import IQ, Message, Presence

log = Logger(namespace="chatrix.xmlstream")

SOCKET_KEEPALIVE = ((socket.TCP_KEEPIDLE, 120), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 4))
"""Seconds: a peer that vanished without a word is noticed by the kernel after four minutes."""

STANZAS = frozenset({Message, Presence, IQ})

AT_ONCE = 32
"""Frames of one stream that are worked off before the other streams have their turn."""


BUSY, HELD, EAGER = 1, 2, 4
"""Why a stream is not read: its session has too much to work off, a log-in waits, the client is over its allowance."""


class XMPPStream(xmlstream.XmlStream):
    """One stream of one connection, from its first byte to its last.

    The authenticator is called with `stream_opened(header)` for each stream header, then with `element_received` for
    each first-level element, and `stream_ended()` once when the connection is gone.
    """

    transport: Any
    authenticator: Any

    def __init__(self, authenticator: Any) -> None:
        super().__init__(authenticator)
        self.framer: Framer
        self.receive = authenticator.element_received
        "What takes the frames; a bound session replaces the authenticator's by its own."
        self.heard = 0
        "Second of the pulse in which the peer last sent something."
        self.header_sent = False
        self.closing = False
        "We sent our closing tag, or the connection is gone."
        self._generation = 0
        "Counts restarts, so that what came before one is not taken for what comes after it."
        self._paused = 0
        self._held: list[Any] | None = None

    # Twisted calls these

    def connectionMade(self) -> None:
        """Set up the socket and let the authenticator start."""
        transport = self.transport
        set_no_delay = getattr(transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
            transport.setTcpKeepAlive(True)
            handle = transport.getHandle()
            for option, value in SOCKET_KEEPALIVE:
                handle.setsockopt(socket.IPPROTO_TCP, option, value)
            flush_writes(self)
        self.authenticator.connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Cut the bytes into frames and hand them on; what comes after we closed our side is dropped."""
        if self.closing:
            return
        self.heard = self.authenticator.pulse.now
        if self._held is not None:
            # Few clients send while they wait for an answer: only for those the reactor is told.
            self.pause(HELD)
            self._held.append(data)
            return
        self.authenticator.count_bytes(len(data))
        frames: list[Any]
        try:
            frames = self.framer.feed(data)
        except StreamError as error:
            frames = [*error.frames, error]
        if frames:
            self._consume(frames)

    def _consume(self, items: list[Any]) -> None:
        """Hand frames on, one by one, and bytes that were kept while the stream was held."""
        generation = self._generation
        for position, item in enumerate(items):
            if generation != self._generation and item.__class__ is not bytes:
                # Sent before the restart, for the stream before it: nobody may act on it (threat T1).
                continue
            try:
                if item.__class__ in STANZAS:
                    self.receive(item)
                else:
                    self._take(item)
            except StreamError as error:
                self.close(error)
            except Exception:
                log.failure("a stream failed on a first-level element")
                self.close(StreamError("internal-server-error"))
            if self._held is not None:
                self._held.extend(items[position + 1 :])
                return
            if self.closing:
                return
            if position + 1 == AT_ONCE and len(items) > AT_ONCE and generation == self._generation:
                self.hold()
                self._held = items[AT_ONCE:]
                self.authenticator.pulse.next_turn(self.release)
                return

    def _take(self, item: Any) -> None:
        """Deal with what is no stanza."""
        kind = item.__class__
        if kind is bytes:
            self.dataReceived(item)
        elif kind is StreamOpened:
            self.authenticator.stream_opened(item)
        elif kind is StreamClosed:
            self.close()
        elif kind is StreamError:
            raise item
        else:
            self.authenticator.element_received(item)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, for whatever reason; told once."""
        self.closing = True
        self._held = None
        self.receive = _nothing
        self.authenticator.stream_ended()

    def tls_started(self) -> None:
        """The TLS handshake is complete."""
        self.authenticator.tls_started()

    # Waiting: for a log-in that hashes, or because too much is being worked off

    def hold(self) -> None:
        """Read no more, and keep what was read, until `release`."""
        if self._held is None:
            self._held = []

    def release(self) -> None:
        """Take up what was kept since `hold`, and read again."""
        held, self._held = self._held, None
        self.resume(HELD)
        if held and not self.closing:
            self._consume(held)

    def pause(self, reason: int = BUSY) -> None:
        """Stop reading from the socket."""
        if not self._paused and not self.closing:
            self.transport.pauseProducing()
        self._paused |= reason

    def resume(self, reason: int = BUSY) -> None:
        """Read from the socket again, unless there is another reason not to."""
        if self._paused & reason:
            self._paused &= ~reason
            if not self._paused and not self.closing:
                self.transport.resumeProducing()

    # Negotiation

    def start_tls(self, context: SSL.Context) -> TLSLayer:
        """Begin TLS as the server; everything received in the clear is forgotten (threat T1)."""
        self.restart()
        self._held = None
        return start_tls(self, context)

    def restart(self) -> None:
        """Expect a new stream header on the same connection."""
        self._generation += 1
        self.framer.reset()
        if self._held:
            self._held = [item for item in self._held if isinstance(item, bytes)]
        self.header_sent = False

    def limit(self, limits: Limits) -> None:
        """Other limits hold from now on."""
        self.framer.limits = limits

    # Writing

    @property
    def unread(self) -> int:
        """Bytes that were written and that the peer's system has not taken yet."""
        return getattr(self.transport, "buffered", 0)

    def send_header(self, namespace: str, attributes: dict[str, str]) -> None:
        """Open our side of the stream."""
        self.header_sent = True
        self.write(header(namespace, attributes))

    def send_element(self, element: Element) -> None:
        """Write a first-level element."""
        self.write(serialise(element))

    def write(self, data: bytes) -> None:
        """Write bytes that are whole first-level elements; nothing is written after the closing tag.

        A peer that does not read is cut off when more than the authenticator's `most_unread` bytes wait for it.
        """
        if self.closing:
            return
        transport = self.transport
        transport.write(data)
        if getattr(transport, "buffered", 0) <= self.authenticator.most_unread:
            return
        # Much may have been written within this turn: it counts when the peer's kernel does not take it.
        transport.flush()
        if transport.buffered > self.authenticator.most_unread and not self.closing:
            log.info("a client reads too slowly: connection cut")
            self.closing = True
            transport.abortConnection()

    def close(self, error: StreamError | None = None) -> None:
        """Close our side, with an error if one is given, then the connection (RFC 6120 sections 4.4 and 4.9.1)."""
        if self.closing:
            return
        data = b""
        if error is not None:
            if not self.header_sent:
                self.authenticator.send_header_for_error()
            data = error.to_bytes()
        if self.header_sent:
            data += FOOTER
        if data:
            self.write(data)
        self.closing = True
        self.receive = _nothing
        self.authenticator.closed()
        if self._paused:
            # What the peer still sends must be read, and dropped, or closing would end in a reset.
            self._paused = 0
            self.transport.resumeProducing()
        self._held = None
        self.transport.loseConnection()

    def abort(self) -> None:
        """Cut the connection."""
        self.closing = True
        self.transport.abortConnection()


def _nothing(frame: object) -> None:
    """What takes the frames of a closed stream."""
