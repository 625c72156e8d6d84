"""XEP-0012, and rule 3 of RFC 6121 section 4.3.2: since when somebody is away, for those who may know."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from chatrix.modules import last
from chatrix.server import last_seen
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.store.last_activity import LastActivities
from chatrix.store.roster import RosterItem
from chatrix.xmpp.element import serialise
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import Person, a_server, config_of, outline, quiet

JULIET, ROMEO = "juliet@example.com", "romeo@example.com"
NOON = 1_031_659_200
"""2002-09-10, 12 o'clock."""


def request(to: str = "") -> str:
    """A request for last activity."""
    addressed = f"to='{to}'" if to else ""
    return f"<iq type='get' id='1' {addressed}><query xmlns='jabber:iq:last'/></iq>"


class LastCase(TestCase):
    """Romeo may see Juliet's presence; the nurse may not."""

    async def begin(self) -> tuple[Server, Person, Person]:
        """The server, Juliet who is not online yet, and Romeo who is."""
        self.clock = Clock()
        self.clock.advance(NOON)
        for module in (last, last_seen):
            self.patch(module, "microseconds", lambda: int(self.clock.seconds() * 1_000_000))
        server = await a_server(self, config_of("disco roster presence last"))
        async with server.rosters.changing(JID.parse(JULIET)) as roster:
            assert roster is not None
            await server.rosters.save(roster, RosterItem(JULIET, ROMEO, subscription="from"))
        romeo = Person(server, f"{ROMEO}/o")
        await romeo.comes_online()
        return server, Person(server, f"{JULIET}/b"), romeo

    async def answer(self, person: Person, to: str = "") -> tuple[str, str | None] | str:
        """Seconds and text, or the condition of the error."""
        await person.tell(request(to))
        (answer,) = person.got()
        if answer.type == "error":
            return outline(answer)[-1]
        query = next(iter(answer.tree))
        return query.get("seconds", ""), query.text

    async def probe(self, person: Person, to: str = JULIET) -> Stanza:
        """The answer to a probe."""
        await person.tell(f"<presence type='probe' id='p' to='{to}'/>")
        (answer,) = person.got()
        return answer

    async def leaves(self, person: Person, presence: str = "") -> None:
        """Somebody goes offline."""
        if presence:
            await person.tell(presence)
        person.leaves()
        await quiet()


class Asking(LastCase):
    """XEP-0012."""

    async def test_offline(self) -> None:
        """Section 3: the time since the account left, and what it said when it left."""
        _, juliet, romeo = await self.begin()
        await juliet.comes_online()
        await self.leaves(juliet, "<presence type='unavailable'><status>Heading Home</status></presence>")
        self.clock.advance(903.9)
        romeo.got()
        self.assertEqual(("903", "Heading Home"), await self.answer(romeo, JULIET))

    async def test_languages(self) -> None:
        """Of several statuses the one without a language is told, or else the first."""
        server, juliet, romeo = await self.begin()
        texts = "<status xml:lang='cs'>Domů</status>{}<status xml:lang='de'>Heim</status>"
        for plain, expected in (("<status>Home</status>", "Home"), ("", "Dom\u016f")):
            await juliet.comes_online()
            await self.leaves(juliet, f"<presence type='unavailable'>{texts.format(plain)}</presence>")
            romeo.got()
            self.assertEqual(("0", expected), await self.answer(romeo, JULIET))
            juliet = Person(server, f"{JULIET}/b")

    async def test_cut(self) -> None:
        """Who is cut off has said nothing, and an older word is not repeated."""
        server, juliet, romeo = await self.begin()
        await juliet.comes_online()
        await self.leaves(juliet, "<presence type='unavailable'><status>old</status></presence>")
        self.clock.advance(10)
        juliet = Person(server, f"{JULIET}/b")
        await juliet.comes_online()
        await self.leaves(juliet)
        self.clock.advance(5)
        romeo.got()
        self.assertEqual(("5", None), await self.answer(romeo, JULIET))

    async def test_online(self) -> None:
        """An available account is there now; so is whoever asks about himself."""
        _, juliet, romeo = await self.begin()
        await juliet.comes_online()
        romeo.got()
        self.assertEqual(("0", None), await self.answer(romeo, JULIET))
        for own in ("", JULIET):
            self.assertEqual(("0", None), await self.answer(juliet, own))

    async def test_just_left(self) -> None:
        """Who asks while it is being written hears the same."""
        _, juliet, romeo = await self.begin()
        await juliet.comes_online()
        gate: Deferred[None] = Deferred()

        async def slow(*_: Any) -> None:
            await gate

        with patch.object(LastActivities, "note", slow):
            juliet.send("<presence type='unavailable'><status>bye</status></presence>")
            juliet.leaves()
            romeo.got()
            romeo.send(request(JULIET))
            while not (answers := [each for each in romeo.got() if each.name == "iq"]):
                await deferLater(reactor, 0)
            gate.callback(None)
        self.assertEqual("bye", next(iter(answers[0].tree)).text)

    async def test_connected_and_unavailable(self) -> None:
        """Who is connected and unavailable is away since then, before anything is written."""
        _, juliet, romeo = await self.begin()
        self.assertEqual("item-not-found", await self.answer(romeo, JULIET))
        await juliet.comes_online()
        await juliet.tell("<presence type='unavailable'><status>hush</status></presence>")
        self.clock.advance(7)
        romeo.got()
        self.assertEqual(("7", "hush"), await self.answer(romeo, JULIET))

    async def test_never_available(self) -> None:
        """A session that was never available was not seen."""
        _, juliet, romeo = await self.begin()
        await self.leaves(juliet)
        self.assertEqual("item-not-found", await self.answer(romeo, JULIET))

    async def test_forbidden(self) -> None:
        """Who may not see the presence learns nothing, and not whether there is such an account."""
        server, juliet, _ = await self.begin()
        nurse = Person(server, "nurse@example.com/n")
        answers = []
        for online in (False, True):
            if online:
                await juliet.comes_online()
            for name in ("juliet", "nobody"):
                await nurse.tell(request(f"{name}@example.com"))
                (answer,) = nurse.got()
                answers.append(answer.to_bytes().replace(name.encode(), b"X"))
        self.assertEqual(1, len(set(answers)))
        self.assertIn(b"forbidden", answers[0])

    async def test_uptime(self) -> None:
        """Section 5: the host tells since when it runs."""
        server, juliet, _ = await self.begin()
        started = server.reactor.seconds()
        self.patch(server.module(last.Last), "_started", started - 123.9)
        answer = await self.answer(juliet, "example.com")
        self.assertGreaterEqual(int(answer[0]), 123)
        self.assertIsNone(answer[1])

    async def test_database_gone(self) -> None:
        """When nobody can say, the server says that it failed; a session ends all the same."""
        _, juliet, romeo = await self.begin()

        async def fail(*_: Any) -> Any:
            raise DatabaseError("gone")

        with patch.object(LastActivities, "get", fail), patch.object(LastActivities, "note", fail):
            self.assertEqual("internal-server-error", await self.answer(romeo, JULIET))
            await juliet.comes_online()
            await self.leaves(juliet)
        self.assertEqual(2, len(self.flushLoggedErrors(DatabaseError)))
        self.assertEqual(["unavailable"], [each.type for each in romeo.got() if each.type])


