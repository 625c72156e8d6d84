"""Tests for chatrix.net.flush and chatrix.net.transport."""

from __future__ import annotations

import socket

from twisted.internet.interfaces import IPullProducer, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chatrix.net.flush import Flusher
from chatrix.net.transport import FlushedTransport, flush_writes
from tests.net.loopback import LoopbackTestCase, Recorder, read_all, read_exactly


class Counting:
    """A connection that counts its flushes."""

    flushes = 0
    fails = False

    def flush(self) -> None:
        """Count."""
        self.flushes += 1
        if self.fails:
            raise ZeroDivisionError


class FlusherTests(TestCase):
    """One call of the reactor for all connections written to within a tick."""

    def setUp(self) -> None:
        """A clock for a reactor."""
        self.clock = Clock()
        self.flusher = Flusher.of(self.clock)

    def test_one_per_reactor(self) -> None:
        """A reactor has one Flusher, another reactor another."""
        self.assertIs(Flusher.of(self.clock), self.flusher)
        self.assertIsNot(Flusher.of(Clock()), self.flusher)

    def test_one_call(self) -> None:
        """Many connections cost one delayed call, and the next tick another."""
        connections = [Counting() for _ in range(10)]
        for turn in (1, 2):
            for connection in connections:
                self.flusher.schedule(connection)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            self.clock.advance(0)
            self.assertEqual([connection.flushes for connection in connections], [turn] * 10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_scheduled_while_flushing(self) -> None:
        """What is written while the tick is flushed goes out in the next one, not in an endless loop."""
        last = Counting()

        class Writing(Counting):
            def flush(inner) -> None:  # noqa: N805 (self is the test)
                super().flush()
                self.flusher.schedule(last)
                # A reactor runs what is new in its next turn.
                self.assertEqual(len(self.clock.getDelayedCalls()), 1)

        writing = Writing()
        self.flusher.schedule(writing)
        self.clock.advance(0)
        self.assertEqual((writing.flushes, last.flushes), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_fails(self) -> None:
        """A connection that cannot be flushed is logged; the others are flushed."""
        broken, good = Counting(), Counting()
        broken.fails = True
        self.flusher.schedule(broken)
        self.flusher.schedule(good)
        self.clock.advance(0)
        self.assertEqual(good.flushes, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class InMemory(TestCase):
    """A FlushedTransport over a transport that is not a socket."""

    def setUp(self) -> None:
        """A protocol with a FlushedTransport."""
        self.clock = Clock()
        self.protocol = Recorder()
        self.below = StringTransport()
        self.protocol.makeConnection(self.below)
        self.transport = flush_writes(self.protocol, Flusher.of(self.clock))

    def test_once_per_tick(self) -> None:
        """Writes are joined, and sent when the tick is over."""
        self.transport.write(b"one")
        self.transport.writeSequence([b"two", b"three"])
        self.transport.write(b"")
        self.assertEqual((self.below.value(), self.transport.buffered), (b"", 11))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual((self.below.value(), self.transport.buffered), (b"onetwothree", 0))

    def test_reads_pass(self) -> None:
        """The protocol gets what comes, and its answer goes through the layer."""
        self.assertIs(self.protocol.transport, self.transport)
        self.transport.dataReceived(b"ping")
        self.clock.advance(0)
        self.assertEqual((self.protocol.received, self.below.value()), (b"ping", b"ping"))

    def test_close(self) -> None:
        """What was written goes out before the end; what comes after it does not, in neither direction."""
        self.transport.write(b"last")
        self.transport.loseConnection()
        self.transport.write(b"late")
        self.transport.dataReceived(b"late")
        self.clock.advance(0)
        self.assertEqual((self.below.value(), self.below.disconnecting, self.protocol.received), (b"last", True, b""))

    def test_lost(self) -> None:
        """The loss is told once, and forgets what waits."""
        self.transport.write(b"never")
        for _ in range(2):
            self.transport.connectionLost(None)  # type: ignore[arg-type]
        self.clock.advance(0)
        self.assertEqual((self.protocol.losses, self.below.value(), self.transport.buffered), (1, b"", 0))
        self.assertIsNone(self.transport.protocol)

    def test_two_producers(self) -> None:
        """There is one producer at a time; one that comes too late is stopped."""
        first, second = Pulled(self.transport, 1), Pulled(self.transport, 1)
        self.transport.registerProducer(first, False)
        self.assertRaises(RuntimeError, self.transport.registerProducer, second, False)
        self.transport.connectionLost(None)  # type: ignore[arg-type]
        self.transport.registerProducer(second, False)
        self.assertTrue(first.stopped)
        self.assertTrue(second.stopped)

    def test_pull_producer(self) -> None:
        """A pull producer is asked until it has no more; a close waits for it."""
        producer = Pulled(self.transport, 3)
        self.transport.registerProducer(producer, False)
        self.transport.loseConnection()
        self.assertFalse(self.below.disconnecting)
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"321", True))

    def test_pieces_of_any_size(self) -> None:
        """A queue longer than a round is sent in order, whatever its pieces are."""
        expected = b""
        for number, size in enumerate((1, 65535, 65536, 65537, 200_000, 3, 70_000)):
            piece = bytes((number,)) * size
            self.transport.write(piece)
            expected += piece
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        self.assertTrue(self.below.value() == expected)
        self.assertEqual(self.transport.buffered, 0)


@implementer(IPullProducer)
class Pulled:
    """A pull producer of a few pieces."""

    stopped = False

    def __init__(self, transport: FlushedTransport, pieces: int) -> None:
        self.transport = transport
        self.pieces = pieces

    def resumeProducing(self) -> None:
        """Twisted: one piece, please."""
        self.transport.write(b"%d" % self.pieces)
        self.pieces -= 1
        if not self.pieces:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Twisted: no more."""
        self.stopped = True


class Flushed(Recorder):
    """Flushes once per tick from the start."""

    def connectionMade(self) -> None:
        """Put the layer in."""
        assert self.transport is not None
        self.transport.write(b"raw ")
        self.layer = flush_writes(self)
        self.layer.write(b"flushed ")


class OnASocket(LoopbackTestCase):
    """A FlushedTransport over TCP."""

    async def test_order(self) -> None:
        """What was written before the layer goes out before what is written after it."""
        self.serve(Flushed)

        def talk() -> bytes:
            with self.connect() as client:
                client.sendall(b"echo")
                return read_exactly(client, 16)

        self.assertEqual(await self.in_thread(talk), b"raw flushed echo")

    async def test_socket_options(self) -> None:
        """Options are those of the socket below."""
        self.serve(Flushed)
        client = await self.in_thread(self.connect)
        self.addCleanup(client.close)
        await self.in_thread(lambda: read_exactly(client, 12))
        layer = self.accepted[0].layer
        self.assertTrue(verifyObject(ITCPTransport, layer))
        for enabled in (True, False):
            layer.setTcpNoDelay(enabled)
            layer.setTcpKeepAlive(enabled)
            self.assertEqual((layer.getTcpNoDelay(), layer.getTcpKeepAlive()), (enabled, enabled))
        self.assertEqual(layer.getHost().port, self.port.getHost().port)
        self.assertEqual(layer.getPeer().host, "127.0.0.1")

    async def test_slow_reader(self) -> None:
        """What a client does not read is counted, and sent when it reads."""
        self.serve(Flushed)
        client = await self.in_thread(self.connect)
        self.addCleanup(client.close)
        await self.in_thread(lambda: (client.sendall(b"x"), read_exactly(client, 13)))
        layer = self.accepted[0].layer
        size = 32 << 20
        layer.write(b"y" * size)
        layer.flush()
        self.assertGreater(layer.buffered, 0)
        layer.loseConnection()
        answer = await self.in_thread(lambda: read_all(client))
        self.assertTrue(answer == b"y" * size)
        client.close()
        await self.accepted[0].lost
        self.assertEqual(layer.buffered, 0)

    async def test_deaf_client(self) -> None:
        """A client that does not close its side is cut off when its time is over."""
        self.serve(Flushed)
        client = await self.in_thread(self.connect)
        self.addCleanup(client.close)
        await self.in_thread(lambda: read_exactly(client, 12))
        self.accepted[0].layer.loseConnection()
        await self.accepted[0].lost

    async def test_vanished_client(self) -> None:
        """Writing to a client that has reset its connection ends it, quietly."""
        self.serve(Flushed)

        def vanish() -> None:
            client = self.connect()
            read_exactly(client, 12)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()

        await self.in_thread(vanish)
        self.accepted[0].layer.write(b"x" * (1 << 20))
        await self.accepted[0].lost
