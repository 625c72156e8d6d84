"""Presence: broadcasts, probes, directed presence, the end of sessions, what strangers learn (RFC 6121 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.modules import presence
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.store.roster import RosterItem
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.jid import JID
from tests.inmemory import Elsewhere, Person, a_server, config_of, outline, quiet, stanza

JULIET, ROMEO = "juliet@example.com", "romeo@example.com"


async def befriend(server: Server, account: str, **contacts: str) -> None:
    """Put contacts with these subscriptions into an account's roster; `__at__` spells @ and `__` a dot."""
    async with server.rosters.changing(JID.parse(account)) as roster:
        assert roster is not None
        for name, subscription in contacts.items():
            jid = name.replace("__at__", "@").replace("__", ".")
            await server.rosters.save(roster, RosterItem(account, jid, subscription=subscription))


class PresenceCase(TestCase):
    """Juliet's contacts: Romeo sees her and is seen, others at else.where see less."""

    async def begin(self, friends: bool = True) -> tuple[Server, Elsewhere]:
        """The server with these rosters, and else.where."""
        server = await a_server(self, config_of(modules="roster presence subscription"))
        elsewhere = Elsewhere(server)
        if friends:
            await befriend(
                server,
                JULIET,
                romeo__at__example__com="both",
                from__at__else__where="from",
                to__at__else__where="to",
                none__at__else__where="none",
            )
            await befriend(server, ROMEO, juliet__at__example__com="both")
        return server, elsewhere


