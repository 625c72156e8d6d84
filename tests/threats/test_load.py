"""Threats L: load, before log-in and after it.

Not here, because it does not exist yet: of L4 what stream management would keep; of L6 archive, upload, PEP, private
XML, vCards and bookmarks; of L7 unacknowledged stanzas; L8 (RSM, searches, the archive).
"""

import gc
import threading
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from chatrix.net.c2s import C2SAuthenticator
from chatrix.net.tls import TLSLayer
from chatrix.net.xmlstream import XMPPStream
from chatrix.server.session import Session
from chatrix.testing.client import Client
from chatrix.testing.host import MemoryHost
from chatrix.testing.login import log_in, open_stream
from chatrix.xmpp.sasl.authentication import Authentication
from tests.certificates import leaf
from tests.threats.oracle import LONG, MiB, Threat
from tests.threats.raw import PROCEED, STARTTLS, RawClient, condition, header, plain, sasl_failure, stream_error

LATE = stream_error("connection-timeout", "log-in took too long")
MESSAGE = "<message to='{}' type='chat' id='{}'><body>{}</body></message>"


def seconds_passed(seconds: float) -> bool:
    """Wait; for use in a loop that trickles bytes."""
    time.sleep(seconds)
    return True


class Strangers(Threat):
    """Before log-in."""

    limits = "log in time = 2 s\nconnections per address = 50\nauth failures = 1000"

    def trickle(self, clients: list[RawClient], data: bytes) -> None:
        """Send a byte now and then on each connection, beyond the time that there is."""
        until = time.monotonic() + 3.5
        position = 0
        while time.monotonic() < until and seconds_passed(0.1):
            for client in clients:
                client.send(data[position % len(data) : position % len(data) + 1])
            position += 1

    def many(self, count: int, net: int) -> list[RawClient]:
        """As many connections, from as many addresses as it takes."""
        return [self.connect(f"127.{net}.{number // 2000}.{number // 40 % 250 + 1}") for number in range(count)]

    def test_l1_slow_headers(self) -> None:
        """A header that never ends is closed when the time for log-in is over, however busily it is sent."""
        clients = self.many(1000 if LONG else 60, 3)
        self.growth = max(self.growth, len(clients) * 16 * 1024)
        self.trickle(clients, header()[:-1] + b" x='" + b"x" * 1000)
        for client in clients:
            client.expect_refused_header(LATE)

    def test_l1_white_space(self) -> None:
        """White space between stanzas is no sign of somebody who wants to log in."""
        clear, secured, authenticated = self.many(3, 4)
        clear.open()
        secured.secure()
        authenticated.secure()
        authenticated.expect_success(authenticated.authenticate("alice"))
        authenticated.open_again()
        silent = self.connect()
        self.trickle([clear, secured, authenticated], b" \n")
        for client in (clear, secured, authenticated):
            client.expect_end(LATE)
        silent.expect_refused_header(LATE)

    def test_l1_failures(self) -> None:
        """Nor are failed log-ins, and nobody's time begins anew with TLS."""
        client = self.connect()
        client.open()
        time.sleep(1)
        client.send(STARTTLS)
        client.expect(PROCEED)
        client.start_tls()
        client.open()
        self.trickle([client], b" ")
        client.expect_end(LATE)

    def test_l2_connections_of_one_address(self) -> None:
        """Of 200 connections from one address 50 are kept, the others closed unheard; other addresses have theirs."""
        clients = [self.connect("127.5.0.1") for _ in range(200)]
        self.growth = max(self.growth, 50 * 64 * 1024)
        for client in clients:
            client.send(header())
        kept = [client for client in clients if _is_heard(client)]
        self.assertEqual(50, len(kept))
        self.connect("127.5.0.2").log_in("alice").barrier()
        for client in kept:
            client.close()
        # Who leaves makes room.
        self.assertTrue(self.eventually(lambda: _is_heard(self.greeting("127.5.0.1"))))

    def greeting(self, source: str) -> RawClient:
        """A connection that has sent its header."""
        client = self.connect(source)
        client.send(header())
        return client

    def test_l3_dropped_connections(self) -> None:
        """Connections that come and go, at every stage, leave nothing behind."""
        count = 100_000 if LONG else 200
        self.growth = 5 * MiB
        for stage in (self.drop_at_once, self.drop_after_header, self.drop_in_handshake, self.drop_after_failure):
            # What the allocator takes for this once, it has for good.
            for number in range(100):
                stage(number)
            before = self.memory()
            for number in range(count):
                stage(number)
            grown = self.eventually(lambda: self.memory() - before < self.growth)  # noqa: B023 - called at once
            self.assertTrue(grown, f"{stage.__name__}: {(self.memory() - before) / MiB:.1f} MiB more")
            self._memory = self.memory()

    def fresh(self, number: int, *, direct: bool = False) -> RawClient:
        """A connection from an address that is not used much; closed by whoever opened it."""
        port = self.server.tls_port if direct else self.server.port
        return RawClient(port, f"127.6.{number // 250 % 250}.{number % 250 + 1}")

    def drop_at_once(self, number: int) -> None:
        """Connect and be gone; slowly enough for the backlog of the socket."""
        client = self.fresh(number)
        client.send(b"<")
        client.close()

    def drop_after_header(self, number: int) -> None:
        """Connect, open a stream, be gone."""
        client = self.fresh(number)
        client.open()
        client.close()

    def drop_in_handshake(self, number: int) -> None:
        """Connect, begin a handshake, be gone."""
        client = self.fresh(number, direct=True)
        client.send(b"\x16\x03\x01\x02\x00\x01")
        client.close()

    def drop_after_failure(self, number: int) -> None:
        """Connect, fail to log in, be gone."""
        client = self.fresh(number, direct=True)
        client.start_tls()
        client.open()
        client.send(plain(f"nobody{number}", ""))
        client.expect(sasl_failure("malformed-request"))
        client.close()


