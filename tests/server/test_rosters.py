"""Rosters in memory: one of each, changed by one at a time, written before anybody is told, bounded."""

from __future__ import annotations

import dataclasses
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.server import rosters
from chatrix.server.rosters import Roster
from chatrix.server.server import Server
from chatrix.store.accounts import NoSuchAccount
from chatrix.store.database import DatabaseError
from chatrix.store.roster import RosterItem
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.subscription import State
from tests.inmemory import Person, a_server, stanza

JULIET = JID.parse("juliet@example.com")
ROMEO = JID.parse("romeo@example.com")


class Reading(TestCase):
    """`of` and `known`."""

    async def test_one_of_each(self) -> None:
        """Whoever asks gets the same roster, before, during and after sessions, also when several ask at once."""
        server = await a_server(self)
        both = [Deferred.fromCoroutine(server.rosters.of(JULIET)) for _ in range(2)]
        roster = await both[0]
        self.assertIsNotNone(roster)
        self.assertIs(roster, await both[1])
        juliet = Person(server, "juliet@example.com/a")
        self.assertIs(roster, server.rosters.known(juliet.session.account))
        self.assertIs(roster, await server.rosters.of(juliet.session.jid))
        self.assertEqual([], list(server.rosters._recent))
        juliet.leaves()
        self.assertIs(roster, await server.rosters.of(JULIET))

    async def test_nobody(self) -> None:
        """No account, no roster."""
        server = await a_server(self)
        self.assertIsNone(await server.rosters.of(JID.parse("paris@example.com")))
        async with server.rosters.changing(JID.parse("paris@example.com")) as roster:
            self.assertIsNone(roster)

    async def test_read_back(self) -> None:
        """What was saved is there after a restart."""
        server = await a_server(self)
        request = stanza("<presence type='subscribe' from='nurse@example.com' to='juliet@example.com'/>")
        async with server.rosters.changing(JULIET) as roster:
            assert roster is not None
            item = RosterItem(str(JULIET), str(ROMEO), "R", "both", groups=("friends",))
            await server.rosters.save(roster, item)
            await server.rosters.keep_request(roster, JID.parse("nurse@example.com/x"), request)
        server.rosters.forget(JULIET)
        again = await server.rosters.of(JULIET)
        assert again is not None and roster is not None
        self.assertIsNot(roster, again)
        self.assertEqual(roster.version, again.version)
        self.assertEqual(item, dataclasses.replace(again.items[str(ROMEO)], changed=0))
        self.assertEqual({"nurse@example.com": request.to_bytes()}, again.requests)
        self.assertIs(State.NONE_IN, again.state(JID.parse("nurse@example.com/y")))
        self.assertIs(State.BOTH, again.state(ROMEO.with_resource("x")))

    async def test_who_sees(self) -> None:
        """Presence is for subscribers and for the account itself."""
        roster = Roster(JULIET, 1)
        for subscription in ("none", "to", "from", "both"):
            roster.items[f"{subscription}@x"] = RosterItem(str(JULIET), f"{subscription}@x", subscription=subscription)
        self.assertEqual(["from@x", "both@x"], roster.subscribers)
        self.assertEqual(["to@x", "both@x"], roster.subscriptions)
        seeing = ("none@x/r", "to@x/r", "from@x/r", "both@x/r", "stranger@x", "juliet@example.com/b")
        self.assertEqual(
            ["from@x/r", "both@x/r", "juliet@example.com/b"],
            [text for text in seeing if roster.lets_see(JID.parse(text))],
        )

    async def test_bound(self) -> None:
        """Of accounts that are not connected only the latest rosters are kept; never one that is being changed."""
        names = [f"user{n}@example.com" for n in range(5)]
        server = await a_server(self, accounts=names)
        with patch.object(rosters, "ROSTERS_KEPT", 2):
            async with server.rosters.changing(JID.parse(names[0])) as first:
                for name in names[1:]:
                    await server.rosters.of(JID.parse(name))
                self.assertIs(first, await server.rosters.of(JID.parse(names[0])))
                self.assertEqual(2, len(server.rosters._recent))
            for name in names[1:]:
                await server.rosters.of(JID.parse(name))
            self.assertEqual(names[3:], list(server.rosters._recent))

    async def test_deleted(self) -> None:
        """Of a deleted account nothing stays: whoever gets the name next begins with an empty roster."""
        server = await a_server(self)
        juliet = Person(server, str(JULIET.with_resource("a")))
        await juliet.comes_online()
        async with server.rosters.changing(JULIET) as roster:
            assert roster is not None
            await server.rosters.save(roster, RosterItem(str(JULIET), str(ROMEO)))
        await server.accounts.store.delete("juliet", "example.com")
        server.account_deleted(JULIET)
        self.assertEqual("not-authorized", getattr(juliet.stream.error, "condition", None))
        self.assertIsNone(await server.rosters.of(JULIET))
        await server.accounts.store.create("juliet", "example.com", ())
        again = await server.rosters.of(JULIET)
        assert again is not None
        self.assertEqual({}, again.items)


