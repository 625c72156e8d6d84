"""The roster: limits, errors, versions, and what removing does (RFC 6121 section 2)."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.store.roster import RosterItem
from chatrix.xmpp.element import Element
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import Stanza
from chatrix.xmpp.subscription import State
from tests.inmemory import Elsewhere, Person, a_server, config_of, outline, stanza

JULIET, FULL, CONTACT = "juliet@example.com", "juliet@example.com/b", "c@else.where"


def put(item: str) -> str:
    """A request to set this item."""
    return f"<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>"


def get(version: str | None = None) -> str:
    """A request for the roster."""
    ver = "" if version is None else f" ver='{version}'"
    return f"<iq type='get' id='g'><query xmlns='jabber:iq:roster'{ver}/></iq>"


def items(each: Stanza) -> list[dict[str, str]]:
    """The attributes of the items in a roster."""
    query: Element = next(iter(each.tree))
    return [{str(key): str(value) for key, value in item.attrib.items()} for item in iter(query)]


class RosterCase(TestCase):
    """Juliet edits her roster."""

    async def begin(self, limits: str = "") -> tuple[Server, Person]:
        """The server, and Juliet, who has asked for her roster."""
        server = await a_server(self, config_of(modules="roster presence subscription", limits=limits))
        juliet = Person(server, FULL)
        await juliet.comes_online()
        return server, juliet

    async def version(self, juliet: Person) -> str:
        """The version that a full roster has now."""
        await juliet.tell(get())
        query: Element = next(iter(juliet.got()[-1].tree))
        return query.get("ver") or ""


class Setting(RosterCase):
    """Sections 2.3 and 2.4."""

    async def test_errors(self) -> None:
        """What is no item is refused with the RFC's condition, and nothing changes."""
        server, juliet = await self.begin()
        item = "<item jid='c@else.where' {}>{}</item>"
        for xml, condition in (
            ("", "bad-request"),
            (item.format("", "") * 2, "bad-request"),
            ("<item xmlns='urn:x' jid='c@else.where'/>", "bad-request"),
            ("<contact jid='c@else.where'/>", "bad-request"),
            ("<item/>", "bad-request"),
            ("<item jid=''/>", "bad-request"),
            ("<item jid='@else.where'/>", "bad-request"),
            (f"<item jid='{JULIET}'/>", "not-allowed"),
            (item.format(f"name='{'n' * 1024}'", ""), "not-acceptable"),
            (item.format(f"name='{chr(233) * 512}'", ""), "not-acceptable"),
            (item.format("", "<group/>"), "not-acceptable"),
            (item.format("", f"<group>{'g' * 1024}</group>"), "not-acceptable"),
            (item.format("", "<group>g</group><group>g</group>"), "bad-request"),
            (item.format("", "".join(f"<group>{n}</group>" for n in range(101))), "not-acceptable"),
            ("<item jid='c@else.where' subscription='remove'/>", "item-not-found"),
        ):
            with self.subTest(xml=xml[:80]):
                await juliet.tell(put(xml))
                self.assertEqual([condition], [outline(each)[-1] for each in juliet.got()])
        roster = await server.rosters.of(JID.parse(JULIET))
        assert roster is not None
        self.assertEqual({}, roster.items)

    async def test_longest(self) -> None:
        """A name and groups as long, and as many, as allowed are kept."""
        _, juliet = await self.begin()
        name = f"name='{'n' * 1023}'"
        for groups, answer in (
            (["x" * 1023, "y" * 1023, "z" * 1023, "four"], ["set", "result"]),
            (["x" * 1023, "y" * 1023, "z" * 1023, "-five"], ["error"]),
            ([str(n) for n in range(100)], ["set", "result"]),
        ):
            inside = "".join(f"<group>{group}</group>" for group in groups)
            await juliet.tell(put(f"<item jid='{CONTACT}' {name}>{inside}</item>"))
            self.assertEqual(answer, [each.type for each in juliet.got()])

    async def test_not_for_the_client(self) -> None:
        """A client cannot give itself a subscription (section 2.3.1); the resource of a contact is dropped."""
        _, juliet = await self.begin()
        await juliet.tell(put(f"<item jid='{CONTACT}/r' subscription='both' ask='subscribe' approved='true'/>"))
        self.assertEqual([{"jid": CONTACT, "subscription": "none"}], items(juliet.got()[0]))

    async def test_subscription_stays(self) -> None:
        """A new name changes nothing else."""
        server, juliet = await self.begin()
        Elsewhere(server)
        await juliet.tell(f"<presence type='subscribe' to='{CONTACT}'/>")
        juliet.got()
        await juliet.tell(put(f"<item jid='{CONTACT}' name='new'/>"))
        self.assertEqual(
            [{"jid": CONTACT, "subscription": "none", "ask": "subscribe", "name": "new"}], items(juliet.got()[0])
        )

    async def test_full(self) -> None:
        """A roster has only so many contacts; those that are there can be changed."""
        _, juliet = await self.begin(limits="roster items = 1")
        await juliet.tell(put("<item jid='first@else.where'/>"))
        juliet.got()
        await juliet.tell(put(f"<item jid='{CONTACT}'/>"))
        self.assertEqual(["resource-constraint"], [outline(each)[-1] for each in juliet.got()])
        await juliet.tell(put("<item jid='first@else.where' name='new'/>"))
        self.assertEqual(["set", "result"], [each.type for each in juliet.got()])

    async def test_somebody_elses(self) -> None:
        """Another's roster is forbidden ground, whether there is one or not."""
        _, juliet = await self.begin()
        for to in ("romeo@example.com", "nobody@example.com"):
            for request in (get(), put(f"<item jid='{CONTACT}'/>")):
                await juliet.tell(request.replace("<iq ", f"<iq to='{to}' "))
        self.assertEqual(["forbidden"] * 4, [outline(each)[-1] for each in juliet.got()])

    async def test_database_gone(self) -> None:
        """What is not on disk is neither confirmed nor pushed."""
        server, juliet = await self.begin()
        for method, request in (
            ("save", put(f"<item jid='{CONTACT}'/>")),
            ("remove", put("<item jid='first@else.where' subscription='remove'/>")),
        ):
            await juliet.tell(put("<item jid='first@else.where'/>"))
            juliet.got()
            with patch.object(server.rosters.store, method, fail):
                await juliet.tell(request)
            self.assertEqual(["internal-server-error"], [outline(each)[-1] for each in juliet.got()])
            self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
            await juliet.tell(get())
            self.assertEqual(["first@else.where"], [item["jid"] for item in items(juliet.got()[0])])

    async def test_two_at_once(self) -> None:
        """Changes of two sessions at the same time are both kept, and both are told of both."""
        server, juliet = await self.begin()
        second = Person(server, f"{JULIET}/c")
        await second.comes_online()
        juliet.got()
        juliet.send(put("<item jid='a@else.where'/>"))
        second.send(put("<item jid='b@else.where'/>"))
        await second.tell(put("<item jid='c@else.where'/>"))
        for each in (juliet, second):
            pushed = [items(one)[0]["jid"] for one in each.got() if one.type == "set"]
            self.assertEqual({"a@else.where", "b@else.where", "c@else.where"}, set(pushed))