class Writing(LastCase):
    """What is written, and how often."""

    async def test_once(self) -> None:
        """Once for each session that ends, whatever presence it had sent."""
        _, juliet, _ = await self.begin()
        noted: list[tuple[str, int]] = []
        note: Callable[..., Any] = LastActivities.note

        async def count(store: LastActivities, account: str, activity: Any) -> None:
            noted.append((account, activity.at // 1_000_000 - NOON))
            await note(store, account, activity)

        with patch.object(LastActivities, "note", count):
            for _ in range(3):
                await juliet.comes_online()
                await juliet.tell("<presence><show>away</show></presence>")
                await juliet.tell("<presence type='unavailable'/>")
            self.clock.advance(60)
            self.assertEqual([], noted)
            await self.leaves(juliet)
        self.assertEqual([(JULIET, 0)], noted)

    async def test_novel(self) -> None:
        """A status that is too long is not kept; the time is."""
        _, juliet, romeo = await self.begin()
        await juliet.comes_online()
        await self.leaves(juliet, f"<presence type='unavailable'><status>{'x' * 5000}</status></presence>")
        romeo.got()
        self.assertEqual(("0", None), await self.answer(romeo, JULIET))


class Probes(LastCase):
    """RFC 6121 section 4.3.2 rule 3."""

    async def test_status_and_time(self) -> None:
        """The answer has the id of the probe, what was said, and when; nothing else of the presence."""
        _, juliet, romeo = await self.begin()
        await juliet.comes_online()
        await self.leaves(
            juliet, "<presence type='unavailable' id='q'><status>Home</status><x xmlns='urn:x'/></presence>"
        )
        self.clock.advance(60)
        romeo.got()
        answer = await self.probe(romeo)
        self.assertEqual(
            {"type": "unavailable", "from": JULIET, "to": ROMEO, "id": "p"},
            answer.attributes,
        )
        status, delay = iter(answer.tree)
        self.assertEqual("<status>Home</status>", serialise(status).decode())
        self.assertEqual(("example.com", "2002-09-10T12:00:00.000Z"), (delay.get("from"), delay.get("stamp")))

    async def test_never_seen(self) -> None:
        """An account that was never there is unavailable, and that is all."""
        _, _, romeo = await self.begin()
        answer = await self.probe(romeo)
        self.assertEqual(("unavailable", ()), (answer.type, answer.children))

    async def test_strangers(self) -> None:
        """A stranger learns nothing of it."""
        server, juliet, _ = await self.begin()
        await juliet.comes_online()
        await self.leaves(juliet)
        nurse = Person(server, "nurse@example.com/n")
        await nurse.comes_online()
        await nurse.tell(f"<presence type='probe' to='{JULIET}'/>")
        self.assertFalse([each for each in nurse.got() if re.search(b"delay|unavailable", each.to_bytes())])

    async def test_comes_meanwhile(self) -> None:
        """Who comes online while the database is asked is not said to be away."""
        _, juliet, romeo = await self.begin()
        get: Callable[..., Any] = LastActivities.get

        async def slow(store: LastActivities, account: str) -> Any:
            juliet.send("<presence/>")
            return await get(store, account)

        with patch.object(LastActivities, "get", slow):
            await romeo.tell(f"<presence type='probe' to='{JULIET}'/>")
        self.assertEqual({("", f"{JULIET}/b")}, {(each.type, each.attributes["from"]) for each in romeo.got()})
