"""Tests for chatrix.net.tls and the two layers it chooses from, against the TLS of the standard library."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import warnings
import weakref
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.test.iosim import FakeTransport, IOPump, connect

from chatrix.net.flush import Flusher
from chatrix.net.tls import TLSLayer, start_tls
from chatrix.net.tls_socket import SocketTLSLayer
from chatrix.net.transport import flush_writes
from tests.certificates import leaf
from tests.net.loopback import LoopbackTestCase, Recorder, client_context, context_of, detach, read_all, read_exactly

BIG = bytes(range(256)) * 4 * 10240
"""10 MiB."""


class Talking(LoopbackTestCase):
    """Data over TLS on a socket."""

    async def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, with forward secrecy."""
        self.serve(context=context_of(leaf("localhost")))
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            context = client_context()
            context.minimum_version = context.maximum_version = version

            def talk(context: ssl.SSLContext = context) -> tuple[str | None, str, bytes]:
                with self.connect_tls(context) as client:
                    client.sendall(b"<message/>")
                    cipher = client.cipher()
                    assert cipher is not None
                    return client.version(), cipher[0], client.recv(100)

            spoken, cipher, answer = await self.in_thread(talk)
            self.assertEqual((spoken, answer), (name, b"<message/>"))
            self.assertTrue(cipher.startswith(("TLS_", "ECDHE-")), cipher)
        for protocol in self.accepted:
            self.successResultOf(protocol.started)
            self.assertTrue(protocol.layer.handshake_complete)

    async def test_old_version_refused(self) -> None:
        """TLS 1.1 ends in an alert, quietly."""
        self.serve(context=context_of(leaf("localhost")))
        context = client_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises(ssl.SSLError) as refusal:
            await self.in_thread(lambda: self.connect_tls(context))
        self.assertIn("PROTOCOL_VERSION", str(refusal.exception).upper().replace(" ", "_"))
        await self.accepted[0].lost
        self.assertNoResult(self.accepted[0].started)
        self.assertIsInstance(self.accepted[0].layer.problem, SSL.Error)

    async def test_weak_cipher_refused(self) -> None:
        """A TLS 1.2 client with nothing but CBC has no cipher in common with us."""
        self.serve(context=context_of(leaf("localhost")))
        context = client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES256-SHA384")
        with self.assertRaises(ssl.SSLError):
            await self.in_thread(lambda: self.connect_tls(context))

    async def test_resumption(self) -> None:
        """A returning client resumes its session by a ticket."""
        self.serve(context=context_of(leaf("localhost")))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context()
            context.minimum_version = context.maximum_version = version

            def talk(session: ssl.SSLSession | None, context: ssl.SSLContext = context) -> Any:
                with self.connect_tls(context, session=session) as client:
                    client.sendall(b"a")
                    client.recv(1)
                    return client.session, client.session_reused

            session, reused = await self.in_thread(partial(talk, None))
            self.assertFalse(reused)
            session, reused = await self.in_thread(partial(talk, session))
            self.assertTrue(reused)

    async def test_big_echo(self) -> None:
        """10 MiB come back unchanged, though the client begins to read after it has sent some of them."""
        self.serve(context=context_of(leaf("localhost")))

        def talk() -> bytes:
            with self.connect_tls() as client:
                answer = b""
                for start in range(0, len(BIG), 1 << 20):
                    client.sendall(BIG[start : start + (1 << 20)])
                    answer += read_exactly(client, 1 << 18)
                return answer + read_exactly(client, len(BIG) - len(answer))

        self.assertTrue(await self.in_thread(talk) == BIG)
        self.assertEqual(self.accepted[0].layer.buffered, 0)

    async def test_back_pressure(self) -> None:
        """A client that does not read is seen in `buffered`, and pauses a producer until it reads."""
        self.serve(context=context_of(leaf("localhost")))
        client = await self.in_thread(self.connect_tls)
        self.addCleanup(client.close)
        server = self.accepted[0]
        await server.started
        producer = Producer(server.layer)
        server.layer.registerProducer(producer, True)
        producer.fill()
        await producer.paused
        self.assertGreater(server.layer.buffered, 1 << 16)
        written = producer.written
        received = await self.in_thread(lambda: read_exactly(client, written))
        self.assertEqual(received, b"x" * written)
        await producer.resumed
        self.assertLess(server.layer.buffered, 1 << 16)
        server.layer.loseConnection()
        producer.finish()
        self.assertEqual(await self.in_thread(lambda: read_all(client)), b"x" * (producer.written - written))

    async def test_pause(self) -> None:
        """While paused nothing is given to the protocol; afterwards everything is."""
        self.serve(context=context_of(leaf("localhost")))
        client = await self.in_thread(self.connect_tls)
        self.addCleanup(client.close)
        server = self.accepted[0]
        await server.started
        server.layer.pauseProducing()
        await self.in_thread(lambda: client.sendall(b"one" * 10000))
        self.assertEqual(server.received, b"")
        server.layer.resumeProducing()
        self.assertEqual(await self.in_thread(lambda: read_exactly(client, 30000)), b"one" * 10000)

    async def test_dribble(self) -> None:
        """A handshake and a message that come byte by byte are understood."""
        self.serve(context=context_of(leaf("localhost")))

        def talk() -> bytes:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with self.connect() as connection:

                def until_done(step: Any) -> Any:
                    while True:
                        try:
                            return step()
                        except ssl.SSLWantReadError:
                            dribble()
                            incoming.write(connection.recv(1 << 16))

                def dribble() -> None:
                    for byte in outgoing.read():
                        connection.sendall(bytes((byte,)))

                until_done(client.do_handshake)
                client.write(b"slow")
                return bytes(until_done(lambda: client.read(100)))

        self.assertEqual(await self.in_thread(talk), b"slow")


