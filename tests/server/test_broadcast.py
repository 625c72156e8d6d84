"""Presence sent on behalf of sessions."""

from twisted.trial.unittest import TestCase

from chatrix.server.broadcast import send_current, send_to, send_unavailable, unavailable
from chatrix.server.server import Server
from chatrix.xmpp.stanza import Presence, Stanza
from tests.inmemory import Person, a_server


class Remembering:
    """A route that remembers."""

    def __init__(self) -> None:
        self.took: list[dict[str, str]] = []

    def deliver(self, stanza: Stanza) -> None:
        """Take a stanza."""
        self.took.append(dict(stanza.attributes))


class Broadcast(TestCase):
    """`send_to`, `send_current` and `send_unavailable`."""

    async def server_with_route(self) -> tuple[Server, Remembering]:
        """A server, and what takes its stanzas for else.where."""
        server, route = await a_server(self), Remembering()
        server.router.routes["else.where"] = route  # type: ignore[assignment]
        return server, route

    async def test_send_to(self) -> None:
        """Each gets a copy addressed to him; one that cannot be reached does not keep it from the others."""
        server, route = await self.server_with_route()
        presence = Presence({"from": "juliet@example.com/a"})
        send_to(server.router, presence, ["a@else.where", "b@unknown.domain", "c@else.where"])
        self.assertEqual(["a@else.where", "c@else.where"], [attributes["to"] for attributes in route.took])
        self.assertEqual({"from": "juliet@example.com/a"}, presence.attributes)

    async def test_current(self) -> None:
        """A contact gets the presence of each available session, and of no other."""
        server, route = await self.server_with_route()
        people = [Person(server, f"juliet@example.com/{name}") for name in "abc"]
        await people[0].comes_online("<presence id='p'><show>away</show></presence>")
        await people[2].comes_online("<presence><priority>-1</priority></presence>")
        send_current(server.router, people[0].session.account, "romeo@else.where")
        self.assertEqual(
            [("juliet@example.com/a", "romeo@else.where"), ("juliet@example.com/c", "romeo@else.where")],
            [(attributes["from"], attributes["to"]) for attributes in route.took],
        )

    async def test_unavailable(self) -> None:
        """A contact is told of each available session that it is gone."""
        server, route = await self.server_with_route()
        people = [Person(server, f"juliet@example.com/{name}") for name in "ab"]
        await people[1].comes_online()
        send_unavailable(server.router, people[0].session.account, "romeo@else.where")
        self.assertEqual(
            [{"from": "juliet@example.com/b", "type": "unavailable", "to": "romeo@else.where"}], route.took
        )
        self.assertEqual(route.took[0], {**unavailable(people[1].session).attributes, "to": "romeo@else.where"})
