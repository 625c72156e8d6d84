"""The stream by itself: holding and releasing, pausing, restarts, and its end."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from chatrix.net.xmlstream import BUSY, EAGER, XMPPStream
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.framing import Framer, Limits, StreamOpened
from chatrix.xmpp.stanza import Stanza

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='a'>"
FOOTER = b"</stream:stream>"


class Transport(StringTransport):
    """A transport that remembers how it was closed, and how much waits in it."""

    buffered = 0
    aborted = False

    def flush(self) -> None:
        """Whoever is at the other end takes nothing."""

    def abortConnection(self) -> None:
        """Remember it."""
        self.aborted = True

    def pauseProducing(self) -> None:
        """Pausing twice would be a mistake of the stream's."""
        assert self.producerState == "producing"
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        """So would be resuming twice."""
        assert self.producerState == "paused"
        self.producerState = "producing"


class Door:
    """An authenticator that remembers, holds the stream at <hold/>, restarts it at <restart/>, breaks at <break/>."""

    def __init__(self) -> None:
        self.xmlstream: Any = None
        self.seen: list[str] = []
        self.most_unread = 1000
        self.ended = 0
        self.closed_ = 0
        self.now = 7
        self.bytes = 0

    @property
    def pulse(self) -> Door:
        """Knows the time."""
        return self

    def associateWithStream(self, stream: XMPPStream) -> None:
        """Twisted's streams introduce themselves."""
        self.xmlstream = stream

    def connectionMade(self) -> None:
        """Set up the stream."""
        self.xmlstream.framer = Framer("jabber:client", Limits(10_000, 100, 10, 10))

    def stream_opened(self, header: StreamOpened) -> None:
        """Note it."""
        self.seen.append("header")
        if header.attributes.get("to") == "b":
            raise StreamError("host-unknown")
        self.xmlstream.send_header("jabber:client", {"id": "1"})

    def send_header_for_error(self) -> None:
        """As the stream asks."""
        self.xmlstream.send_header("jabber:client", {"id": "0"})

    def element_received(self, element: Element | Stanza) -> None:
        """Note it, and do what it says."""
        self.seen.append(element.id if isinstance(element, Stanza) else element.name)
        match self.seen[-1]:
            case "hold":
                self.xmlstream.hold()
            case "restart":
                self.xmlstream.restart()
            case "break":
                raise RuntimeError("inside")
            case "error":
                raise StreamError("policy-violation", "no")

    def count_bytes(self, count: int) -> None:
        """Count them."""
        self.bytes += count

    def closed(self) -> None:
        """Our side is closed."""
        self.closed_ += 1

    def stream_ended(self) -> None:
        """The connection is gone."""
        self.ended += 1


class StreamCase(SynchronousTestCase):
    """A stream on a transport that remembers."""

    def setUp(self) -> None:
        self.door = Door()
        self.stream = XMPPStream(self.door)
        self.transport = Transport()
        self.stream.makeConnection(self.transport)

    def feed(self, *pieces: bytes) -> None:
        """Let bytes arrive, piece by piece."""
        for piece in pieces:
            self.stream.dataReceived(piece)

    def written(self) -> bytes:
        """What was written since the last look."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def begin(self) -> None:
        """Open the stream."""
        self.feed(HEADER)
        self.written()
        self.door.seen.clear()


class Receiving(StreamCase):
    """Frames reach the door."""

    def test_frames(self) -> None:
        """Header, elements and stanzas come in their order, however the bytes are split; the time is noted."""
        data = HEADER + b"<a xmlns='urn:a'/> <message id='m'/><iq id='i' type='get'/><presence id='p'/>"
        self.feed(*(data[n : n + 1] for n in range(len(data))))
        self.assertEqual(["header", "a", "m", "i", "p"], self.door.seen)
        self.assertEqual((7, len(data)), (self.stream.heard, self.door.bytes))

    def test_errors(self) -> None:
        """An error of the door's, or of the framer's, closes the stream after what came before it was handed on."""
        for data, condition in (
            (b"<error xmlns='urn:x'/>", b"policy-violation"),
            (b"<break xmlns='urn:x'/>", b"internal-server-error"),
            (b"<a></b>", b"not-well-formed"),
        ):
            self.setUp()
            self.begin()
            self.feed(b"<message id='1'/>" + data + b"<message id='2'/>")
            self.assertEqual("1", self.door.seen[0])
            self.assertNotIn("2", self.door.seen)
            written = self.written()
            self.assertIn(condition, written)
            self.assertTrue(written.endswith(b"</stream:error></stream:stream>"))
            self.assertTrue(self.transport.disconnecting)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_error_in_header(self) -> None:
        """An error before our header is preceded by one (RFC 6120 section 4.9.1.2), and there is only one."""
        self.feed(HEADER.replace(b"to='a'", b"to='b'"))
        written = self.written()
        self.assertTrue(written.startswith(b"<?xml version='1.0'?><stream:stream "))
        self.assertEqual(1, written.count(b"<stream:stream "))
        self.assertIn(b"host-unknown", written)

    def test_broken_by_nobody(self) -> None:
        """A peer that breaks the XML at once gets a header and its error, too."""
        self.feed(b"GET / HTTP/1.1\r\n\r\n")
        written = self.written()
        self.assertTrue(written.startswith(b"<?xml version='1.0'?><stream:stream "))
        self.assertTrue(written.endswith(b"</stream:error></stream:stream>"))


class Ending(StreamCase):
    """RFC 6120 section 4.4."""

    def test_peer_closes(self) -> None:
        """The peer's end tag is answered with ours, once."""
        self.begin()
        self.feed(b"<message id='1'/>" + FOOTER)
        self.assertEqual(FOOTER, self.written())
        self.assertEqual((["1"], 1, True), (self.door.seen, self.door.closed_, self.transport.disconnecting))

    def test_we_close(self) -> None:
        """After our end tag nothing is written, and what still comes is dropped, sense or nonsense."""
        self.begin()
        self.stream.close(StreamError("system-shutdown"))
        self.assertIn(b"system-shutdown", self.written())
        self.stream.write(b"<message/>")
        self.stream.close(StreamError("reset"))
        self.feed(b"<message id='1'/>", b"<a xmlns='urn:a'/>", b"<<<", FOOTER)
        self.assertEqual((b"", [], 1), (self.written(), self.door.seen, self.door.closed_))

    def test_without_header(self) -> None:
        """A stream that was never opened ends without a word, unless there is an error to tell."""
        self.stream.close()
        self.assertEqual((b"", True), (self.written(), self.transport.disconnecting))

    def test_lost(self) -> None:
        """The door is told once that the connection is gone; late calls do no harm."""
        self.begin()
        self.stream.hold()
        self.stream.connectionLost()
        self.stream.release()
        self.stream.close(StreamError("reset"))
        self.stream.write(b"<message/>")
        self.assertEqual((1, b""), (self.door.ended, self.written()))

    def test_closed_while_held(self) -> None:
        """What was kept back when the stream is closed is dropped."""
        self.begin()
        self.feed(b"<hold xmlns='urn:x'/><message id='1'/>", b"<message id='2'/>")
        self.stream.close()
        self.stream.release()
        self.assertEqual(["hold"], self.door.seen)
        self.assertEqual("producing", self.transport.producerState, "or closing would end in a reset")

    def test_slow_reader(self) -> None:
        """A peer that does not read what is written is cut off at the limit."""
        self.begin()
        self.transport.buffered = 1000
        self.stream.write(b"<message/>")
        self.assertFalse(self.transport.aborted)
        self.transport.buffered = 1001
        self.stream.write(b"<message/>")
        self.assertTrue(self.transport.aborted)
        self.written()
        self.stream.write(b"<message/>")
        self.assertEqual(b"", self.written())


