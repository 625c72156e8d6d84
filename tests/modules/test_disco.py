"""XEP-0030: what hosts and accounts say of themselves, and to whom."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.store.roster import RosterItem
from chatrix.xmpp.element import Element
from chatrix.xmpp.jid import JID
from tests.inmemory import Elsewhere, Person, a_server, config_of, outline

INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"


def ask(namespace: str, to: str = "", node: str = "") -> str:
    """A request."""
    addressed = f"to='{to}' " if to else ""
    inside = f"node='{node}' " if node else ""
    return f"<iq type='get' id='1' {addressed}><query {inside}xmlns='{namespace}'/></iq>"


class DiscoCase(TestCase):
    """Juliet asks."""

    async def begin(self, modules: str = "disco roster ping") -> tuple[Server, Person]:
        """The server and Juliet."""
        server = await a_server(self, config_of(modules=modules))
        return server, Person(server, "juliet@example.com/b")

    async def answer(self, juliet: Person, request: str) -> list[dict[str, str]]:
        """The attributes of the children of the result."""
        await juliet.tell(request)
        (result,) = juliet.got()
        self.assertEqual("result", result.type)
        query: Element = next(iter(result.tree))
        return [{str(key): str(value) for key, value in child.attrib.items()} for child in iter(query)]


class Telling(DiscoCase):
    """Results."""

    async def test_host(self) -> None:
        """A host is an im server with the features of the enabled modules, and only those."""
        _, juliet = await self.begin()
        self.assertEqual(
            [
                {"category": "server", "type": "im", "name": "chatrix"},
                {"var": INFO},
                {"var": ITEMS},
                {"var": "urn:xmpp:ping"},
            ],
            await self.answer(juliet, ask(INFO, "example.com")),
        )

    async def test_items(self) -> None:
        """The items of a host are the services that are connected; of an account there are none."""
        server, juliet = await self.begin()
        self.assertEqual([], await self.answer(juliet, ask(ITEMS, "example.com")))
        Elsewhere(server)
        self.assertEqual([{"jid": "else.where"}], await self.answer(juliet, ask(ITEMS, "example.com")))
        for own in ("", "juliet@example.com"):
            self.assertEqual([], await self.answer(juliet, ask(ITEMS, own)))

    async def test_own_account(self) -> None:
        """One's own account is a registered one, asked with and without `to`."""
        _, juliet = await self.begin()
        for own in ("", "juliet@example.com"):
            identity, *features = await self.answer(juliet, ask(INFO, own))
            self.assertEqual({"category": "account", "type": "registered"}, identity)
            self.assertIn({"var": "jabber:iq:roster"}, features)

    async def test_somebody_else(self) -> None:
        """Another account tells a subscriber what one's own tells; to others it is as if it were not there."""
        server, juliet = await self.begin()
        async with server.rosters.changing(JID.parse("romeo@example.com")) as roster:
            assert roster is not None
            item = RosterItem("romeo@example.com", "juliet@example.com", subscription="from")
            await server.rosters.save(roster, item)
        self.assertEqual(
            await self.answer(juliet, ask(INFO)), await self.answer(juliet, ask(INFO, "romeo@example.com"))
        )
        self.assertEqual([], await self.answer(juliet, ask(ITEMS, "romeo@example.com")))
        for namespace in (INFO, ITEMS):
            for node in ("", "x"):
                answers = []
                for name in ("nurse", "nobody"):
                    await juliet.tell(ask(namespace, f"{name}@example.com", node))
                    (error,) = juliet.got()
                    self.assertEqual("service-unavailable", outline(error)[-1])
                    answers.append(error.to_bytes().replace(name.encode(), b"X"))
                self.assertEqual(answers[0], answers[1])


class Refusing(DiscoCase):
    """Errors."""

    async def test_nodes(self) -> None:
        """There are no nodes."""
        _, juliet = await self.begin()
        for namespace in (INFO, ITEMS):
            for to in ("example.com", "", "juliet@example.com"):
                await juliet.tell(ask(namespace, to, "urn:x"))
                self.assertEqual(["item-not-found"], [outline(each)[-1] for each in juliet.got()])

    async def test_set(self) -> None:
        """Nothing can be set."""
        _, juliet = await self.begin()
        await juliet.tell(ask(INFO, "example.com").replace("'get'", "'set'"))
        self.assertEqual(["service-unavailable"], [outline(each)[-1] for each in juliet.got()])

    async def test_database_gone(self) -> None:
        """When nobody can say who may ask, the server says that it failed."""
        server, juliet = await self.begin()

        async def fail(*_: Any) -> Any:
            raise DatabaseError("gone")

        with patch.object(server.rosters.store, "load", fail):
            await juliet.tell(ask(INFO, "romeo@example.com"))
        self.assertEqual(["internal-server-error"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