class Broadcasts(PresenceCase):
    """Sections 4.2, 4.4 and 4.5."""

    async def test_initial(self) -> None:
        """First presence goes to subscribers and to oneself, probes go to those whom one sees."""
        server, elsewhere = await self.begin()
        romeo = Person(server, f"{ROMEO}/o")
        await romeo.comes_online()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.tell("<presence><show>away</show></presence>")
        self.assertEqual([("", f"{JULIET}/b", "from@else.where"), ("probe", JULIET, "to@else.where")], elsewhere.got())
        self.assertEqual([("presence", "", f"{JULIET}/b", ROMEO)], [outline(each) for each in romeo.got()])
        self.assertEqual(
            {("presence", "", f"{JULIET}/b", JULIET), ("presence", "", f"{ROMEO}/o", f"{JULIET}/b")},
            {outline(each) for each in juliet.got()},
        )

    async def test_later(self) -> None:
        """Later presence goes to subscribers and to oneself, and probes nobody."""
        server, elsewhere = await self.begin()
        juliet, second = Person(server, f"{JULIET}/b"), Person(server, f"{JULIET}/c")
        await juliet.comes_online()
        await second.comes_online()
        juliet.got()
        elsewhere.got()
        await juliet.tell("<presence><show>dnd</show></presence>")
        self.assertEqual([("", f"{JULIET}/b", "from@else.where")], elsewhere.got())
        for each in (juliet, second):
            self.assertEqual([("presence", "", f"{JULIET}/b", JULIET)], [outline(one) for one in each.got()])

    async def test_unavailable(self) -> None:
        """Who leaves is unavailable to subscribers, once; the connection's end says nothing more."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.comes_online()
        elsewhere.got()
        await juliet.tell("<presence type='unavailable'><status>bye</status></presence>")
        self.assertEqual([("unavailable", f"{JULIET}/b", "from@else.where")], elsewhere.got())
        self.assertEqual(1, len(juliet.got()))
        await juliet.tell("<presence type='unavailable'/>")
        juliet.leaves()
        await quiet()
        self.assertEqual([], elsewhere.got())

    async def test_lost(self) -> None:
        """A connection that is lost is unavailable to subscribers, to whoever got directed presence, and to oneself."""
        server, elsewhere = await self.begin()
        juliet, second = Person(server, f"{JULIET}/b"), Person(server, f"{JULIET}/c")
        await juliet.comes_online()
        await second.comes_online()
        await juliet.tell("<presence to='room@else.where/me'/>")
        elsewhere.got()
        second.got()
        juliet.leaves()
        await quiet()
        self.assertEqual(
            [("unavailable", f"{JULIET}/b", "from@else.where"), ("unavailable", f"{JULIET}/b", "room@else.where/me")],
            elsewhere.got(),
        )
        self.assertEqual([("presence", "unavailable", f"{JULIET}/b", JULIET)], [outline(one) for one in second.got()])

    async def test_every_end(self) -> None:
        """Whatever ends a session, its contacts see it: conflict, a new password, deletion, the end of the server."""

        async def delete() -> None:
            await server.accounts.store.delete("juliet", "example.com")
            server.account_deleted(JID.parse(JULIET))

        server, elsewhere = await self.begin()
        ends: tuple[Callable[[], Any], ...] = (
            lambda: Person(server, f"{JULIET}/b"),
            lambda: server.end_sessions(JID.parse(JULIET), StreamError("not-authorized")),
            lambda: server.close_all(StreamError("system-shutdown")),
            delete,
        )
        for end in ends:
            juliet = Person(server, f"{JULIET}/b")
            await juliet.comes_online()
            await juliet.tell("<presence to='room@else.where/me'/>")
            elsewhere.took.clear()
            ended = end()
            if ended is not None and not isinstance(ended, Person):
                await ended
            await quiet()
            gone = [
                ("unavailable", f"{JULIET}/b", "from@else.where"),
                ("unavailable", f"{JULIET}/b", "room@else.where/me"),
            ]
            self.assertEqual(gone, [each for each in elsewhere.got() if each[0] == "unavailable"])

    async def test_cancelled(self) -> None:
        """A contact whose subscription is cancelled is told the end once, also when it got directed presence."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.comes_online()
        await juliet.tell("<presence to='from@else.where/x'/>")
        elsewhere.took.clear()
        await juliet.tell("<presence type='unsubscribed' to='from@else.where'/>")
        juliet.leaves()
        await quiet()
        self.assertEqual(
            [("unavailable", f"{JULIET}/b", "from@else.where"), ("unsubscribed", JULIET, "from@else.where")],
            elsewhere.got(),
        )

    async def test_never_available(self) -> None:
        """A session that never was available ends without a word."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.tell("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>")
        juliet.leaves()
        await quiet()
        self.assertEqual([], elsewhere.got())

    async def test_unknown_type(self) -> None:
        """A type that there is not gets bad-request, with and without `to`, and goes nowhere."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        for to in ("", "to='from@else.where'"):
            await juliet.tell(f"<presence type='invisible' {to}/>")
            self.assertEqual(["bad-request"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual([], elsewhere.got())
        await elsewhere.says(f"<presence type='invisible' from='a@else.where' to='{JULIET}'/>")
        self.assertEqual([("error", JULIET, "a@else.where")], elsewhere.got())

    async def test_database_gone(self) -> None:
        """When the roster cannot be read nobody is told anything, and the client learns that it failed."""
        server, elsewhere = await self.begin()
        server.rosters.forget(JID.parse(JULIET))

        async def fail(*_: Any) -> Any:
            raise DatabaseError("gone")

        juliet = Person(server, f"{JULIET}/b")
        with patch.object(server.rosters.store, "load", fail):
            await juliet.tell("<presence/>")
        self.assertEqual(["internal-server-error"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
        await juliet.tell("<presence/>")
        self.assertIn(("", f"{JULIET}/b", "from@else.where"), elsewhere.got())


class Probes(PresenceCase):
    """Section 4.3."""

    async def test_answers(self) -> None:
        """A subscriber gets each session's last presence; others, and those who ask after nobody, get unsubscribed."""
        server, elsewhere = await self.begin()
        juliet, second = Person(server, f"{JULIET}/b"), Person(server, f"{JULIET}/c")
        await juliet.comes_online("<presence><show>away</show></presence>")
        await second.comes_online()
        elsewhere.took.clear()
        juliet.got()
        await elsewhere.says(f"<presence type='probe' from='from@else.where' to='{JULIET}'/>")
        self.assertEqual(["away", ""], [each.tree.text_of(None, "show") or "" for each in elsewhere.took])
        self.assertEqual(
            [("", f"{JULIET}/b", "from@else.where"), ("", f"{JULIET}/c", "from@else.where")], elsewhere.got()
        )
        for who in ("to@else.where", "none@else.where", "stranger@else.where/x"):
            await elsewhere.says(f"<presence type='probe' id='p' from='{who}' to='{JULIET}'/>")
            self.assertEqual([("unsubscribed", JULIET, who)], elsewhere.got())
        await elsewhere.says("<presence type='probe' from='from@else.where' to='nobody@example.com'/>")
        self.assertEqual([("unsubscribed", "nobody@example.com", "from@else.where")], elsewhere.got())
        self.assertEqual([], juliet.got() + second.got())

    async def test_away(self) -> None:
        """A subscriber of somebody who is not there learns that."""
        _, elsewhere = await self.begin()
        await elsewhere.says(f"<presence type='probe' id='p' from='from@else.where' to='{JULIET}'/>")
        self.assertEqual("p", elsewhere.took[0].id)
        self.assertEqual([("unavailable", JULIET, "from@else.where")], elsewhere.got())

    async def test_full(self) -> None:
        """A probe of a full JID tells a subscriber of that session alone (section 4.3.2)."""
        server, elsewhere = await self.begin()
        juliet, second = Person(server, f"{JULIET}/b"), Person(server, f"{JULIET}/c")
        await juliet.comes_online("<presence><show>away</show></presence>")
        await second.comes_online()
        elsewhere.took.clear()
        await elsewhere.says(f"<presence type='probe' from='from@else.where' to='{JULIET}/b'/>")
        self.assertEqual([("", f"{JULIET}/b", "from@else.where")], elsewhere.got())
        await elsewhere.says(f"<presence type='probe' from='from@else.where' to='{JULIET}/gone'/>")
        self.assertEqual([("unavailable", f"{JULIET}/gone", "from@else.where")], elsewhere.got())

    async def test_directed(self) -> None:
        """Who got directed presence may ask that session whether it is still there (section 4.3.2)."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.comes_online()
        await juliet.tell("<presence to='room@else.where/me'/>")
        elsewhere.took.clear()
        await elsewhere.says(f"<presence type='probe' from='room@else.where/me' to='{JULIET}/b'/>")
        self.assertEqual([("", f"{JULIET}/b", "room@else.where/me")], elsewhere.got())
        await elsewhere.says(f"<presence type='probe' from='room@else.where/other' to='{JULIET}/b'/>")
        self.assertEqual([("unsubscribed", JULIET, "room@else.where/other")], elsewhere.got())

    async def test_own(self) -> None:
        """A client that probes does so in the name of its account (section 4.3.1)."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.tell("<presence type='probe' to='to@else.where'/>")
        self.assertEqual([("probe", JULIET, "to@else.where")], elsewhere.got())


class Directed(PresenceCase):
    """Section 4.6."""

    async def test_ends(self) -> None:
        """Who got directed presence is told of the end by a broadcast, once, and not if it was told already."""
        server, elsewhere = await self.begin(friends=False)
        juliet = Person(server, f"{JULIET}/b")
        await juliet.comes_online()
        for to in ("a@else.where", "b@else.where"):
            await juliet.tell(f"<presence to='{to}'/>")
        await juliet.tell("<presence type='unavailable' to='a@else.where'/>")
        elsewhere.got()
        await juliet.tell("<presence><show>away</show></presence>")
        self.assertEqual([], elsewhere.got())
        await juliet.tell("<presence type='unavailable'/>")
        self.assertEqual([("unavailable", f"{JULIET}/b", "b@else.where")], elsewhere.got())
        juliet.leaves()
        await quiet()
        self.assertEqual([], elsewhere.got())

    async def test_subscriber_once(self) -> None:
        """A subscriber who also got directed presence is told of the end once."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.comes_online()
        await juliet.tell("<presence to='from@else.where/x'/>")
        elsewhere.got()
        juliet.leaves()
        await quiet()
        self.assertEqual([("unavailable", f"{JULIET}/b", "from@else.where")], elsewhere.got())

    async def test_without_initial(self) -> None:
        """Directed presence needs no broadcast before it; its end is told all the same, and nothing else."""
        server, elsewhere = await self.begin()
        juliet = Person(server, f"{JULIET}/b")
        await juliet.tell("<presence to='a@else.where'/>")
        juliet.leaves()
        await quiet()
        expected = [("", f"{JULIET}/b", "a@else.where"), ("unavailable", f"{JULIET}/b", "a@else.where")]
        self.assertEqual(expected, elsewhere.got())
        again = Person(server, f"{JULIET}/b")
        await again.tell("<presence to='a@else.where'/>")
        await again.tell("<presence type='unavailable'/>")
        self.assertEqual(expected, elsewhere.got())
        self.assertEqual([], again.got())

    async def test_other_side_left(self) -> None:
        """Who said that he is gone himself is not told any more."""
        server, elsewhere = await self.begin(friends=False)
        juliet = Person(server, f"{JULIET}/b")
        await juliet.comes_online()
        await juliet.tell("<presence to='room@else.where/me'/>")
        elsewhere.got()
        await elsewhere.says(f"<presence type='unavailable' from='room@else.where/me' to='{JULIET}/b'/>")
        self.assertEqual(["unavailable"], [each.type for each in juliet.got()])
        juliet.leaves()
        await quiet()
        self.assertEqual([], elsewhere.got())

    async def test_bound(self) -> None:
        """A session can send directed presence to so many; repeating it is free."""
        server, elsewhere = await self.begin(friends=False)
        juliet = Person(server, f"{JULIET}/b")
        with patch.object(presence, "MOST_DIRECTED", 2):
            for name in "aabbc":
                await juliet.tell(f"<presence to='{name}@else.where'/>")
        self.assertEqual(["resource-constraint"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual(4, len(elsewhere.got()))


class Screening(PresenceCase):
    """Section 8.5.3.1: requests to a session are for those who know that it is there."""

    async def test_requests(self) -> None:
        """Strangers' requests to a session get service-unavailable; subscribers', one's own and the host's pass."""
        server, elsewhere = await self.begin()
        juliet, second = Person(server, f"{JULIET}/b"), Person(server, f"{JULIET}/c")
        await juliet.comes_online(roster=False)
        get = "<iq type='get' id='1' from='{}' to='" + JULIET + "/b'><q xmlns='urn:q'/></iq>"
        for who, passes in (
            ("from@else.where/x", True),
            ("to@else.where/x", False),
            ("stranger@else.where/x", False),
            ("else.where", True),
            ("example.com", True),
            ("third.domain", False),
        ):
            elsewhere.got()
            await elsewhere.says(get.format(who))
            with self.subTest(who=who):
                self.assertEqual(passes, bool(juliet.got()))
                expected = [] if passes or not who.endswith("else.where/x") else [("error", f"{JULIET}/b", who)]
                self.assertEqual(expected, elsewhere.got())
        await second.tell(f"<iq type='get' id='1' to='{JULIET}/b'><q xmlns='urn:q'/></iq>")
        self.assertEqual(1, len(juliet.got()))

    async def test_directed(self) -> None:
        """Whoever got directed presence may ask, whichever resource he has."""
        server, elsewhere = await self.begin(friends=False)
        juliet = Person(server, f"{JULIET}/b")
        await juliet.tell("<presence to='room@else.where/me'/>")
        await elsewhere.says(f"<iq type='get' id='1' from='room@else.where/y' to='{JULIET}/b'><q xmlns='urn:q'/></iq>")
        self.assertEqual(["iq"], [each.name for each in juliet.got()])

    async def test_alike(self) -> None:
        """A stranger's answer is the same for a session that is there and one that is not."""
        server, elsewhere = await self.begin()
        Person(server, f"{JULIET}/there")
        answers = []
        for resource in ("there", "gone"):
            await elsewhere.says(
                f"<iq type='get' id='1' from='x@else.where' to='{JULIET}/{resource}'><q xmlns='urn:q'/></iq>"
            )
            answers.append(elsewhere.took.pop().to_bytes().replace(resource.encode(), b"R"))
        self.assertEqual(answers[0], answers[1])

    async def test_answers_pass(self) -> None:
        """Results and errors reach the session that asked, from whomever."""
        server, elsewhere = await self.begin(friends=False)
        juliet = Person(server, f"{JULIET}/b")
        for type_ in ("result", "error"):
            await elsewhere.says(f"<iq type='{type_}' id='1' from='x@else.where' to='{JULIET}/b'/>")
        self.assertEqual(["result", "error"], [each.type for each in juliet.got()])


class Greeting(PresenceCase):
    """What a new session learns."""

    async def test_siblings(self) -> None:
        """It learns which other sessions of the account are available (section 4.2.2)."""
        server, _ = await self.begin(friends=False)
        first, second, third = (Person(server, f"{JULIET}/{name}") for name in "abc")
        await first.comes_online("<presence><show>xa</show></presence>")
        await second.tell("<presence/>")
        self.assertEqual(
            {("presence", "", f"{JULIET}/a", f"{JULIET}/b"), ("presence", "", f"{JULIET}/b", JULIET)},
            {outline(each) for each in second.got()},
        )
        self.assertEqual([], third.got())

    async def test_harness(self) -> None:
        """`befriend` spells what it should."""
        server, _ = await self.begin()
        roster = await server.rosters.of(JID.parse(JULIET))
        assert roster is not None
        self.assertEqual(
            ["romeo@example.com", "from@else.where", "to@else.where", "none@else.where"], list(roster.items)
        )
        self.assertEqual("presence", stanza("<presence/>").name)