class Closing(LoopbackTestCase):
    """The ends of TLS connections."""

    async def test_ours(self) -> None:
        """What was written goes out before close_notify, which the client sees as a clean end."""
        self.serve(context=context_of(leaf("localhost")))
        client = await self.in_thread(self.connect_tls)
        self.addCleanup(client.close)
        server = self.accepted[0]
        await server.started
        server.layer.write(b"</stream:stream>")
        server.layer.loseConnection()
        server.layer.write(b"too late")
        self.assertEqual(await self.in_thread(lambda: read_all(client)), b"</stream:stream>")
        client.close()
        await server.lost

    async def test_last_words_reach_a_sender(self) -> None:
        """A client that is still sending when we close gets our last words, not a reset."""
        self.serve(Refusing, context_of(leaf("localhost")))

        def talk() -> bytes:
            with self.connect_tls() as client:
                client.sendall(b"x" * (1 << 20))
                return read_all(client)

        self.assertEqual(await self.in_thread(talk), b"<stream:error/>")
        await self.accepted[0].lost

    async def test_theirs(self) -> None:
        """The client's close_notify is answered by ours."""
        self.serve(context=context_of(leaf("localhost")))

        def talk() -> bytes:
            with self.connect_tls() as client:
                client.sendall(b"bye")
                client.recv(3)
                with client.unwrap() as plain:
                    return read_all(plain)

        self.assertEqual(await self.in_thread(talk), b"")
        await self.accepted[0].lost

    async def test_theirs_while_something_waits(self) -> None:
        """A client that said close_notify and does not read does not keep us for ever, nor busy."""
        self.serve(context=context_of(leaf("localhost")))
        reads = []
        original = SocketTLSLayer.doRead

        def count(layer: SocketTLSLayer) -> Any:
            reads.append(layer)
            return original(layer)

        self.patch(SocketTLSLayer, "doRead", count)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        connection = await self.in_thread(self.connect)
        self.addCleanup(connection.close)

        def shake_hands() -> None:
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(1 << 16))
            connection.sendall(outgoing.read())

        def say_goodbye() -> None:
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()
            connection.sendall(outgoing.read())
            connection.shutdown(socket.SHUT_WR)

        await self.in_thread(shake_hands)
        server = self.accepted[0]
        await server.started
        server.layer.write(b"x" * (64 << 20))
        await self.in_thread(say_goodbye)
        await server.lost
        self.assertLess(len(reads), 10)

    async def test_truncated(self) -> None:
        """A connection that ends without close_notify, even within a record, is closed and no more."""
        self.serve(context=context_of(leaf("localhost")))

        def talk() -> None:
            client = self.connect_tls()
            connection = detach(client)
            connection.sendall(b"\x17\x03\x03\x01\x00half")
            connection.close()

        await self.in_thread(talk)
        await self.accepted[0].lost
        self.assertEqual(self.accepted[0].received, b"")

    async def test_half_closed(self) -> None:
        """A client that closes its side of the TCP connection loses the other, too."""
        self.serve(context=context_of(leaf("localhost")))

        def talk() -> bytes:
            with self.connect_tls() as client:
                client.sendall(b"last")
                client.recv(4)
                connection = detach(client)
                connection.shutdown(socket.SHUT_WR)
                with connection:
                    return read_all(connection)

        await self.in_thread(talk)
        await self.accepted[0].lost

    async def test_garbage(self) -> None:
        """What is no ClientHello gets an alert at most, and a closed connection, and leaves no traceback."""
        self.serve(context=context_of(leaf("localhost")))
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"<stream:stream>", b"\x16\x03\x01\xff\xff" + b"\0" * 70000, b"\0"):

            def talk(garbage: bytes = garbage) -> bytes:
                with self.connect() as connection:
                    connection.sendall(garbage)
                    connection.shutdown(socket.SHUT_WR)
                    return read_all(connection)

            answer = await self.in_thread(talk)
            self.assertTrue(answer == b"" or answer[0] == 21, answer)
            await self.accepted[-1].lost
            self.assertNoResult(self.accepted[-1].started)

    async def test_damaged_record(self) -> None:
        """A record that does not decrypt ends the connection with an alert."""
        self.serve(context=context_of(leaf("localhost")))

        def talk() -> bytes:
            client = self.connect_tls()
            with detach(client) as connection:
                connection.sendall(b"\x17\x03\x03\x00\x20" + b"damaged!" * 4)
                return read_all(connection)

        self.assertNotEqual(await self.in_thread(talk), b"")
        await self.accepted[0].lost
        self.assertIsInstance(self.accepted[0].layer.problem, SSL.Error)

    async def test_before_the_handshake(self) -> None:
        """A connection closed while its handshake waits is closed at once, and sends nothing."""
        self.serve(context=context_of(leaf("localhost")))
        connection = await self.in_thread(self.connect)
        self.addCleanup(connection.close)
        while not self.accepted:
            await self.in_thread(lambda: None)
        self.accepted[0].layer.write(b"secret")
        self.accepted[0].layer.loseConnection()
        self.assertEqual(await self.in_thread(lambda: read_all(connection)), b"")

    async def test_abort(self) -> None:
        """An aborted connection drops what waits."""
        self.serve(context=context_of(leaf("localhost")))
        client = await self.in_thread(self.connect_tls)
        self.addCleanup(client.close)
        server = self.accepted[0]
        await server.started
        server.layer.write(b"never")
        server.layer.abortConnection()
        with self.assertRaises(OSError):
            await self.in_thread(lambda: read_all(client))

    async def test_nothing_is_kept(self) -> None:
        """OpenSSL's part is freed with the connection, without a garbage collection."""
        self.serve(context=context_of(leaf("localhost")))
        client = await self.in_thread(self.connect_tls)
        server = self.accepted[0]
        await server.started
        connection = weakref.ref(server.layer.connection)
        gc.disable()
        self.addCleanup(gc.enable)
        client.close()
        await server.lost
        await self.in_thread(lambda: None)
        self.assertIsNone(connection())