class Waiting(StreamCase):
    """`hold` and `release`, `pause` and `resume`."""

    def test_order(self) -> None:
        """What arrives while the stream is held is kept, in its order, frames first and bytes after them."""
        self.begin()
        self.feed(b"<hold xmlns='urn:x'/><message id='1'/><mess", b"age id='2'/>", b"<message id='3'/>")
        self.assertEqual((["hold"], "paused"), (self.door.seen, self.transport.producerState))
        self.stream.release()
        self.assertEqual((["hold", "1", "2", "3"], "producing"), (self.door.seen, self.transport.producerState))

    def test_held_again(self) -> None:
        """What was kept may hold the stream again, and again nothing gets out of order."""
        self.begin()
        hold = b"<hold xmlns='urn:x'/>"
        self.feed(hold + b"<message id='1'/>" + hold + b"<message id='2'/>", hold + b"<message id='3'/>")
        self.stream.release()
        self.assertEqual(["hold", "1", "hold"], self.door.seen)
        self.feed(b"<message id='4'/>")
        self.stream.release()
        self.assertEqual(["hold", "1", "hold", "2", "hold"], self.door.seen)
        self.stream.release()
        self.assertEqual(["hold", "1", "hold", "2", "hold", "3", "4"], self.door.seen)
        self.assertEqual("producing", self.transport.producerState)

    def test_held_bytes_count(self) -> None:
        """Bytes that were kept count against the allowance when they are taken up, once."""
        self.begin()
        begun = self.door.bytes
        self.feed(b"<hold xmlns='urn:x'/>", b"<message id='1'/>")
        self.stream.release()
        self.assertEqual(len(b"<hold xmlns='urn:x'/><message id='1'/>"), self.door.bytes - begun)

    def test_reasons(self) -> None:
        """The stream is read again when no reason is left not to; the same reason twice is one."""
        self.stream.pause(BUSY)
        self.stream.pause(BUSY)
        self.stream.pause(EAGER)
        self.stream.hold()
        self.feed(b" ")
        for resume in (
            lambda: self.stream.resume(BUSY),
            lambda: self.stream.resume(BUSY),
            self.stream.release,
        ):
            resume()
            self.assertEqual("paused", self.transport.producerState)
        self.stream.resume(EAGER)
        self.assertEqual("producing", self.transport.producerState)


class Restarting(StreamCase):
    """RFC 6120 section 4.3.3, and threat T1."""

    def test_forgets(self) -> None:
        """What was sent for the old stream in one piece with the reason for the restart is for nobody."""
        self.begin()
        self.feed(b"<restart xmlns='urn:x'/><message id='1'/><mess", HEADER + b"<message id='2'/>")
        self.assertEqual(["restart", "header", "2"], self.door.seen)

    def test_while_held(self) -> None:
        """A log-in restarts the stream: frames of the old one are forgotten, bytes that came later are the new one."""
        self.begin()
        self.feed(b"<hold xmlns='urn:x'/><message id='1'/>", HEADER)
        self.stream.restart()
        self.stream.release()
        self.assertEqual(["hold", "header"], self.door.seen)

    def test_header_again(self) -> None:
        """After a restart our header is written again."""
        self.begin()
        self.stream.restart()
        self.feed(HEADER)
        self.assertEqual(1, self.written().count(b"<stream:stream "))
