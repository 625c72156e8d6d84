"""Messages for who is away: what is kept, the limit, the order, each once, and a database that fails."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.modules import offline
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.jid import JID
from tests.inmemory import Person, a_server, config_of, outline, quiet

ROMEO = "romeo@example.com"
SOON = "<presence/>"


def chat(body: str, more: str = "", type_: str = "chat") -> str:
    """A message to Romeo."""
    return f"<message to='{ROMEO}' type='{type_}' id='{body}'><body>{body}</body>{more}</message>"


class OfflineCase(TestCase):
    """Juliet writes to Romeo, who is away."""

    async def begin(self, limit: int = 100) -> tuple[Server, Person]:
        """The server and Juliet."""
        server = await a_server(self, config_of(more=f"[module offline]\nmessages = {limit}\n"))
        return server, Person(server, "juliet@example.com/balcony")

    async def waiting(self, server: Server) -> int:
        """How many messages wait for Romeo."""
        return await server.offline.count(ROMEO)

    async def arrives(self, server: Server, resource: str = "orchard", presence: str = SOON) -> Person:
        """Romeo comes online."""
        romeo = Person(server, f"{ROMEO}/{resource}")
        await romeo.tell(presence)
        return romeo

    async def slow(self, server: Server) -> list[Deferred[None]]:
        """Let the database answer `take` only when told: each call adds a gate."""
        gates: list[Deferred[None]] = []
        take = server.offline.take

        async def slow_take(account: str, after: int = 0, limit: int = 100) -> Any:
            messages = await take(account, after, limit)
            gates.append(Deferred())
            await gates[-1]
            return messages

        self.patch(server.offline, "take", slow_take)
        return gates


class Kept(OfflineCase):
    """What is kept, and for whom."""

    async def test_order(self) -> None:
        """All messages come in their order, stamped by the host, once, before anything newer."""
        server, juliet = await self.begin()
        for number in range(3):
            await juliet.tell(chat(f"old {number}"))
        romeo = await self.arrives(server)
        await juliet.tell(chat("new"))
        messages = [each for each in romeo.got() if each.name == "message"]
        self.assertEqual(["old 0", "old 1", "old 2", "new"], [each.id for each in messages])
        delays = [each.child("urn:xmpp:delay", "delay") for each in messages]
        self.assertEqual([True, True, True, False], [delay is not None for delay in delays])
        for delay in delays[:3]:
            assert delay is not None
            self.assertEqual("example.com", delay.get("from"))
            self.assertRegex(delay.get("stamp") or "", r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(["juliet@example.com/balcony"] * 4, [each.attributes["from"] for each in messages])
        self.assertEqual(0, await self.waiting(server))
        romeo.leaves()
        self.assertEqual([], (await self.arrives(server)).bodies())

    async def test_limit(self) -> None:
        """The message over the limit bounces, and those that wait are not lost for it."""
        server, juliet = await self.begin(limit=2)
        for number in range(3):
            await juliet.tell(chat(f"m{number}"))
        (error,) = juliet.got()
        self.assertEqual(("m2", "service-unavailable"), (error.id, outline(error)[-1]))
        self.assertIn(b"too many messages wait", error.inner)
        self.assertEqual(["m0", "m1"], (await self.arrives(server)).bodies())

    async def test_unchanged(self) -> None:
        """What was inside a message comes out of the database as it went in, whatever its namespaces and text."""
        server, juliet = await self.begin()
        inside = "<x xmlns='urn:x' a='&lt;&apos;&quot;'><y xmlns='urn:y'>\u00e4 &amp; \U0001f98a</y><z/></x>"
        await juliet.tell(chat("body", inside))
        (message,) = [each for each in (await self.arrives(server)).got() if each.name == "message"]
        self.assertIn(("urn:x", "x"), message.children)
        found = message.child("urn:x", "x")
        assert found is not None
        self.assertEqual("<'\"", found.get("a"))
        self.assertEqual("\u00e4 & \U0001f98a", found.text_of("urn:y", "y"))
        self.assertEqual([("urn:y", "y"), ("urn:x", "z")], [(each.namespace, each.name) for each in _children(found)])

    async def test_not_kept(self) -> None:
        """Chat states alone, and what asks not to be stored, are dropped silently (XEP-0160, XEP-0334)."""
        server, juliet = await self.begin()
        for inside in (
            "<active xmlns='http://jabber.org/protocol/chatstates'/>",
            "<thread>t</thread><composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<body>b</body><no-store xmlns='urn:xmpp:hints'/>",
            "<body>b</body><no-store xmlns='urn:xmpp:hints'/><store xmlns='urn:xmpp:hints'/>",
        ):
            await juliet.tell(f"<message to='{ROMEO}' type='chat'>{inside}</message>")
        self.assertEqual(([], 0), (juliet.got(), await self.waiting(server)))

    async def test_kept_with_more(self) -> None:
        """A chat state beside a body or a hint, a receipt, an empty message, what no archive may keep: all wait."""
        server, juliet = await self.begin()
        state = "<active xmlns='http://jabber.org/protocol/chatstates'/>"
        await juliet.tell(chat("body", state))
        await juliet.tell(chat("secret", "<no-permanent-store xmlns='urn:xmpp:hints'/>"))
        for inside in (f"{state}<store xmlns='urn:xmpp:hints'/>", "<received xmlns='urn:xmpp:receipts' id='1'/>", ""):
            await juliet.tell(f"<message to='{ROMEO}'>{inside}</message>")
        self.assertEqual(5, await self.waiting(server))

    async def test_one_delay(self) -> None:
        """What has the host's delay already gets no second one; anybody else's says something else."""
        server, juliet = await self.begin()
        for by in ("example.com", "else.where"):
            await juliet.tell(chat(by, f"<delay xmlns='urn:xmpp:delay' from='{by}' stamp='2002-09-10T23:08:25Z'/>"))
        messages = [each for each in (await self.arrives(server)).got() if each.name == "message"]
        delays = [
            [child.get("from") for child in iter(each.tree) if child.name == "delay"] for each in messages
        ]  # fmt: skip
        self.assertEqual([["example.com"], ["else.where", "example.com"]], delays)

    async def test_damaged(self) -> None:
        """A row that is no message any more does not keep the others back."""
        server, juliet = await self.begin()
        for raw in (b"<message", b"<foo/>", b"<message from='@'/>"):
            await server.offline.append(ROMEO, raw, 1)
        await juliet.tell(chat("whole"))
        self.assertEqual(["whole"], (await self.arrives(server)).bodies())
        self.assertEqual(0, await self.waiting(server))
        self.assertEqual(3, len(self.flushLoggedErrors()))

    async def test_age(self) -> None:
        """With an age in the ini, what is older is forgotten while the server runs; without, nothing is."""
        for option, left in (("", 2), ("age = 1 d\n", 1)):
            server = await a_server(self, config_of(more=f"[module offline]\n{option}"))
            juliet = Person(server, "juliet@example.com/balcony")
            await server.offline.append(ROMEO, b"<message/>", 1)
            await juliet.tell(chat("new"))
            await server.modules["offline"].start()
            await quiet()
            await server.modules["offline"].stop()
            self.assertEqual(left, await self.waiting(server))

    async def test_types(self) -> None:
        """Normal and chat are kept; groupchat bounces; headline and error are gone."""
        server, juliet = await self.begin()
        for type_ in ("normal", "chat", "groupchat", "headline", "error"):
            await juliet.tell(chat(type_, type_=type_))
        self.assertEqual(["groupchat"], [each.id for each in juliet.got()])
        self.assertEqual(["normal", "chat"], (await self.arrives(server)).bodies())

    async def test_negative_priority(self) -> None:
        """A session with a negative priority gets nothing until it wants to (RFC 6121 section 8.5.2.1.1)."""
        server, juliet = await self.begin()
        romeo = await self.arrives(server, presence="<presence><priority>-1</priority></presence>")
        await juliet.tell(chat("m"))
        self.assertEqual([], romeo.bodies())
        await romeo.tell("<presence><priority>0</priority></presence>")
        self.assertEqual(["m"], romeo.bodies())
        await romeo.tell("<presence><show>away</show></presence>")
        self.assertEqual([], romeo.bodies())

    async def test_no_account(self) -> None:
        """For nobody nothing is kept, silently."""
        server, juliet = await self.begin()
        await juliet.tell("<message to='nobody@example.com'><body>m</body></message>")
        self.assertEqual([], juliet.got())
        self.assertEqual(0, await server.offline.count("nobody@example.com"))

    async def test_feature(self) -> None:
        """The host tells the features of XEP-0160 and XEP-0334."""
        server, _ = await self.begin()
        self.assertLessEqual({"msgoffline", "urn:xmpp:hints"}, {*server.features()})


class Once(OfflineCase):
    """Each message once, whoever comes and goes meanwhile."""

    async def test_two_sessions(self) -> None:
        """Two sessions that come at the same time do not both get a message."""
        server, juliet = await self.begin()
        await juliet.tell(chat("m"))
        one, two = Person(server, f"{ROMEO}/one"), Person(server, f"{ROMEO}/two")
        one.send(SOON)
        two.send(SOON)
        await quiet()
        self.assertEqual(["m"], one.bodies() + two.bodies())

    async def test_gone_meanwhile(self) -> None:
        """When the first session is gone before the messages are read, the second gets them."""
        server, juliet = await self.begin()
        await juliet.tell(chat("m"))
        gates = await self.slow(server)
        one, two = Person(server, f"{ROMEO}/one"), Person(server, f"{ROMEO}/two")
        one.send(SOON)
        two.send(SOON)
        self.assertEqual(1, len(gates))
        one.stream.close(StreamError("reset"))
        gates[0].callback(None)
        self.assertEqual(2, len(gates))
        gates[1].callback(None)
        self.patch(server.offline, "take", type(server.offline).take.__get__(server.offline))
        await quiet()
        self.assertEqual((["m"], 0), (two.bodies(), await self.waiting(server)))

    async def test_nobody_left(self) -> None:
        """When the only session is gone before the messages are read, they wait on."""
        server, juliet = await self.begin()
        await juliet.tell(chat("m"))
        gates = await self.slow(server)
        one = Person(server, f"{ROMEO}/one")
        one.send(SOON)
        one.leaves()
        gates[0].callback(None)
        await quiet()
        self.assertEqual(1, await self.waiting(server))
        self.patch(server.offline, "take", type(server.offline).take.__get__(server.offline))
        self.assertEqual(["m"], (await self.arrives(server)).bodies())

    async def test_stored_too_late(self) -> None:
        """A message that reaches the disk just after the new session has looked there is delivered all the same."""
        server, juliet = await self.begin()
        gates = await self.slow(server)
        romeo = Person(server, f"{ROMEO}/one")
        stored: Deferred[None] = Deferred()
        append = server.offline.append

        async def slow_append(*arguments: Any) -> bool:
            await stored
            return await append(*arguments)

        self.patch(server.offline, "append", slow_append)
        juliet.send(chat("m"))
        await server.accounts.exists(JID.parse(ROMEO))
        romeo.send(SOON)
        self.assertEqual(1, len(gates), "Romeo's session has looked, and found nothing")
        self.patch(server.offline, "take", type(server.offline).take.__get__(server.offline))
        stored.callback(None)
        while not await self.waiting(server):
            await append("nobody@example.com", b"", 0)
        gates[0].callback(None)
        await quiet()
        self.assertEqual((["m"], 0), (romeo.bodies(), await self.waiting(server)))


class Order(OfflineCase):
    """New messages wait for the old ones."""

    async def test_new_behind_old(self) -> None:
        """What comes while the old messages are read comes after them, and is not lost."""
        server, juliet = await self.begin()
        await juliet.tell(chat("old"))
        gates = await self.slow(server)
        romeo = Person(server, f"{ROMEO}/one")
        romeo.send(SOON)
        self.assertEqual(1, len(gates))
        juliet.send(chat("new"))
        juliet.send(f"<message to='{ROMEO}/one' id='newer'><body>newer</body></message>")
        self.assertEqual([], romeo.bodies())
        self.patch(server.offline, "take", type(server.offline).take.__get__(server.offline))
        gates[0].callback(None)
        await quiet()
        self.assertEqual(["old", "new", "newer"], romeo.bodies())
        await juliet.tell(chat("newest"))
        self.assertEqual(["newest"], romeo.bodies())

    async def test_gone_with_new(self) -> None:
        """When the session dies meanwhile, what is new waits behind what is old."""
        server, juliet = await self.begin()
        await juliet.tell(chat("old"))
        gates = await self.slow(server)
        romeo = Person(server, f"{ROMEO}/one")
        romeo.send(SOON)
        juliet.send(chat("new"))
        romeo.leaves()
        self.patch(server.offline, "take", type(server.offline).take.__get__(server.offline))
        gates[0].callback(None)
        await quiet()
        self.assertEqual(["old", "new"], (await self.arrives(server, "two")).bodies())

    async def test_full_with_new(self) -> None:
        """When there is no room for what is new, its sender is told."""
        server, juliet = await self.begin(limit=1)
        await juliet.tell(chat("old"))
        gates = await self.slow(server)
        romeo = Person(server, f"{ROMEO}/one")
        romeo.send(SOON)
        juliet.send(chat("new"))
        romeo.leaves()
        gates[0].callback(None)
        await quiet()
        self.assertEqual([("new", "service-unavailable")], [(each.id, outline(each)[-1]) for each in juliet.got()])

    async def test_bounded(self) -> None:
        """Only so much waits in memory; more than that overtakes rather than being lost."""
        server, juliet = await self.begin()
        await juliet.tell(chat("old"))
        gates = await self.slow(server)
        romeo = Person(server, f"{ROMEO}/one")
        romeo.send(SOON)
        self.patch(offline, "MOST_HELD", 0)
        for number in range(4):
            juliet.send(chat(f"n{number}"))
        self.assertEqual(["n1", "n2", "n3"], romeo.bodies())
        self.patch(server.offline, "take", type(server.offline).take.__get__(server.offline))
        gates[0].callback(None)
        await quiet()
        self.assertEqual(["old", "n0"], romeo.bodies())

    async def test_dies_while_written(self) -> None:
        """When the stream ends among the messages, all that may not have been read waits on."""
        server, juliet = await self.begin()
        for number in range(5):
            await juliet.tell(chat(f"m{number}"))
        romeo = Person(server, f"{ROMEO}/one")
        write, seen = romeo.stream.write, 0

        def break_off(data: bytes) -> None:
            nonlocal seen
            seen += data.startswith(b"<message")
            write(data)
            if seen == 3:
                romeo.stream.close()

        self.patch(romeo.stream, "write", break_off)
        await romeo.tell(SOON)
        self.assertEqual(["m0", "m1", "m2"], romeo.bodies())
        self.assertEqual([f"m{number}" for number in range(5)], (await self.arrives(server, "two")).bodies())

    async def test_slow_reader(self) -> None:
        """No more than a page is written before the client's system has taken it, and none is forgotten before."""
        server, juliet = await self.begin()
        self.patch(offline, "PAGE", 2)
        self.patch(offline, "LOOK_AGAIN", 0)
        for number in range(3):
            await juliet.tell(chat(f"m{number}"))
        romeo = Person(server, f"{ROMEO}/one")
        romeo.stream.unread = 1
        romeo.send(SOON)
        for _ in range(20):
            await server.offline.take(ROMEO)
        self.assertEqual(["m0", "m1"], romeo.bodies())
        self.assertEqual(3, await self.waiting(server))
        romeo.stream.unread = 0
        await quiet()
        self.assertEqual(["m2"], romeo.bodies())
        self.assertEqual(0, await self.waiting(server))


