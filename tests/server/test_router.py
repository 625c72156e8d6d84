"""The router: where stanzas go, by real modules' walks and RFC 6121 section 8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.hooks import Stage, Verdict, on
from chatrix.server.events import Arriving, Sending, Undelivered
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import Person, a_server, config_of, outline, quiet, stanza

PROBE = "<presence><priority>{}</priority></presence>"
UNAVAILABLE = ("message", "error", "romeo@example.com", "service-unavailable")


def message(to: str, type_: str) -> str:
    """A message of this type; "" for none."""
    return f"<message id='m' to='{to}'" + (f" type='{type_}'" if type_ else "") + "><body>hi</body></message>"


class RouterCase(TestCase):
    """A server and the sessions of two people."""

    async def people(
        self, priorities: Iterable[int | None], server: Server | None = None
    ) -> tuple[Server, Person, dict[str, Person]]:
        """The server, Juliet, and a session of Romeo's for each priority (None: connected, not available)."""
        server = server or await a_server(self, config_of(modules="roster presence"))
        romeos = {}
        for number, priority in enumerate(priorities):
            name = f"r{number}:{priority}"
            romeos[name] = Person(server, f"romeo@example.com/{name}")
            if priority is not None:
                await romeos[name].comes_online(PROBE.format(priority), roster=False)
        for romeo in romeos.values():
            romeo.got()
        return server, Person(server, "juliet@example.com/balcony"), romeos


class Messages(RouterCase):
    """RFC 6121 section 8.5, row by row, on sessions. Without an offline store, what could be kept bounces."""

    async def deliver(self, priorities: Iterable[int | None], to: str = "romeo@example.com") -> dict[str, object]:
        """By type: the resources that got the message, or the condition that the sender got, or None."""
        _, juliet, romeos = await self.people(priorities)
        result: dict[str, object] = {}
        for type_ in ("", "chat", "groupchat", "headline", "error"):
            await juliet.tell(message(to, type_))
            got = [name for name, romeo in romeos.items() if romeo.got()]
            errors = [outline(each)[-1] for each in juliet.got()]
            self.assertFalse(got and errors)
            self.assertLessEqual(len(errors), 1)
            result[type_ or "normal"] = got or (errors[0] if errors else None)
        return result

    async def test_bare(self) -> None:
        """To a bare JID: the most available get it, or all; nobody with a negative priority, nobody unavailable."""
        bounce = "service-unavailable"
        nothing = {"normal": bounce, "chat": bounce, "groupchat": bounce, "headline": None, "error": None}
        self.assertEqual(nothing, await self.deliver([]))
        self.assertEqual(nothing, await self.deliver([None]))
        self.assertEqual(nothing, await self.deliver([-1, -128, None]))
        one = {**nothing, "normal": ["r0:0"], "chat": ["r0:0"], "headline": ["r0:0"]}
        self.assertEqual(one, await self.deliver([0, -1, None]))
        top = ["r1:5", "r2:5"]
        several = {**nothing, "normal": top, "chat": top, "headline": ["r0:0", "r1:5", "r2:5"]}
        self.assertEqual(several, await self.deliver([0, 5, 5, -1, None]))

    async def test_full(self) -> None:
        """To a full JID that is there: it gets everything, whatever its priority, available or not."""
        for priority in (0, -1, None):
            name = f"r1:{priority}"
            everything = {type_: [name] for type_ in ("normal", "chat", "groupchat", "headline", "error")}
            self.assertEqual(everything, await self.deliver([5, priority], f"romeo@example.com/{name}"))

    async def test_full_without_match(self) -> None:
        """To a full JID that is not there: chat goes to the most available, the rest nowhere."""
        to, bounce = "romeo@example.com/gone", "service-unavailable"
        nobody = {"normal": bounce, "chat": bounce, "groupchat": bounce, "headline": None, "error": None}
        self.assertEqual(nobody, await self.deliver([-1], to))
        self.assertEqual({**nobody, "chat": ["r1:1"]}, await self.deliver([0, 1], to))

    async def test_unchanged(self) -> None:
        """The `to` stays as it was, and only `from` is added."""
        _, juliet, romeos = await self.people([1])
        juliet.send("<message to='romeo@EXAMPLE.com' xml:lang='it'><body>ciao</body><x xmlns='urn:x'/></message>")
        (written,) = romeos["r0:1"].stream.written
        self.assertEqual(
            b"<message to='romeo@EXAMPLE.com' xml:lang='it' from='juliet@example.com/balcony'>"
            b"<body>ciao</body><x xmlns='urn:x'/></message>",
            written.replace(b'"', b"'"),
        )

    async def test_own_account(self) -> None:
        """Without `to`, a message is for the sender's own account (RFC 6120 section 10.3.1)."""
        server, juliet, _ = await self.people([])
        other = Person(server, "juliet@example.com/chamber")
        await other.comes_online(roster=False)
        await juliet.tell("<message type='chat'><body>note</body></message>")
        self.assertEqual(["note"], other.bodies())

    async def test_unknown_and_offline_are_alike(self) -> None:
        """Who asks by a stanza cannot tell an account that is offline from one that is not (threat A7)."""
        _, juliet, _ = await self.people([])
        for xml in (
            message("{}@example.com", "chat"),
            message("{}@example.com/x", ""),
            "<iq id='m' type='get' to='{}@example.com/x'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<iq id='m' type='get' to='{}@example.com'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<presence id='m' type='probe' to='{}@example.com'/>",
        ):
            answers = []
            for name in ("romeo", "nobody"):
                await juliet.tell(xml.format(name))
                answers.append([each.to_bytes().replace(name.encode(), b"X") for each in juliet.got()])
            with self.subTest(xml=xml):
                self.assertEqual(answers[0], answers[1])