class StartTLS(LoopbackTestCase):
    """TLS on a connection that has been used in the clear."""

    async def test_after_proceed(self) -> None:
        """What was written in the clear arrives before the handshake, whoever wrote it."""
        for protocol_class in (Upgrading, UpgradingFlushed):
            self.serve(protocol_class, context_of(leaf("localhost")))

            def talk() -> tuple[bytes, bytes]:
                connection = self.connect()
                connection.sendall(b"starttls")
                proceed = read_exactly(connection, 8)
                with client_context().wrap_socket(connection, server_hostname="localhost") as client:
                    client.sendall(b"inside")
                    return proceed, client.recv(100)

            self.assertEqual(await self.in_thread(talk), (b"proceed!", b"inside"))
            self.assertEqual(self.accepted[-1].received, b"starttls" + b"inside")
            await self._end()
            self.accepted.clear()

    async def test_injection(self) -> None:
        """What follows in the clear is nothing but a broken handshake."""
        self.serve(Upgrading, context_of(leaf("localhost")))

        def talk() -> bytes:
            with self.connect() as connection:
                connection.sendall(b"starttls")
                read_exactly(connection, 8)
                connection.sendall(b"<auth/>")
                return read_all(connection)

        await self.in_thread(talk)
        await self.accepted[0].lost
        self.assertEqual(self.accepted[0].received, b"starttls")


