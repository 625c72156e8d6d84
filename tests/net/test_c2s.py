"""The door for clients, in memory: features, time-outs by a clock of ours, the end of streams, holding and limits."""

from __future__ import annotations

import base64
import gc
import weakref
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from lxml import etree
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from chatrix.config.load import Config
from chatrix.net.c2s import C2S, CLOSING_TIME
from chatrix.net.certificates import Certificates
from chatrix.net.pulse import SILENCE_PERIOD, Pulse
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.testing.client import Client, error_condition, is_stream_error
from chatrix.testing.login import NS_SASL, NS_TLS, log_in, open_stream
from chatrix.testing.pipe import Here, join
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.sasl.keys import ScramKeys, derive_all
from tests.certificates import leaf
from tests.inmemory import a_server, config_of, quiet

HOSTS = ("example.com", "else.where")
PING = "<iq type='get' id='{}'><ping xmlns='urn:xmpp:ping'/></iq>"
FOOTER = "</stream:stream>"


@lru_cache(maxsize=1)
def secret_keys() -> tuple[ScramKeys, ...]:
    """The keys of the password "secret"."""
    return derive_all("secret")


class SteppedReactor:
    """The real reactor, but for its time: that only passes when a test says so."""

    def __init__(self) -> None:
        self.clock = Clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(_reactor, name)

    def seconds(self) -> float:
        """The time that the test says it is."""
        return self.clock.seconds()

    def callLater(self, delay: float, call: Callable[..., object], *arguments: Any, **named: Any) -> Any:
        """What waits for the end of the turn is called then; the rest when the test says so."""
        later = self.clock if delay > 0 else _reactor
        return later.callLater(delay, call, *arguments, **named)


async def turns(count: int = 20) -> None:
    """Let the reactor do what it has to do."""
    for _ in range(count):
        await deferLater(_reactor, 0)


class Address:
    """Where a client comes from."""

    def __init__(self, host: str) -> None:
        self.host = host


class C2SCase(TestCase):
    """A server with a door, and clients at it."""

    timeout = 20

    async def begin(self, config: Config | None = None, direct: bool = False) -> Server:
        """Open the door."""
        self.reactor = SteppedReactor()
        self.server = await a_server(
            self, config or config_of(hosts=HOSTS), ("juliet@example.com", "romeo@example.com", "paris@else.where")
        )
        for account in ("juliet@example.com", "romeo@example.com", "paris@else.where"):
            jid = JID.parse(account)
            await self.server.accounts.store.replace_keys(jid.local, jid.domain, secret_keys())
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        sources = {}
        for host in self.server.hosts:
            sources[host] = folder / f"{host}.pem"
            sources[host].touch(0o600)
            sources[host].write_bytes(leaf(host).pem)
        certificates = Certificates(sources)
        self.assertEqual([], certificates.reload())
        self.pulse = Pulse(self.reactor)  # type: ignore[arg-type]
        self.pulse.start()
        self.addCleanup(self.pulse.stop)
        self.door = C2S(self.server, certificates, self.pulse, self.reactor, direct)  # type: ignore[arg-type]
        self.clients: list[Client] = []
        self.addCleanup(self.leave)
        return self.server

    async def leave(self) -> None:
        """Cut all connections; every one must be forgotten."""
        for client in self.clients:
            client.abort()
            await client.gone
        await turns()
        self.assertEqual((0, set(), set()), (self.server.connections.count, self.pulse.streams, self.pulse.opening))

    def connect(self, jid: str = "juliet@example.com/b", shakes_hands: bool = True) -> Client:
        """A client that is connected."""
        client = Client(jid, jid, "secret", _reactor)
        protocol = self.door.buildProtocol(Here())
        assert protocol is not None
        near = join(client, protocol, self.reactor)  # type: ignore[arg-type]
        options = optionsForClientTLS(client.domain, trustRoot=Certificate.loadPEM(leaf("x").authority_pem))
        client.encrypt = partial(near.start_tls, options)
        if self.door.direct and shakes_hands:
            client.start_tls()
        self.clients.append(client)
        return client

    async def bound(self, jid: str = "juliet@example.com/b") -> Client:
        """A client that is logged in."""
        client = self.connect(jid)
        await log_in(client)
        return client

    async def secured(self) -> Client:
        """A client behind STARTTLS, with the features of its stream taken."""
        client = self.connect()
        await open_stream(client)
        client.send(f"<starttls xmlns='{NS_TLS}'/>")
        await client.next()
        client.start_tls()
        await open_stream(client)
        return client

    async def pass_time(self, seconds: int) -> None:
        """Let the time pass, second by second."""
        for _ in range(seconds):
            self.reactor.clock.advance(1)
            await turns(3)
        await turns()

    async def closed_with(self, client: Client, condition: str) -> None:
        """The stream must end with this error."""
        element = await client.next()
        self.assertTrue(is_stream_error(element), etree.tostring(element))
        self.assertEqual(condition, error_condition(element))
        await client.stream_closed()