class Others(RouterCase):
    """Presence, IQ and other domains."""

    async def test_presence(self) -> None:
        """Directed presence reaches all available sessions of a bare JID, one by its full JID, and no others."""
        _, juliet, romeos = await self.people([0, -5, None])
        await juliet.tell("<presence to='romeo@example.com'/>")
        self.assertEqual(["r0:0", "r1:-5"], [name for name, romeo in romeos.items() if romeo.got()])
        await juliet.tell("<presence to='romeo@example.com/r2:None'/>")
        self.assertEqual(["r2:None"], [name for name, romeo in romeos.items() if romeo.got()])
        await juliet.tell("<presence to='romeo@example.com/gone'/>")
        await juliet.tell("<presence to='nobody@example.com'/>")
        self.assertEqual([], [name for name, romeo in romeos.items() if romeo.got()])
        self.assertEqual([], juliet.got())

    async def test_iq(self) -> None:
        """To a full JID that is there answers are delivered; to one that is not, requests bounce and answers do not."""
        _, juliet, romeos = await self.people([0])
        for type_ in ("result", "error"):
            await juliet.tell(f"<iq type='{type_}' id='1' to='romeo@example.com/r0:0'/>")
            self.assertEqual([type_], [each.type for each in romeos["r0:0"].got()])
            await juliet.tell(f"<iq type='{type_}' id='1' to='romeo@example.com/gone'/>")
            self.assertEqual([], juliet.got())
        for type_ in ("get", "set"):
            await juliet.tell(f"<iq type='{type_}' id='1' to='romeo@example.com/gone'><q xmlns='urn:q'/></iq>")
            self.assertEqual(
                [("iq", "error", "romeo@example.com/gone", "service-unavailable")], list(map(outline, juliet.got()))
            )

    async def test_never_to_a_session(self) -> None:
        """The server answers an IQ to a bare JID itself (section 8.5.2.1.3)."""
        _, juliet, romeos = await self.people([0])
        await juliet.tell("<iq type='get' id='1' to='romeo@example.com'><query xmlns='jabber:iq:version'/></iq>")
        self.assertEqual(["service-unavailable"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual([], romeos["r0:0"].got())

    async def test_host(self) -> None:
        """A host takes no messages, ignores presence, and its resources answer nothing."""
        _, juliet, _ = await self.people([])
        for xml, expected in (
            ("<message to='example.com'><body>hi</body></message>", ["service-unavailable"]),
            ("<message to='example.com' type='error'/>", []),
            ("<presence to='example.com'/>", []),
            ("<presence type='subscribe' to='example.com/x'/>", []),
            ("<iq type='get' id='1' to='example.com/x'><ping xmlns='urn:xmpp:ping'/></iq>", ["service-unavailable"]),
            ("<iq type='result' id='1' to='example.com'/>", []),
        ):
            with self.subTest(xml=xml):
                await juliet.tell(xml)
                self.assertEqual(expected, [outline(each)[-1] for each in juliet.got()])

    async def test_elsewhere(self) -> None:
        """Other domains: a component's by its route, the rest by federation, and without one there is an error."""
        server, juliet, _ = await self.people([])
        await juliet.tell(message("a@else.where", ""))
        self.assertEqual(
            [("message", "error", "a@else.where", "remote-server-not-found")], list(map(outline, juliet.got()))
        )
        component, federation = Route(), Route()
        server.router.routes["else.where"] = component  # type: ignore[assignment]
        server.router.elsewhere = federation  # type: ignore[assignment]
        for to in ("a@else.where", "else.where/x", "a@third.domain", "sub.else.where"):
            await juliet.tell(message(to, ""))
        self.assertEqual(["a@else.where", "else.where/x"], component.took)
        self.assertEqual(["a@third.domain", "sub.else.where"], federation.took)

    async def test_route_waits(self) -> None:
        """A route may wait, and what it then refuses bounces."""
        server, juliet, _ = await self.people([])
        route = server.router.elsewhere = Route()  # type: ignore[assignment]
        route.gate = Deferred()
        juliet.send(message("a@else.where", ""))
        self.assertEqual([], juliet.got())
        route.gate.errback(StanzaError("wait", "remote-server-timeout"))
        await quiet()
        self.assertEqual(["remote-server-timeout"], [outline(each)[-1] for each in juliet.got()])

    async def test_malformed(self) -> None:
        """An address that is none gets jid-malformed, from that address."""
        _, juliet, _ = await self.people([])
        await juliet.tell(message("@example.com", ""))
        self.assertEqual([("message", "error", "@example.com", "jid-malformed")], list(map(outline, juliet.got())))


class Bounces(RouterCase):
    """`bounce` and `send_answer`."""

    async def test_rules(self) -> None:
        """Errors and results are never answered with an error (RFC 6120 sections 8.2.3 and 8.3.1)."""
        server, juliet, _ = await self.people([])
        error = StanzaError("cancel", "gone")
        for name, type_, answered in (
            ("message", "chat", True),
            ("message", "error", False),
            ("message", "result", True),
            ("presence", "", True),
            ("presence", "error", False),
            ("iq", "get", True),
            ("iq", "set", True),
            ("iq", "result", False),
            ("iq", "error", False),
        ):
            with self.subTest(name=name, type=type_):
                server.router.bounce(
                    stanza(f"<{name} type='{type_}' id='9' to='a@b' from='{juliet.session.jid}'/>"), error
                )
                expected = [(name, "error", "a@b", "gone")] if answered else []
                self.assertEqual(expected, list(map(outline, juliet.got())))

    async def test_no_echo(self) -> None:
        """An error tells the id and the condition, and repeats nothing of the stanza's inside."""
        _, juliet, _ = await self.people([])
        await juliet.tell("<message id='7' to='a@else.where'><body>secret</body></message>")
        (answer,) = juliet.got()
        self.assertEqual(("7", "juliet@example.com/balcony"), (answer.id, answer.attributes["to"]))
        self.assertNotIn(b"secret", answer.to_bytes())

    async def test_no_loop(self) -> None:
        """What the server says itself is not answered when it cannot be delivered."""
        server, juliet, _ = await self.people([])
        route = server.router.elsewhere = Route()  # type: ignore[assignment]
        route.gate = Deferred()
        server.router.send_answer(stanza("<message from='example.com' to='romeo@example.com/x'/>"))
        server.router.send_answer(stanza("<message from='example.com' to='a@else.where'/>"))
        route.gate.errback(StanzaError("cancel", "gone"))
        await quiet()
        self.assertEqual([], juliet.got())


class Watching:
    """A module that decides what it is told to decide."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.decisions: dict[str, Any] = {}

    def _decide(self, event: Any) -> Any:
        if event.stanza.type == "error":
            # The answer, on its way back.
            return None
        name = type(event).__name__
        self.seen.append((name, event.stanza.id))
        decision = self.decisions.get(name)
        if isinstance(decision, Exception):
            raise decision
        if isinstance(decision, Deferred):
            return self._later(decision)
        return decision

    async def _later(self, decision: Deferred[Any]) -> Any:
        return await decision

    @on(Sending, Stage.SCREEN, stanzas=("message",))
    def sending(self, event: Sending) -> object:
        """The sender's side."""
        return self._decide(event)

    @on(Arriving, Stage.SCREEN, stanzas=("message",))
    def arriving(self, event: Arriving) -> object:
        """The recipient's side."""
        return self._decide(event)

    @on(Undelivered)
    def undelivered(self, event: Undelivered) -> object:
        """Nobody took it."""
        return self._decide(event)


class Walks(RouterCase):
    """The walks around delivery."""

    async def watched(self) -> tuple[Watching, Person, Person]:
        """Who watches, Juliet, and Romeo, who is connected and not available."""
        watching = Watching()
        server = await a_server(self, config_of(modules=""), extra=watching)
        return watching, Person(server, "juliet@example.com/a"), Person(server, "romeo@example.com/b")

    async def test_all(self) -> None:
        """A message that nobody takes walks through Sending, Arriving and Undelivered, then bounces."""
        watching, juliet, _ = await self.watched()
        await juliet.tell(message("romeo@example.com", ""))
        self.assertEqual([("Sending", "m"), ("Arriving", "m"), ("Undelivered", "m")], watching.seen)
        self.assertEqual(["service-unavailable"], [outline(each)[-1] for each in juliet.got()])

    async def test_delivered(self) -> None:
        """One that a session takes is not undelivered."""
        watching, juliet, romeo = await self.watched()
        await juliet.tell(message("romeo@example.com/b", ""))
        self.assertEqual(["Sending", "Arriving"], [name for name, _ in watching.seen])
        self.assertEqual(1, len(romeo.got()))

    async def test_stopped(self) -> None:
        """STOP in any of them, at once or later, is silent and the end."""
        for event in ("Sending", "Arriving", "Undelivered"):
            for waits in (False, True):
                watching, juliet, romeo = await self.watched()
                gate: Deferred[Verdict] = Deferred()
                watching.decisions[event] = gate if waits else Verdict.STOP
                juliet.send(message("romeo@example.com", ""))
                gate.callback(Verdict.STOP)
                await quiet()
                self.assertEqual(event, watching.seen[-1][0])
                self.assertEqual([], juliet.got() + romeo.got())

    async def test_refused(self) -> None:
        """A refusal in any of them, at once or later, is the sender's answer."""
        for event in ("Sending", "Arriving", "Undelivered"):
            for waits in (False, True):
                watching, juliet, _ = await self.watched()
                gate: Deferred[Verdict] = Deferred()
                refusal = StanzaError("modify", "policy-violation")
                watching.decisions[event] = gate if waits else refusal
                juliet.send(message("romeo@example.com", ""))
                if waits:
                    gate.errback(refusal)
                await quiet()
                self.assertEqual(event, watching.seen[-1][0])
                self.assertEqual(["policy-violation"], [outline(each)[-1] for each in juliet.got()])

    async def test_came_meanwhile(self) -> None:
        """A session that comes while Arriving waits takes the message, though the account had none."""
        watching, juliet, romeo = await self.watched()
        romeo.leaves()
        gate: Deferred[None] = Deferred()
        watching.decisions["Arriving"] = gate
        juliet.send(message("romeo@example.com/new", ""))
        new = Person(juliet.server, "romeo@example.com/new")
        gate.callback(None)
        await quiet()
        self.assertEqual(["hi"], new.bodies())

    async def test_no_account(self) -> None:
        """For an account that does not exist nothing is kept."""
        watching, juliet, _ = await self.watched()
        await juliet.tell(message("nobody@example.com", ""))
        self.assertEqual(["Sending", "Arriving"], [name for name, _ in watching.seen])

    async def test_database_gone(self) -> None:
        """When nobody can say whether the account exists, the sender is told that the server failed."""
        watching, juliet, romeo = await self.watched()
        romeo.leaves()

        async def fail(*_: object) -> bool:
            raise DatabaseError("gone")

        self.patch(juliet.server.accounts.store, "exists", fail)
        await juliet.tell(message("romeo@example.com", ""))
        self.assertEqual(["internal-server-error"], [outline(each)[-1] for each in juliet.got()])
        self.assertNotIn("Undelivered", [name for name, _ in watching.seen])
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))

    async def test_broken(self) -> None:
        """A module that breaks keeps the stanza from its way, and the sender is told."""
        watching, juliet, _ = await self.watched()
        watching.decisions["Arriving"] = RuntimeError("inside")
        await juliet.tell(message("romeo@example.com", ""))
        self.assertEqual(["internal-server-error"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class Route:
    """A component or federation: it remembers, and waits for `gate` if there is one."""

    def __init__(self) -> None:
        self.took: list[str] = []
        self.gate: Deferred[None] | None = None

    def deliver(self, stanza: Stanza) -> Any:
        """Take a stanza."""
        self.took.append(stanza.attributes["to"])
        return None if self.gate is None else self._wait(self.gate)

    async def _wait(self, gate: Deferred[None]) -> None:
        await gate