class Removing(RosterCase):
    """Section 2.5."""

    async def test_every_state(self) -> None:
        """Both subscriptions end, those that are there and those that were asked for."""
        expected = {
            State.NONE: [],
            State.NONE_OUT: ["unsubscribe"],
            State.NONE_OUT_IN: ["unsubscribe", "unsubscribed"],
            State.TO: ["unsubscribe"],
            State.TO_IN: ["unsubscribe", "unsubscribed"],
            State.FROM: ["unavailable", "unsubscribed"],
            State.FROM_OUT: ["unsubscribe", "unavailable", "unsubscribed"],
            State.BOTH: ["unsubscribe", "unavailable", "unsubscribed"],
        }
        server, juliet = await self.begin()
        elsewhere = Elsewhere(server)
        for state, types in expected.items():
            with self.subTest(state=state.name):
                async with server.rosters.changing(JID.parse(JULIET)) as roster:
                    assert roster is not None
                    await server.rosters.save(roster, RosterItem(JULIET, CONTACT, "", state.subscription, state.ask))
                    if state.asked:
                        await server.rosters.keep_request(roster, JID.parse(CONTACT), stanza("<presence/>"))
                juliet.got()
                await juliet.tell(put(f"<item jid='{CONTACT}' subscription='remove'/>"))
                self.assertEqual(types, [each[0] for each in elsewhere.got()])
                push, result = juliet.got()
                self.assertEqual([{"jid": CONTACT, "subscription": "remove"}], items(push))
                self.assertEqual("result", result.type)
                self.assertIs(State.NONE, roster.state(JID.parse(CONTACT)))

    async def test_push_first(self) -> None:
        """The clients see the contact go from the roster before they see it go offline."""
        server, juliet = await self.begin()
        romeo = Person(server, "romeo@example.com/orchard")
        await romeo.comes_online()
        await juliet.tell("<presence type='subscribe' to='romeo@example.com'/>")
        await romeo.tell(f"<presence type='subscribed' to='{JULIET}'/>")
        juliet.got()
        await juliet.tell(put("<item jid='romeo@example.com' subscription='remove'/>"))
        self.assertEqual(
            [("iq", "set"), ("presence", "unavailable"), ("iq", "result")],
            [(each.name, each.type) for each in juliet.got()],
        )