class InMemory(LoopbackTestCase):
    """The layer over a transport that is not a socket."""

    def join(self, **options: Any) -> tuple[Recorder, Recorder, IOPump]:
        """Two protocols with TLS between them; the clock is turned by `turn`."""
        self.clock = Clock()
        server, client = Recorder(), Recorder()
        client.echo = False
        pump = connect(
            server, FakeTransport(server, isServer=True), client, FakeTransport(client, isServer=False), greet=False
        )
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        for key, value in options.items():
            getattr(context, key)(value)
        flusher = Flusher.of(self.clock)
        server.layer = start_tls(server, context_of(leaf("localhost")), flusher=flusher)
        client.layer = start_tls(client, context, client=True, server_name="localhost", flusher=flusher)
        return server, client, pump

    def turn(self, pump: IOPump) -> None:
        """Let everything happen."""
        while pump.pump() or self.clock.getDelayedCalls():
            self.clock.advance(0)

    def test_echo(self) -> None:
        """Short and long data pass both ways, in records and pieces of records."""
        server, client, pump = self.join()
        self.turn(pump)
        for size in (1, 4096, 16384, 16385, 100_000):
            client.received = b""
            client.layer.write(BIG[:size])
            self.turn(pump)
            self.assertTrue(client.received == BIG[:size], size)
        self.assertEqual(server.layer.connection.get_servername(), b"localhost")

    def test_exporter(self) -> None:
        """Both ends derive the same keying material (the channel binding tls-exporter)."""
        server, client, pump = self.join()
        self.turn(pump)
        keys = {
            layer.connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
            for layer in (server.layer, client.layer)
        }
        self.assertEqual(len(keys), 1)
        self.assertEqual(len(keys.pop()), 32)

    def test_every_split(self) -> None:
        """However the wire cuts two records, the same comes out."""
        server, client, pump = self.join()
        server.echo = False
        self.turn(pump)
        expected = b""
        for cut in range(50):
            for text in (b"one", b"three"):
                client.layer.write(text)
                client.layer.flush()
            wire = b"".join(client.layer.transport.stream)
            client.layer.transport.stream.clear()
            self.assertLess(50, len(wire))
            server.layer.dataReceived(wire[:cut])
            server.layer.dataReceived(wire[cut:])
            expected += b"onethree"
            self.assertEqual(server.received, expected)

    def test_renegotiation(self) -> None:
        """A client of TLS 1.2 that asks for renegotiation, again and again, is not obeyed."""
        server, client, pump = self.join(set_max_proto_version=SSL.TLS1_2_VERSION)
        self.turn(pump)
        for _ in range(100):
            if not client.losses:
                client.layer.connection.renegotiate()
                client.layer.write(b"x")
                self.turn(pump)
        self.assertEqual(server.layer.connection.total_renegotiations() if not server.losses else 0, 0)

    def test_closing(self) -> None:
        """Both ends are told once when one closes."""
        server, client, pump = self.join()
        self.turn(pump)
        client.layer.write(b"last")
        client.layer.loseConnection()
        self.turn(pump)
        self.assertEqual((server.received, server.losses, client.losses), (b"last", 1, 1))

    def test_pause(self) -> None:
        """What came before a pause is held back as well, and given after it."""
        server, client, pump = self.join()
        server.echo = False
        self.turn(pump)
        server.layer._paused = True
        client.layer.write(b"held")
        self.turn(pump)
        self.assertEqual(server.received, b"")
        server.layer.resumeProducing()
        self.turn(pump)
        self.assertEqual(server.received, b"held")

    def test_garbage(self) -> None:
        """What is no TLS gets an alert and a closed transport."""
        protocol = Recorder()
        transport = StringTransport()
        protocol.makeConnection(transport)
        layer = start_tls(protocol, context_of(leaf("localhost")), flusher=Flusher.of(Clock()))
        layer.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(transport.disconnecting)
        self.assertIsInstance(layer, TLSLayer)
        self.assertIsInstance(layer.problem, SSL.Error)


class Producer:
    """Writes 64 KiB whenever it may, until it is paused."""

    def __init__(self, layer: TLSLayer) -> None:
        self.layer = layer
        self.written = 0
        self.paused: Deferred[None] = Deferred()
        self.resumed: Deferred[None] = Deferred()
        self.may_write = True

    def fill(self) -> None:
        """Write without a pause until told to."""
        while self.may_write and not self.paused.called:
            self.write()
            self.layer.flush()

    def write(self) -> None:
        """One piece."""
        self.written += 1 << 16
        self.layer.write(b"x" * (1 << 16))

    def pauseProducing(self) -> None:
        """Twisted: stop."""
        self.may_write = False
        if not self.paused.called:
            self.paused.callback(None)

    def resumeProducing(self) -> None:
        """Twisted: go on."""
        self.may_write = True
        if not self.resumed.called:
            self.resumed.callback(None)

    def stopProducing(self) -> None:
        """Twisted: the connection is lost."""

    def finish(self) -> None:
        """Write the last piece."""
        self.write()
        self.layer.unregisterProducer()


class Refusing(Recorder):
    """Answers the first bytes with an error and closes."""

    echo = False

    def dataReceived(self, data: bytes) -> None:
        """Refuse."""
        super().dataReceived(data)
        self.layer.write(b"<stream:error/>")
        self.layer.loseConnection()


class Upgrading(Recorder):
    """Begins TLS when it is asked to."""

    def connectionMade(self) -> None:
        """Wait to be asked."""

    def dataReceived(self, data: bytes) -> None:
        """Say proceed and begin, or echo what comes under TLS."""
        self.echo = self.layer is not None
        super().dataReceived(data)
        if self.layer is None:
            assert self.transport is not None
            self.transport.write(b"proceed!")
            assert self.context is not None
            self.layer = start_tls(self, self.context)


class UpgradingFlushed(Upgrading):
    """The same over a transport that flushes per tick."""

    def connectionMade(self) -> None:
        """Flush per tick from the start."""
        flush_writes(self)
