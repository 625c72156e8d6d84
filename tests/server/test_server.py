"""The server: binding, conflicts, the end of sessions, accounts and hosts, and facts."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.hooks import on
from chatrix.modules.ping import Ping
from chatrix.modules.time import Time
from chatrix.server.events import AccountDeleted, BecameAvailable, SessionBound, SessionEnded
from chatrix.server.server import Server
from chatrix.xmpp.errors import StanzaError, StreamError
from chatrix.xmpp.jid import JID
from tests.inmemory import FakeStream, Person, a_server, config_of, outline, quiet

JULIET = JID.parse("juliet@example.com")


class Facts:
    """A module that remembers facts, and breaks or waits when told."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate: Deferred[None] | None = None
        self.breaks = False

    def _note(self, text: str) -> object:
        self.seen.append(text)
        if self.breaks:
            raise RuntimeError("inside")
        return None if self.gate is None else self._later(self.gate)

    async def _later(self, gate: Deferred[None]) -> None:
        await gate
        self.seen.append("later")

    @on(SessionBound)
    def bound(self, fact: SessionBound) -> object:
        """A session came."""
        return self._note(f"bound {fact.session.jid}")

    @on(SessionEnded)
    def ended(self, fact: SessionEnded) -> object:
        """A session went."""
        presence = "none" if fact.presence is None else fact.presence.show
        return self._note(f"ended {fact.session.jid} {presence}")

    @on(BecameAvailable)
    def available(self, fact: BecameAvailable) -> object:
        """A session became available."""
        return self._note(f"available {fact.presence.show}")

    @on(AccountDeleted)
    def deleted(self, fact: AccountDeleted) -> object:
        """An account went."""
        return self._note(f"deleted {fact.jid}")