def _is_heard(client: RawClient) -> bool:
    """Whether the server answers on this connection."""
    try:
        client.receive(b"</stream:features>")
    except AssertionError:
        return False
    return True


class FewDescriptors(Threat):
    """L2, on a machine that lets the server open 256 files."""

    under = ("prlimit", "--nofile=256:256")
    limits = "connections per address = 400"

    def test_l2_file_descriptors(self) -> None:
        """The server stays below what it may open, does not spin, and serves those it has."""
        clients = [self.connect(f"127.7.0.{number % 8 + 1}") for number in range(400)]
        for client in clients:
            client.send(header())
        heard = [client for client in clients if _is_heard(client)]
        # The bystander is one of those whom the server knows to have room for.
        self.assertEqual(256 - 64 - 1, len(heard))
        before = self.cpu()
        time.sleep(1)
        self.assertLess(self.cpu() - before, 0.5)
        for client in clients:
            client.close()
        self.assertTrue(self.eventually(self.lets_in))

    def lets_in(self) -> bool:
        """Whether somebody can log in."""
        try:
            self.connect("127.7.0.99").log_in("alice").barrier()
        except AssertionError:
            return False
        return True


class Clients(Threat):
    """After log-in."""

    limits = "queue size = 256 KiB\nc2s rate = 64 KiB/s\nc2s burst = 16 MiB\nroster items = 20"

    def test_l4_slow_reader(self) -> None:
        """A client that reads no more is cut off when 256 KiB wait for it; whoever wrote to it goes on."""
        alice = self.deaf("u1")
        bob = self.connect().log_in("bob")
        count, size = (10_000, 1_000) if LONG else (1_000, 10_000)
        body = "x" * size
        sent = 0
        while sent < count and self.sessions() > 2:
            for _ in range(count // 10):
                bob.send(MESSAGE.format(alice.jid, sent, body))
                sent += 1
            bob.barrier()
        self.assertLess(sent, count, "10 MB wait for a client that does not read")
        # Its connection is cut: what comes is what was on its way, and no end of the stream.
        self.assertNotIn(b"</stream:stream>", alice.rest())
        self.assertEqual("u1@a.test/again", self.connect().log_in("u1", resource="again").jid)

    def deaf(self, user: str) -> RawClient:
        """An available client whose socket takes little while nobody reads it."""
        client = RawClient(self.server.port, self.source, receive_buffer=4096)
        self.addCleanup(client.close)
        client.log_in(user)
        client.send(b"<presence/>")
        client.element()
        return client

    def sessions(self) -> int:
        """How many clients are logged in."""
        for line in self.server.control("status").splitlines():
            if line.strip().startswith("sessions"):
                return int(line.split()[-1])
        raise AssertionError("the server does not tell how many sessions it has")

    def test_l4_own_answers(self) -> None:
        """Nor does it help to ask, and not to read the answers."""
        alice = self.deaf("u2")
        request = b"<iq type='get' id='%s' to='a.test'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        for _ in range(12):
            alice.send(request % (b"i" * 10_000) * 100)
        self.assertTrue(self.eventually(lambda: self.sessions() == 1))
        self.assertNotIn(b"</stream:stream>", alice.rest())

    def test_l5_floods(self) -> None:
        """Presence that changes all the time and floods of requests are worked off, in order, and others are served."""
        alice = self.connect().log_in("alice")
        flood = b"".join(
            b"<presence><show>%s</show></presence><iq type='get' id='f%d' to='a.test'>"
            b"<query xmlns='http://jabber.org/protocol/disco#info'/></iq>" % (b"away" if number % 2 else b"dnd", number)
            for number in range(100)
        )
        for _ in range(1000 if LONG else 30):
            alice.send(flood)
            seen = 0
            while seen < 100:
                element = alice.element()
                if element.tag.endswith("}iq"):
                    self.assertEqual(f"f{seen}", element.get("id"))
                    seen += 1

    def test_l6_roster(self) -> None:
        """A roster has as many items as the ini says, and names no longer than allowed."""
        alice = self.connect().log_in("alice")

        def add(number: int, attributes: str = "", groups: str = "") -> None:
            alice.send(
                f"<iq type='set' id='r{number}'><query xmlns='jabber:iq:roster'>"
                f"<item jid='c{number}@b.test'{attributes}>{groups}</item></query></iq>"
            )

        for number in range(20):
            add(number)
            self.assertEqual("result", alice.answer(f"r{number}").get("type"))
        add(20)
        self.assertEqual(("wait", "resource-constraint"), condition(alice.answer("r20")))
        for attributes, groups in (
            (f" name='{'n' * 1024}'", ""),
            ("", f"<group>{'g' * 1024}</group>"),
            ("", "".join(f"<group>{number}</group>" for number in range(101))),
            ("", "".join(f"<group>{number:01000}</group>" for number in range(100))),
        ):
            add(0, attributes, groups)
            self.assertEqual(("modify", "not-acceptable"), condition(alice.answer("r0")))

    def test_l7_offline(self) -> None:
        """Of 105 messages to somebody who is away 100 are kept, and each of the others comes back; none is lost."""
        alice = self.connect().log_in("alice")
        for number in range(105):
            alice.send(MESSAGE.format("bob@a.test", f"o{number}", number))
        refused = [alice.answer(f"o{number}") for number in range(100, 105)]
        self.assertEqual([("cancel", "service-unavailable")] * 5, [condition(each) for each in refused])
        bob = self.connect().log_in("bob")
        bob.send(b"<presence/>")
        for number in range(100):
            self.assertEqual(str(number), bob.answer(f"o{number}").findtext("{jabber:client}body"))

    def test_l7_more_than_a_queue_takes(self) -> None:
        """Who finds more in his offline store than may wait for a client gets it all the same, if he reads."""
        alice = self.connect().log_in("alice")
        for number in range(100):
            alice.send(MESSAGE.format("u3@a.test", number, "x" * 10_000))
        alice.barrier()
        reader = self.connect().log_in("u3")
        reader.send(b"<presence/>")
        for number in range(100):
            reader.answer(str(number))


class Defaults(Threat):
    """After log-in, with the limits that everybody has."""

    def test_l5_many_floods(self) -> None:
        """Clients that send all they may at once, and do not even read the answers, do not keep the others waiting."""
        request = b"<iq type='get' id='f' to='a.test'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        clients = [self.connect().log_in(f"u{number}") for number in range(1, 9)]
        # Of each client's queue, which may be 4 MiB, and what the allocator makes of it.
        self.growth = len(clients) * 8 * MiB
        threads = [
            threading.Thread(target=client.send, args=(request * ((1 << 20) // len(request)),)) for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.connect().log_in("alice").barrier()


class Shaped(Threat):
    """L5, with little to send."""

    limits = "c2s rate = 64 KiB/s\nc2s burst = 64 KiB"

    def test_l5_rate(self) -> None:
        """Whoever sends as fast as he can is read as fast as he may; nothing is lost."""
        alice = self.connect().log_in("alice")
        message = MESSAGE.format(alice.jid, "m", "x" * 900)
        count = 256 * 1024 // len(message)
        start = time.monotonic()
        alice.send(*[message] * count)
        for _ in range(count):
            self.assertEqual("m", alice.element().get("id"))
        # 192 KiB above what may be sent at once take three seconds, of which the last piece is not waited for.
        self.assertGreater(time.monotonic() - start, 1.5)


class NothingStays(TestCase):
    """L3, looked at from inside."""

    async def test_l3_objects(self) -> None:
        """Of connections that have gone, whenever they did, no object is left."""
        certificate = leaf("localhost")
        folder = Path(self.mktemp())
        host = MemoryHost("localhost", certificate.pem, certificate.authority_pem, folder, reactor)
        await host.start()
        self.addCleanup(host.stop)
        await host.add_account("alice@localhost", "secret")
        kinds = (XMPPStream, C2SAuthenticator, TLSLayer, Session, Authentication)
        # The traceback of a test that failed before keeps what that test had.
        others = [each for each in gc.get_objects() if isinstance(each, kinds)]
        for number in range(20):
            client = Client("alice", f"alice@localhost/{number}", "secret", host.clock)
            await host.connect(client, tls=number % 4 > 0)
            if number % 4 == 1:
                await open_stream(client)
                client.send(plain("alice", "wrong" if number < 4 else ""))
                await client.next()
            elif number % 4 == 2:
                await log_in(client)
                client.send("<presence/>")
                await client.ping("localhost")
            elif number % 4 == 3:
                await open_stream(client)
                client.send("<message><body>")
            client.abort()
            await client.disconnected()
        del client  # type: ignore[possibly-undefined]
        while host.worker.pulse.streams:
            await deferLater(reactor, 0)
        gc.collect()
        left = [each for each in gc.get_objects() if isinstance(each, kinds)]
        self.assertEqual([], [each for each in left if not any(each is other for other in others)])
        server = host.worker.server
        assert server is not None
        self.assertEqual(
            (0, 0, set()), (server.connections.count, server.directory.session_count, host.worker.pulse.streams)
        )