class Changing(TestCase):
    """`changing`, `save`, `remove` and requests."""

    async def item(self, server: Server) -> None:
        """Put Romeo into Juliet's roster."""
        async with server.rosters.changing(JULIET) as roster:
            assert roster is not None
            await server.rosters.save(roster, RosterItem(str(JULIET), str(ROMEO)))

    async def test_one_at_a_time(self) -> None:
        """Who changes a roster keeps others from it until he is done, also when he fails."""
        server = await a_server(self)
        order: list[str] = []
        gate: Deferred[None] = Deferred()

        async def change(name: str, wait: Deferred[None] | None = None) -> None:
            async with server.rosters.changing(JULIET.with_resource(name)):
                order.append(f"{name} begins")
                if wait is not None:
                    await wait
                order.append(f"{name} ends")

        first = Deferred.fromCoroutine(change("first", gate))
        second = Deferred.fromCoroutine(change("second"))
        self.assertEqual(["first begins"], order)
        gate.errback(KeyError())
        await self.assertFailure(first, KeyError)
        await second
        self.assertEqual(["first begins", "second begins", "second ends"], order)

    async def test_pushes(self) -> None:
        """Changes are pushed to the sessions that asked for the roster, with the version they make."""
        server = await a_server(self)
        interested, other = Person(server, "juliet@example.com/a"), Person(server, "juliet@example.com/b")
        await interested.comes_online()
        await self.item(server)
        async with server.rosters.changing(JULIET) as roster:
            assert roster is not None
            saved = roster.version
            await server.rosters.remove(roster, str(ROMEO))
        self.assertLess(saved, roster.version)
        pushes = interested.got()
        self.assertEqual([("set", "juliet@example.com/a")] * 2, [(push.type, push.attributes["to"]) for push in pushes])
        self.assertEqual(2, len({push.id for push in pushes}))
        queries = [next(iter(push.tree)) for push in pushes]
        self.assertEqual([str(saved), str(roster.version)], [query.get("ver") for query in queries])
        items = [next(iter(query)) for query in queries]
        self.assertEqual(["none", "remove"], [item.get("subscription") for item in items])
        self.assertEqual([], other.got())

    async def test_failing_database(self) -> None:
        """What is not on disk was not changed, and nobody is told of it."""
        server = await a_server(self)
        juliet = Person(server, "juliet@example.com/a")
        await juliet.comes_online()
        await self.item(server)
        juliet.got()
        server.rosters.store._database = Failing()  # type: ignore[assignment]
        async with server.rosters.changing(JULIET) as roster:
            assert roster is not None
            before = dict(roster.items), roster.version
            for change in (
                server.rosters.save(roster, RosterItem(str(JULIET), "nurse@example.com")),
                server.rosters.save(roster, RosterItem(str(JULIET), str(ROMEO), "new name")),
                server.rosters.remove(roster, str(ROMEO)),
                server.rosters.keep_request(roster, ROMEO, stanza("<presence type='subscribe'/>")),
            ):
                with self.assertRaises(DatabaseError):
                    await change
            self.assertEqual((before, {}), ((roster.items, roster.version), roster.requests))
        self.assertEqual([], juliet.got())

    async def test_failing_request(self) -> None:
        """A request that could not be forgotten on disk is not forgotten in memory."""
        server = await a_server(self)
        async with server.rosters.changing(JULIET) as roster:
            assert roster is not None
            await server.rosters.keep_request(roster, ROMEO, stanza("<presence type='subscribe'/>"))
            database, server.rosters.store._database = server.rosters.store._database, Failing()  # type: ignore[assignment]
            with self.assertRaises(DatabaseError):
                await server.rosters.drop_request(roster, ROMEO)
            self.assertEqual([str(ROMEO)], list(roster.requests))
            server.rosters.store._database = database
            await server.rosters.drop_request(roster, ROMEO)
            self.assertEqual([], list(roster.requests))

    async def test_too_many_requests(self) -> None:
        """Strangers cannot fill the memory with requests."""
        server = await a_server(self)
        with patch.object(type(server.rosters.store).save_request, "__defaults__", (2,)):
            async with server.rosters.changing(JULIET) as roster:
                assert roster is not None
                kept = [
                    await server.rosters.keep_request(roster, JID.of(f"u{n}", "x.org"), stanza("<presence/>"))
                    for n in range(3)
                ]
        self.assertEqual([True, True, False], kept)
        self.assertEqual(2, len(roster.requests))

    async def test_account_gone(self) -> None:
        """A change for an account that was deleted meanwhile fails and writes nothing."""
        server = await a_server(self)
        async with server.rosters.changing(JULIET) as roster:
            assert roster is not None
            await server.accounts.store.delete("juliet", "example.com")
            with self.assertRaises(NoSuchAccount):
                await server.rosters.save(roster, RosterItem(str(JULIET), str(ROMEO)))

    async def test_end_while_changing(self) -> None:
        """A session that ends in the middle of a change leaves a roster that can still be changed."""
        server = await a_server(self)
        juliet = Person(server, "juliet@example.com/a")
        async with server.rosters.changing(JULIET):
            juliet.stream.close(StreamError("reset"))
        await self.item(server)


class Failing:
    """A database that fails whatever it is asked."""

    def __getattr__(self, name: str) -> object:
        def fail(*_: object, **__: object) -> object:
            raise DatabaseError("the disk is gone")

        return fail