class Failing(OfflineCase):
    """A database that fails."""

    async def test_storing(self) -> None:
        """What cannot be stored is answered: the sender knows that it was not kept."""
        server, juliet = await self.begin()

        async def fail(*_: Any, **__: Any) -> bool:
            raise DatabaseError("the disk is full")

        self.patch(server.offline, "append", fail)
        await juliet.tell(chat("m"))
        self.assertEqual([("m", "internal-server-error")], [(each.id, outline(each)[-1]) for each in juliet.got()])
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))

    async def test_reading(self) -> None:
        """What cannot be read waits on, and the session lives."""
        server, juliet = await self.begin()
        await juliet.tell(chat("m"))

        async def fail(*_: Any, **__: Any) -> Any:
            raise DatabaseError("the disk is gone")

        self.patch(server.offline, "take", fail)
        romeo = await self.arrives(server)
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
        self.assertFalse(romeo.stream.closed)
        self.patch(server.offline, "take", type(server.offline).take.__get__(server.offline))
        romeo.leaves()
        self.assertEqual(["m"], (await self.arrives(server)).bodies())

    async def test_forgetting(self) -> None:
        """What was delivered and cannot be deleted comes twice rather than never."""
        server, juliet = await self.begin()
        await juliet.tell(chat("m"))

        async def fail(*_: Any, **__: Any) -> Any:
            raise DatabaseError("the disk is full")

        self.patch(server.offline, "delete", fail)
        romeo = await self.arrives(server)
        self.assertEqual(["m"], romeo.bodies())
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
        self.patch(server.offline, "delete", type(server.offline).delete.__get__(server.offline))
        romeo.leaves()
        self.assertEqual(["m"], (await self.arrives(server)).bodies())
        self.assertEqual(0, await self.waiting(server))


def _children(element: Element) -> list[Element]:
    return [*iter(element)]