class Versions(RosterCase):
    """Section 2.6."""

    async def test_nothing_new(self) -> None:
        """Who has the latest version gets an empty result."""
        _, juliet = await self.begin()
        await juliet.tell(put(f"<item jid='{CONTACT}'/>"))
        version = await self.version(juliet)
        await juliet.tell(get(version))
        self.assertEqual([("result", ())], [(each.type, each.children) for each in juliet.got()])

    async def test_changes(self) -> None:
        """Who has an older one gets what changed since, as pushes, in order, removals too."""
        _, juliet = await self.begin()
        for name in "abc":
            await juliet.tell(put(f"<item jid='{name}@else.where'/>"))
        version = await self.version(juliet)
        await juliet.tell(put("<item jid='a@else.where' subscription='remove'/>"))
        await juliet.tell(put("<item jid='b@else.where' name='new'/>"))
        latest = await self.version(juliet)
        await juliet.tell(get(version))
        result, *pushes = juliet.got()
        self.assertEqual(("result", ()), (result.type, result.children))
        self.assertEqual(
            [("a@else.where", "remove"), ("b@else.where", "none")],
            [(items(push)[0]["jid"], items(push)[0]["subscription"]) for push in pushes],
        )
        queries = [next(iter(push.tree)) for push in pushes]
        self.assertEqual(latest, queries[-1].get("ver"))

    async def test_unknown(self) -> None:
        """A version that cannot be ours gets the whole roster."""
        _, juliet = await self.begin()
        await juliet.tell(put(f"<item jid='{CONTACT}'/>"))
        for version in ("", "x", "-1", "9" * 30, "999999", "\u0661"):
            with self.subTest(version=version):
                juliet.got()
                await juliet.tell(get(version))
                self.assertEqual([[CONTACT]], [[item["jid"] for item in items(each)] for each in juliet.got()])

    async def test_database_gone(self) -> None:
        """A roster that cannot be read is answered with an error, and can be asked for again."""
        server, juliet = await self.begin()
        server.end(juliet.session)
        server.rosters.forget(JID.parse(JULIET))
        again = Person(server, FULL)
        with patch.object(server.rosters.store, "load", fail):
            await again.tell(get())
        self.assertEqual(["internal-server-error"], [outline(each)[-1] for each in again.got()])
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
        await again.tell(get())
        self.assertEqual(["result"], [each.type for each in again.got()])


async def fail(*_: Any, **__: Any) -> Any:
    """What a database does that is gone."""
    raise DatabaseError("gone")