def names(features: etree._Element) -> list[str]:
    """What is offered, in order."""
    return [str(etree.QName(child).localname) for child in features]


def plain(name: str, password: str = "secret") -> str:
    """A whole log-in with PLAIN."""
    payload = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
    return f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{payload}</auth>"


class Opening(C2SCase):
    """Headers and features."""

    async def test_features(self) -> None:
        """Each stream offers what can come next, in the recommended order (XEP-0170), and tells its limits."""
        await self.begin(config_of(modules="roster presence subscription", hosts=HOSTS))
        client = self.connect()
        features = await open_stream(client)
        self.assertEqual(["starttls", "limits"], names(features))
        self.assertEqual(["8192", "30"], [each.text for each in features[1]])
        client.send(f"<starttls xmlns='{NS_TLS}'/>")
        await client.next()
        client.start_tls()
        features = await open_stream(client)
        self.assertEqual(["mechanisms", "sasl-channel-binding", "limits"], names(features))
        client.send(plain("juliet"))
        await client.next()
        features = await open_stream(client)
        self.assertEqual(["bind", "session", "ver", "sub", "limits"], names(features))
        self.assertEqual(["262144", "600"], [each.text for each in features[-1]])

    async def test_header(self) -> None:
        """Our header answers theirs: declaration first, a new id each time, `to` for who said who he is."""
        await self.begin()
        ids = set()
        for claimed in ("", "from='juliet@example.com'"):
            client = self.connect()
            client.send(
                "<?xml version='1.0'?><stream:stream to='EXAMPLE.com' version='1.0' xmlns='jabber:client' "
                f"xmlns:stream='http://etherx.jabber.org/streams' {claimed}>"
            )
            header = await client.next()
            self.assertTrue(client.reader.declared)
            self.assertEqual("example.com", header.get("from"))
            self.assertEqual("1.0", header.get("version"))
            self.assertEqual("juliet@example.com" if claimed else None, header.get("to"))
            ids.add(header.get("id"))
        self.assertEqual(2, len(ids))

    async def test_header_twice(self) -> None:
        """A second header without a reason ends the stream."""
        await self.begin()
        client = self.connect()
        await open_stream(client)
        client.send("<stream:stream to='example.com' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>")
        element = await client.next()
        self.assertTrue(is_stream_error(element))
        await client.stream_closed()

    async def test_hosts(self) -> None:
        """Several hosts live in one process, each with its accounts; no account is on two of them."""
        await self.begin()
        juliet, paris = await self.bound(), await self.bound("paris@else.where/p")
        self.assertEqual("paris@else.where/p", paris.jid)
        juliet.send("<message to='paris@else.where/p'><body>hi</body></message>")
        self.assertEqual("juliet@example.com/b", (await paris.next()).get("from"))
        wrong = self.connect("juliet@else.where/b")
        await open_stream(wrong)
        wrong.send(f"<starttls xmlns='{NS_TLS}'/>")
        await wrong.next()
        wrong.start_tls()
        await open_stream(wrong)
        wrong.send(plain("juliet"))
        self.assertEqual("not-authorized", error_condition(await wrong.next()))

    async def test_direct_tls(self) -> None:
        """With TLS from the first byte the first features are those of a stream under TLS (XEP-0368)."""
        await self.begin(direct=True)
        client = self.connect()
        self.assertIn("mechanisms", names(await open_stream(client)))
        await log_in(self.connect("romeo@example.com/o"))


