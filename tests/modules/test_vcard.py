"""XEP-0054: vCards: one's own, others', none, too large ones, and a database that is gone."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.modules.vcard import VCard
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import Person, a_server, config_of, outline

JULIET, ROMEO = "juliet@example.com", "romeo@example.com"


def request(type: str = "get", to: str = "", inside: str = "") -> str:
    """A request about a vCard."""
    addressed = f"to='{to}'" if to else ""
    return f"<iq type='{type}' id='1' {addressed}><vCard xmlns='vcard-temp'>{inside}</vCard></iq>"


class VCards(TestCase):
    """Juliet and Romeo, who do not know each other."""

    async def begin(self, more: str = "", limits: str = "") -> tuple[Server, Person, Person]:
        """The server and the two."""
        server = await a_server(self, config_of("vcard", more=more, limits=limits))
        return server, Person(server, f"{JULIET}/b"), Person(server, f"{ROMEO}/o")

    async def ask(self, person: Person, xml: str) -> Stanza:
        """The one answer."""
        await person.tell(xml)
        (answer,) = person.got()
        return answer

    async def test_public(self) -> None:
        """What one sets, everybody gets, with every element as it was; what is set anew replaces it."""
        _, juliet, romeo = await self.begin()
        expected = b""
        for inside in ("<FN>J</FN><N><GIVEN/></N>", "<FN>Juliet &lt;\u00e9&gt;</FN><X xmlns='urn:x'><y>1</y></X>"):
            answer = await self.ask(juliet, request("set", inside=inside))
            self.assertEqual(("result", ()), (answer.type, answer.children))
            expected = (await self.ask(juliet, request())).inner
            self.assertEqual(expected, (await self.ask(juliet, request(to=JULIET))).inner)
            self.assertEqual(expected, (await self.ask(romeo, request(to=JULIET))).inner)
        self.assertIn("<FN>Juliet &lt;\u00e9&gt;</FN><X xmlns='urn:x'><y>1</y></X>", expected.decode())
        self.assertNotIn(b"<N>", expected)

    async def test_none(self) -> None:
        """Without a vCard: one's own is not found (3.1); another's is as if there was no account (3.3)."""
        _, juliet, romeo = await self.begin()
        self.assertEqual("item-not-found", outline(await self.ask(juliet, request()))[-1])
        answers = [
            (await self.ask(romeo, request(to=f"{name}@example.com"))).to_bytes().replace(name.encode(), b"X")
            for name in ("juliet", "nobody")
        ]
        self.assertEqual(answers[0], answers[1])
        self.assertIn(b"service-unavailable", answers[0])

    async def test_empty(self) -> None:
        """Who sets an empty one has none any more."""
        _, juliet, romeo = await self.begin()
        await self.ask(juliet, request("set", inside="<FN>J</FN>"))
        self.assertEqual("result", (await self.ask(juliet, request("set"))).type)
        self.assertEqual("item-not-found", outline(await self.ask(juliet, request()))[-1])
        self.assertEqual("service-unavailable", outline(await self.ask(romeo, request(to=JULIET)))[-1])

    async def test_of_another(self) -> None:
        """Nobody sets another one's vCard, and learns nothing by trying (3.2)."""
        _, juliet, romeo = await self.begin()
        await self.ask(juliet, request("set", inside="<FN>J</FN>"))
        answers = [
            (await self.ask(romeo, request("set", f"{name}@example.com", "<FN>R</FN>"))).to_bytes()
            for name in ("juliet", "nurse", "nobody")
        ]
        self.assertEqual(1, len({answer.split(b"<", 2)[2] for answer in answers}))
        self.assertIn(b"forbidden", answers[0])
        self.assertIn(b"<FN>J</FN>", (await self.ask(romeo, request(to=JULIET))).inner)

    async def test_too_large(self) -> None:
        """Threat L6: a vCard of 1 MB is refused with the limit in the text, and the old one stays."""
        _, juliet, romeo = await self.begin(limits="stanza size = 4 MiB")
        await self.ask(juliet, request("set", inside="<FN>J</FN>"))
        refusal = StanzaError.from_stanza(
            await self.ask(juliet, request("set", inside=f"<DESC>{'x' * 1_000_000}</DESC>"))
        )
        self.assertEqual(("modify", "policy-violation"), (refusal.type, refusal.condition))
        self.assertIn("131072 octets", refusal.text or "")
        self.assertIn(b"<FN>J</FN>", (await self.ask(romeo, request(to=JULIET))).inner)

    async def test_tier(self) -> None:
        """Who has a tier may keep what the tier says, and learns of it when it is not enough."""
        server, juliet, romeo = await self.begin("[tier sponsor]\nstorage = 200 KiB\n")
        await server.tiers.store.set(JULIET, "sponsor")
        await server.tiers.load()
        inside = f"<DESC>{'x' * 150_000}</DESC>"
        self.assertEqual("result", (await self.ask(juliet, request("set", inside=inside))).type)
        self.assertEqual("error", (await self.ask(romeo, request("set", inside=inside))).type)
        refusal = StanzaError.from_stanza(await self.ask(juliet, request("set", inside=inside + inside)))
        self.assertIn("204800", refusal.text or "")
        self.assertIn("sponsor", refusal.text or "")

    async def test_size(self) -> None:
        """The limit is the admin's, to the octet."""
        _, juliet, _ = await self.begin("[module vcard]\nsize = 1 KiB")
        room = 1024 - len("<vCard xmlns='vcard-temp'><DESC></DESC></vCard>")
        for length, type in ((room, "result"), (room + 1, "error")):
            answer = await self.ask(juliet, request("set", inside=f"<DESC>{'x' * length}</DESC>"))
            self.assertEqual(type, answer.type)

    async def test_database_gone(self) -> None:
        """When nothing can be stored or read, the server says that it failed, and goes on."""
        server, juliet, romeo = await self.begin()

        async def fail(*_: Any) -> Any:
            raise DatabaseError("gone")

        vcard = server.module(VCard)
        assert vcard is not None
        with patch.object(vcard._store, "get", fail), patch.object(vcard._store, "save", fail):
            for person, xml in ((juliet, request()), (romeo, request(to=JULIET)), (juliet, request("set", "", "<A/>"))):
                self.assertEqual("internal-server-error", outline(await self.ask(person, xml))[-1])
        self.assertEqual(3, len(self.flushLoggedErrors(DatabaseError)))
        self.assertEqual("item-not-found", outline(await self.ask(juliet, request()))[-1])