class Binding(TestCase):
    """`Server.bind` (RFC 6120 section 7)."""

    def bind(self, server: Server, wanted: str) -> Person:
        """Bind a resource of Juliet's."""
        return Person(server, f"{JULIET}/{wanted}" if wanted else str(JULIET))

    async def test_names(self) -> None:
        """A client gets the resource it wants, prepared, or one that nobody can guess."""
        server = await a_server(self)
        self.assertEqual("juliet@example.com/bal cony", str(self.bind(server, "bal cony").session.jid))
        ours = {self.bind(server, "").session.jid.resource for _ in range(3)}
        self.assertEqual(3, len(ours))
        self.assertTrue(all(len(name) >= 12 for name in ours))

    async def test_bad_name(self) -> None:
        """What is no resource is refused, and leaves nothing behind."""
        server = await a_server(self)
        for wanted in ("x" * 1024, "tab\tbed", "\ufffe"):
            error = self.assertRaises(StanzaError, server.bind, JULIET, wanted, FakeStream())
            self.assertEqual(("modify", "bad-request"), (error.type, error.condition))
        self.assertIsNone(server.directory.account(JULIET))

    async def test_replace(self) -> None:
        """By default the new session takes over, and the old one's stream ends with conflict (section 7.7.2.2)."""
        facts = Facts()
        server = await a_server(self, extra=facts)
        old = self.bind(server, "a")
        new = self.bind(server, "a")
        self.assertEqual("conflict", getattr(old.stream.error, "condition", None))
        self.assertIs(new.session, server.directory.session(new.session.jid))
        self.assertEqual(1, server.directory.session_count)
        self.assertEqual([f"bound {JULIET}/a", f"ended {JULIET}/a none", f"bound {JULIET}/a"], facts.seen)
        old.leaves()
        self.assertEqual(1, server.directory.session_count)

    async def test_refuse(self) -> None:
        """`conflict = refuse`: the new session gets conflict, the old one stays."""
        server = await a_server(self, config_of(host="conflict = refuse"))
        old = self.bind(server, "a")
        error = self.assertRaises(StanzaError, self.bind, server, "a")
        self.assertEqual(("cancel", "conflict"), (error.type, error.condition))
        self.assertFalse(old.stream.closed)
        self.assertIs(old.session, server.directory.session(old.session.jid))

    async def test_rename(self) -> None:
        """`conflict = rename`: both stay, the new one under a name of ours."""
        server = await a_server(self, config_of(host="conflict = rename"))
        old, new = self.bind(server, "a"), self.bind(server, "a")
        self.assertFalse(old.stream.closed)
        self.assertNotEqual("a", new.session.jid.resource)
        self.assertEqual(2, server.directory.session_count)

    async def test_too_many(self) -> None:
        """An account has only so many sessions; one more is refused, unless it replaces another."""
        server = await a_server(self, config_of(limits="sessions per account = 2"))
        first = self.bind(server, "a")
        self.bind(server, "b")
        error = self.assertRaises(StanzaError, self.bind, server, "c")
        self.assertEqual(("wait", "resource-constraint"), (error.type, error.condition))
        self.bind(server, "a")
        self.assertTrue(first.stream.closed)
        self.assertEqual(2, server.directory.session_count)
        Person(server, "romeo@example.com/a")

    async def test_host_gone(self) -> None:
        """Who logged in on a host that has left the ini since is told so."""
        server = await a_server(self, config_of(hosts=("example.com", "else.where")))
        server.configure(config_of())
        server.close_host("else.where")
        error = self.assertRaises(StreamError, server.bind, JID.parse("a@else.where"), "", FakeStream())
        self.assertEqual("host-gone", error.condition)

    async def test_again(self) -> None:
        """A session cannot bind once more; the old `session` request means nothing and is granted."""
        server = await a_server(self)
        juliet = self.bind(server, "a")
        await juliet.tell("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        await juliet.tell("<iq type='set' id='2'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
        await juliet.tell(
            "<iq type='set' id='3' to='example.com'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"
        )
        self.assertEqual(
            [("1", "error"), ("2", "result"), ("3", "result")], [(each.id, each.type) for each in juliet.got()]
        )


class Ending(TestCase):
    """The end of sessions, accounts, hosts and the server."""

    async def test_told_once(self) -> None:
        """A session ends once, with the presence that it had."""
        facts = Facts()
        server = await a_server(self, extra=facts)
        juliet = Person(server, "juliet@example.com/a")
        await juliet.comes_online("<presence><show>away</show></presence>")
        juliet.leaves()
        server.end(juliet.session)
        await quiet()
        self.assertEqual([f"bound {JULIET}/a", "available away", f"ended {JULIET}/a away"], facts.seen)
        self.assertIsNone(server.directory.account(JULIET))

    async def test_account_deleted(self) -> None:
        """All sessions of a deleted account are closed, no other's; then the modules learn it."""
        facts = Facts()
        server = await a_server(self, extra=facts)
        people = [Person(server, jid) for jid in (f"{JULIET}/a", f"{JULIET}/b", "romeo@example.com/c")]
        server.account_deleted(JULIET)
        self.assertEqual([True, True, False], [person.stream.closed for person in people])
        self.assertEqual(f"deleted {JULIET}", facts.seen[-1])

    async def test_host(self) -> None:
        """The sessions of a host that is gone are closed, no other's."""
        server = await a_server(self, config_of(hosts=("example.com", "else.where")), accounts=["a@else.where"])
        here, there = Person(server, f"{JULIET}/a"), Person(server, "a@else.where/b")
        server.close_host("else.where")
        self.assertEqual("host-gone", getattr(there.stream.error, "condition", None))
        self.assertFalse(here.stream.closed)
        self.assertFalse(server.directory.serves("else.where"))
        server.close_host("never.was")

    async def test_all(self) -> None:
        """When the server stops, everybody is told."""
        server = await a_server(self)
        people = [Person(server, jid) for jid in (f"{JULIET}/a", f"{JULIET}/b", "romeo@example.com/c")]
        server.close_all(StreamError("system-shutdown"))
        self.assertEqual(
            ["system-shutdown"] * 3, [getattr(person.stream.error, "condition", None) for person in people]
        )
        self.assertEqual(0, server.directory.session_count)


class Occurring(TestCase):
    """`Server.occurred`."""

    async def test_breaks(self) -> None:
        """A module that breaks on a fact harms nobody."""
        facts = Facts()
        server = await a_server(self, extra=facts)
        facts.breaks = True
        juliet = Person(server, "juliet@example.com/a")
        await juliet.comes_online()
        juliet.leaves()
        await quiet()
        self.assertEqual(3, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual(3, len(facts.seen))

    async def test_waits(self) -> None:
        """A module may wait; the session does not wait with it."""
        facts = Facts()
        server = await a_server(self, extra=facts)
        facts.gate = Deferred()
        juliet = Person(server, "juliet@example.com/a")
        juliet.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual(["result"], [each.type for each in juliet.got()])
        self.assertEqual(1, len(facts.seen))
        facts.gate.callback(None)
        await quiet()
        self.assertEqual("later", facts.seen[1])


class Telling(TestCase):
    """Modules by class, and what the server says that it can do."""

    async def test_modules(self) -> None:
        """A module is found by its class, if it is enabled."""
        server = await a_server(self, config_of(modules="disco ping"))
        self.assertIsInstance(server.module(Ping), Ping)
        self.assertIsNone(server.module(Time))

    async def test_features(self) -> None:
        """Features are those of the enabled modules, each once, sorted."""
        server = await a_server(self, config_of(modules="ping disco roster"))
        self.assertEqual(
            ["http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items", "urn:xmpp:ping"],
            server.features(),
        )
        self.assertIn("jabber:iq:roster", server.account_features())
        self.assertEqual(["ver"], [element.name for element in server.stream_features()])

    async def test_configure(self) -> None:
        """New limits hold at once, new hosts are served, and what was counted stays counted."""
        server = await a_server(self, config_of(limits="connections per address = 1"))
        self.assertEqual([True, False], [server.connections.admit("a") for _ in range(2)])
        server.configure(config_of(limits="connections per address = 2", hosts=("example.com", "else.where")))
        self.assertEqual([True, False], [server.connections.admit("a") for _ in range(2)])
        self.assertEqual(["example.com", "else.where"], list(server.hosts))
        self.assertTrue(server.directory.serves("else.where"))

    async def test_admins(self) -> None:
        """An admin is one of this host, with whatever resource."""
        more = "[host else.where]\ncertificate = host.pem\nadmins = juliet@else.where"
        server = await a_server(self, config_of(host="admins = juliet@example.com", more=more))
        host = server.hosts["example.com"]
        self.assertTrue(host.is_admin(JID.parse("juliet@example.com/x")))
        self.assertFalse(host.is_admin(JID.parse("juliet@else.where")))
        self.assertFalse(host.is_admin(JID.parse("romeo@example.com")))


class Outlined(TestCase):
    """The harness itself: what it says of a stanza."""

    async def test_outline(self) -> None:
        """An error is told by its condition, everything else by its `to`."""
        juliet = Person(await a_server(self), "juliet@example.com/a")
        await juliet.tell("<iq type='get' id='1' to='example.com'><unknown xmlns='urn:x'/></iq>")
        await juliet.tell("<message to='juliet@example.com/a'/>")
        self.assertEqual(
            [("iq", "error", "example.com", "service-unavailable"),
             ("message", "", "juliet@example.com/a", "juliet@example.com/a")],
            list(map(outline, juliet.got())),
        )  # fmt: skip
