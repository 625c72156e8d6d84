"""XEP-0049: private XML: by namespace, for oneself alone, within bounds."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.modules.private import Private
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.xmpp.element import serialise
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import Person, a_server, config_of, outline

JULIET = "juliet@example.com"
PREFS = "<exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus>"


def request(type: str, inside: str, to: str = "") -> str:
    """A request about private XML."""
    addressed = f"to='{to}'" if to else ""
    return f"<iq type='{type}' id='1' {addressed}><query xmlns='jabber:iq:private'>{inside}</query></iq>"


class PrivateCase(TestCase):
    """Juliet and Romeo."""

    async def begin(self, more: str = "", limits: str = "") -> tuple[Server, Person, Person]:
        """The server and the two."""
        server = await a_server(self, config_of("private", more=more, limits=limits))
        return server, Person(server, f"{JULIET}/b"), Person(server, "romeo@example.com/o")

    async def ask(self, person: Person, xml: str) -> Stanza:
        """The one answer."""
        await person.tell(xml)
        (answer,) = person.got()
        return answer

    async def kept(self, person: Person, inside: str) -> list[str]:
        """The elements that a get brings."""
        answer = await self.ask(person, request("get", inside))
        self.assertEqual("result", answer.type)
        return [serialise(child).decode() for child in next(iter(answer.tree))]


class Keeping(PrivateCase):
    """Results."""

    async def test_keep(self) -> None:
        """Examples 1 and 2: what was set is there, for every client of the account and for nobody else."""
        server, juliet, romeo = await self.begin()
        answer = await self.ask(juliet, request("set", PREFS))
        self.assertEqual(("result", ()), (answer.type, answer.children))
        for person in (juliet, Person(server, f"{JULIET}/other")):
            self.assertEqual([PREFS], await self.kept(person, "<exodus xmlns='exodus:prefs'/>"))
        empty = ["<exodus xmlns='exodus:prefs'/>"]
        self.assertEqual(empty, await self.kept(romeo, "<exodus xmlns='exodus:prefs'/>"))

    async def test_never_set(self) -> None:
        """What was never set comes back as the empty element that asked, without what was in it."""
        _, juliet, _ = await self.begin()
        self.assertEqual(["<a xmlns='urn:a'/>"], await self.kept(juliet, "<a xmlns='urn:a' b='c'><d/></a>"))

    async def test_several(self) -> None:
        """Several elements, of one namespace and of several, at once; what is set replaces all of its namespace."""
        _, juliet, _ = await self.begin()
        one, two, other = "<a xmlns='urn:a'>1</a>", "<b xmlns='urn:a'>2</b>", "<a xmlns='urn:b'>3</a>"
        await self.ask(juliet, request("set", one + other + two))
        self.assertEqual([one, two, other], await self.kept(juliet, "<x xmlns='urn:a'/><x xmlns='urn:b'/>"))
        await self.ask(juliet, request("set", two, JULIET))
        self.assertEqual([two, other], await self.kept(juliet, "<x xmlns='urn:a'/><x xmlns='urn:b'/>"))


class Refusing(PrivateCase):
    """Errors."""

    async def test_not_acceptable(self) -> None:
        """Nothing to say what it is about, no namespace of its own, or a reserved one (section 2.3)."""
        _, juliet, _ = await self.begin()
        for inside in (
            "",
            "<inherited/>",
            "<x xmlns=''/>",
            "<vCard xmlns='vcard-temp'/>",
            "<x xmlns='jabber:iq:roster'/>",
            "<x xmlns='http://jabber.org/protocol/muc'/>",
            PREFS + "<inherited/>",
        ):
            for type in ("get", "set"):
                with self.subTest(inside=inside, type=type):
                    self.assertEqual("not-acceptable", outline(await self.ask(juliet, request(type, inside)))[-1])
        self.assertEqual(["<e xmlns='exodus:prefs'/>"], await self.kept(juliet, "<e xmlns='exodus:prefs'/>"))

    async def test_of_another(self) -> None:
        """Another one's cannot be read or set, whether there is such an account or not (example 3)."""
        _, juliet, romeo = await self.begin()
        await self.ask(juliet, request("set", PREFS))
        for type in ("get", "set"):
            answers = [
                (await self.ask(romeo, request(type, "<e xmlns='exodus:prefs'/>", f"{name}@example.com"))).to_bytes()
                for name in ("juliet", "nobody")
            ]
            self.assertEqual(1, len({answer.split(b"<", 2)[2] for answer in answers}))
            self.assertIn(b"service-unavailable", answers[0])
        self.assertEqual([PREFS], await self.kept(juliet, "<e xmlns='exodus:prefs'/>"))

    async def test_too_much(self) -> None:
        """Threat L6: octets and namespaces are bounded; the refusal says by what, and nothing of it is kept."""
        _, juliet, _ = await self.begin("[module private]\nsize = 1 KiB\nnamespaces = 3")
        await self.ask(juliet, request("set", PREFS))
        for inside in (
            f"<a xmlns='urn:a'/><b xmlns='urn:b'>{'x' * 1000}</b>",
            "<a xmlns='urn:a'/><b xmlns='urn:b'/><c xmlns='urn:c'/>",
        ):
            refusal = StanzaError.from_stanza(await self.ask(juliet, request("set", inside)))
            self.assertEqual(("modify", "policy-violation"), (refusal.type, refusal.condition))
            self.assertIn("1024 octets in 3 namespaces", refusal.text or "")
        self.assertEqual(
            [PREFS, "<a xmlns='urn:a'/>"], await self.kept(juliet, "<e xmlns='exodus:prefs'/><a xmlns='urn:a'/>")
        )
        many = "".join(f"<a xmlns='urn:{number}'/>" for number in range(4))
        self.assertEqual("not-acceptable", outline(await self.ask(juliet, request("get", many)))[-1])

    async def test_megabyte(self) -> None:
        """A megabyte is too much by default, too."""
        _, juliet, _ = await self.begin(limits="stanza size = 4 MiB")
        answer = await self.ask(juliet, request("set", f"<a xmlns='urn:a'>{'x' * 1_000_000}</a>"))
        self.assertEqual("policy-violation", outline(answer)[-1])

    async def test_database_gone(self) -> None:
        """When nothing can be stored or read, the server says that it failed."""
        server, juliet, _ = await self.begin()

        async def fail(*_: Any) -> Any:
            raise DatabaseError("gone")

        private = server.module(Private)
        assert private is not None
        with patch.object(private._store, "get", fail), patch.object(private._store, "save", fail):
            for type in ("get", "set"):
                self.assertEqual("internal-server-error", outline(await self.ask(juliet, request(type, PREFS)))[-1])
        self.assertEqual(2, len(self.flushLoggedErrors(DatabaseError)))