class Refusing(C2SCase):
    """Who does not get in, or not any further."""

    async def test_too_many(self) -> None:
        """Connections over the limit are closed unheard; when one leaves another may come."""
        await self.begin(config_of(limits="connections per address = 2"))
        protocols = [self.door.buildProtocol(Address("192.0.2.1")) for _ in range(3)]  # type: ignore[arg-type]
        self.assertEqual([False, False, True], [each is None for each in protocols])
        self.assertIsNotNone(self.door.buildProtocol(Address("192.0.2.2")))  # type: ignore[arg-type]
        self.server.connections.leave("192.0.2.1")
        self.assertIsNotNone(self.door.buildProtocol(Address("192.0.2.1")))  # type: ignore[arg-type]
        for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            self.server.connections.leave(peer)

    async def test_banned(self) -> None:
        """A banned origin is closed unheard, and let in when the ban is over."""
        await self.begin(config_of(limits="auth failures = 1\nban time = 60 s"))
        self.server.failures.failed("192.0.2.1", "x", self.reactor.seconds())
        self.assertIsNone(self.door.buildProtocol(Address("192.0.2.1")))  # type: ignore[arg-type]
        await self.pass_time(61)
        self.assertIsNotNone(self.door.buildProtocol(Address("192.0.2.1")))  # type: ignore[arg-type]
        self.server.connections.leave("192.0.2.1")

    async def test_limits_after_reload(self) -> None:
        """New limits hold for the next connection, and are advertised."""
        await self.begin()
        self.server.configure(config_of(limits="stanza size before log in = 9KiB", hosts=HOSTS))
        features = await open_stream(self.connect())
        self.assertEqual("9216", features[1][0].text)

    async def test_resource_conflict(self) -> None:
        """A client that gets conflict for its resource may ask for another on the same stream."""
        await self.begin(config_of(host="conflict = refuse"))
        await self.bound()
        client = await self.secured()
        client.send(plain("juliet"))
        await client.next()
        await open_stream(client)
        resource = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{0}</resource></bind>"
        bind = "<iq type='set' id='{0}'>" + resource + "</iq>"
        client.send(bind.format("b"))
        answer = await client.next()
        self.assertEqual(("error", "b"), (answer.get("type"), answer.get("id")))
        client.send(bind.format("c"))
        self.assertEqual("result", (await client.next()).get("type"))

    async def test_replaced(self) -> None:
        """The old session of a resource is told `conflict`, and its connection ends."""
        await self.begin()
        old = await self.bound()
        new = await self.bound()
        await self.closed_with(old, "conflict")
        await old.disconnected()
        new.send(PING.format(1))
        self.assertEqual("result", (await new.next()).get("type"))

    async def test_host_gone(self) -> None:
        """A host that leaves the ini takes its sessions along, and those who are about to bind."""
        await self.begin()
        bound, late = await self.bound("paris@else.where/p"), self.connect("paris@else.where/q")
        await open_stream(late)
        late.send(f"<starttls xmlns='{NS_TLS}'/>")
        await late.next()
        late.start_tls()
        await open_stream(late)
        late.send(plain("paris"))
        await late.next()
        await open_stream(late)
        self.server.configure(config_of())
        self.server.close_host("else.where")
        await self.closed_with(bound, "host-gone")
        late.send("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        await self.closed_with(late, "host-gone")


class Times(C2SCase):
    """Time-outs, by a clock that stands still until it is told not to."""

    async def test_log_in(self) -> None:
        """Who has no resource after the log-in time is sent away, wherever he stands; a silent one gets a header."""
        await self.begin()
        silent, opened, secured = self.connect(), self.connect(), await self.secured()
        await open_stream(opened)
        await self.pass_time(29)
        self.assertEqual([], silent.inbox + opened.inbox + secured.inbox)
        await self.pass_time(1)
        self.assertEqual("stream", etree.QName(await silent.next()).localname)
        for client in (silent, opened, secured):
            await self.closed_with(client, "connection-timeout")

    async def test_bound(self) -> None:
        """Who is bound has all the time of the world."""
        await self.begin()
        client = await self.bound()
        await self.pass_time(60)
        client.send(PING.format(1))
        self.assertEqual("result", (await client.next()).get("type"))

    async def test_handshake(self) -> None:
        """A handshake that does not go on is cut off, with STARTTLS and without."""
        await self.begin()
        client = self.connect()
        await open_stream(client)
        client.send(f"<starttls xmlns='{NS_TLS}'/>")
        await client.next()
        await self.pass_time(9)
        self.assertIsNone(client.lost)
        await self.pass_time(1)
        await client.disconnected()
        self.door.direct = True
        silent = self.connect(shakes_hands=False)
        await self.pass_time(10)
        await silent.disconnected()

    async def test_idle(self) -> None:
        """A silent client is asked whether it is there; one that says nothing is given up, its session too."""
        await self.begin(config_of(limits="idle time = 60 s"))
        client = await self.bound()
        await self.pass_time(60 - 1)
        self.assertEqual([], client.inbox)
        await self.pass_time(SILENCE_PERIOD + 1)
        ping = await client.next()
        self.assertEqual(("get", client.jid, "example.com"), (ping.get("type"), ping.get("to"), ping.get("from")))
        self.assertEqual("{urn:xmpp:ping}ping", ping[0].tag)
        await self.pass_time(2 * SILENCE_PERIOD)
        await self.closed_with(client, "connection-timeout")
        self.assertEqual(0, self.server.directory.session_count)

    async def test_alive(self) -> None:
        """Whoever answers, or only sends white space now and then, stays."""
        await self.begin(config_of(limits="idle time = 60 s"))
        client, quiet_one = await self.bound(), await self.bound("romeo@example.com/o")
        for _ in range(3):
            for _ in range(5):
                await self.pass_time(SILENCE_PERIOD)
                quiet_one.send(" ")
                await turns()
            while client.inbox:
                ping = await client.next()
                client.send(f"<iq type='result' id='{ping.get('id')}' to='example.com'/>")
                await turns()
        self.assertEqual([], quiet_one.inbox)
        for each in (client, quiet_one):
            each.send(PING.format("p"))
            self.assertEqual("p", (await each.next()).get("id"))


class Closing(C2SCase):
    """The end of a stream, from both sides."""

    async def test_client_closes(self) -> None:
        """Their end tag is answered with ours and the end of the connection; the session is over."""
        await self.begin()
        client = await self.bound()
        client.send(PING.format(1) + FOOTER)
        self.assertEqual("1", (await client.next()).get("id"))
        await client.stream_closed()
        await client.disconnected()
        self.assertEqual(0, self.server.directory.session_count)

    async def test_we_close(self) -> None:
        """A client that does not close its side, after we have closed ours, is cut off a little later."""
        await self.begin()
        client = await self.bound()
        protocol = next(iter(self.pulse.streams))
        self.server.close_all(StreamError("system-shutdown"))
        self.assertEqual(0, self.server.directory.session_count)
        await self.closed_with(client, "system-shutdown")
        self.assertNotIn(protocol, self.pulse.opening - self.pulse.streams)
        await self.pass_time(CLOSING_TIME)
        await client.disconnected()

    async def test_lost(self) -> None:
        """A connection that is cut ends its session."""
        await self.begin()
        client = await self.bound()
        client.abort()
        await client.gone
        await turns()
        self.assertEqual(0, self.server.directory.session_count)

    async def test_nothing_stays(self) -> None:
        """Of a connection that ended nothing stays in memory."""
        await self.begin()
        client = await self.bound()
        session = self.server.directory.session(JID.parse(client.jid))
        assert session is not None
        stream = weakref.ref(session.stream)
        del session
        await client.close()
        await quiet()
        await turns()
        gc.collect()
        self.assertIsNone(stream())

    async def test_after_the_end(self) -> None:
        """What a client sends after we have closed the stream is not even looked at."""
        await self.begin()
        client = await self.secured()
        await self.pass_time(30)
        asked: list[object] = []
        self.patch(self.server.accounts, "keys", lambda *given: asked.append(given))
        client.send(plain("juliet"))
        await self.closed_with(client, "connection-timeout")
        await turns()
        self.assertEqual([], asked)


class Holding(C2SCase):
    """Log-ins that wait for the database."""

    async def gated(self) -> tuple[Client, list[Deferred[None]]]:
        """A client before its log-in, and the gates at which the database makes each log-in wait."""
        await self.begin()
        client = await self.secured()
        gates: list[Deferred[None]] = []
        keys = self.server.accounts.keys

        async def slow_keys(jid: JID, hashes: Any) -> Any:
            gates.append(Deferred())
            await gates[-1]
            return await keys(jid, hashes)

        self.patch(self.server.accounts, "keys", slow_keys)
        return client, gates

    async def test_order(self) -> None:
        """What arrives while a log-in waits is worked off after it, one by one, in its order."""
        client, gates = await self.gated()
        client.send(plain("juliet", "wrong"))
        await turns()
        client.send(plain("juliet", "wrong too"))
        await turns()
        self.assertEqual(1, len(gates))
        gates[0].callback(None)
        self.assertEqual("failure", etree.QName(await client.next()).localname)
        while len(gates) < 2:
            await turns(1)
        client.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AA==</response>" + plain("juliet"))
        await turns()
        self.assertEqual([], client.inbox)
        gates[1].callback(None)
        for expected in ("failure", "failure"):
            self.assertEqual(expected, etree.QName(await client.next()).localname)
        while len(gates) < 3:
            await turns(1)
        gates[2].callback(None)
        self.assertEqual("success", etree.QName(await client.next()).localname)

    async def test_account_changed(self) -> None:
        """Whoever is about to log in, or has logged in and not bound a resource, goes with the account's sessions."""
        client, gates = await self.gated()
        client.send(plain("juliet"))
        await turns()
        self.server.end_sessions(JID.parse("juliet@example.com"), StreamError("not-authorized"))
        gates[0].callback(None)
        self.assertEqual("error", etree.QName(await client.next()).localname)
        await client.gone
        self.assertEqual({}, self.server._opening)

    async def test_gone(self) -> None:
        """A client that goes in the middle of its log-in leaves neither an error in the log nor a session."""
        client, gates = await self.gated()
        client.send(plain("juliet"))
        await turns()
        client.abort()
        await client.gone
        await turns()
        gates[0].callback(None)
        await quiet()
        self.assertEqual([], self.flushLoggedErrors())
        self.assertEqual(0, self.server.directory.session_count)

    async def test_timeout(self) -> None:
        """A log-in that the database does not answer in time ends with the log-in time."""
        client, gates = await self.gated()
        client.send(plain("juliet"))
        await turns()
        await self.pass_time(30)
        await self.closed_with(client, "connection-timeout")
        gates[0].callback(None)
        await quiet()
        self.assertEqual([], client.inbox)

    async def test_database_gone(self) -> None:
        """When the database fails the client is told to come back, is not counted as a failure, and may try again."""
        await self.begin(config_of(limits="auth failures = 1", hosts=HOSTS))
        client = await self.secured()
        keys = self.server.accounts.keys

        async def fail(*_: object) -> Any:
            raise DatabaseError("gone")

        self.patch(self.server.accounts, "keys", fail)
        client.send(plain("juliet"))
        self.assertEqual("temporary-auth-failure", error_condition(await client.next()))
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
        self.patch(self.server.accounts, "keys", keys)
        client.send(plain("juliet"))
        self.assertEqual("success", etree.QName(await client.next()).localname)


class Allowing(C2SCase):
    """The rate of a client (XEP-0205's advice)."""

    async def test_pause(self) -> None:
        """A client that sends more than its allowance waits until that is even again, and loses nothing."""
        await self.begin(config_of(limits="c2s rate = 1 KiB/s\nc2s burst = 16KiB"))
        client = await self.bound()
        body = "x" * 1000
        for count in range(100):
            client.send(f"<message id='{count}' to='{client.jid}'><body>{body}</body></message>")
        client.send(PING.format("late"))
        arrived = []
        for _ in range(4):
            await self.pass_time(10)
            arrived.append(len(client.inbox))
        self.assertGreater(arrived[0], 10)
        self.assertLess(arrived[-1], 80)
        self.assertEqual(sorted(arrived), arrived)
        await self.pass_time(90)
        ids = [(await client.next()).get("id") for _ in range(101)]
        self.assertEqual([*map(str, range(100)), "late"], ids)

    async def test_gone(self) -> None:
        """A client that goes while it waits leaves nothing in the clock."""
        await self.begin(config_of(limits="c2s rate = 1 KiB/s\nc2s burst = 16KiB"))
        client = await self.bound()
        client.send(f"<message id='1' to='{client.jid}'><body>{'x' * 40_000}</body></message>")
        await turns()
        self.assertEqual(2, len(self.reactor.clock.getDelayedCalls()))
        client.abort()
        await client.gone
        await turns()
        self.assertEqual(1, len(self.reactor.clock.getDelayedCalls()), "only the pulse is left")
