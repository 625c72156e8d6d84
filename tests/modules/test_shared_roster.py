"""Shared roster groups: who sees whom at once, what nobody can change, and what admins do."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.modules.shared_roster import SharedRoster
from chatrix.server.rosters import Roster
from chatrix.server.server import Server
from chatrix.xmpp.element import Element
from chatrix.xmpp.jid import JID
from chatrix.xmpp.namespaces import NS_ROSTER
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import MODULES, Person, a_server, config_of, outline, quiet
from tests.modules.test_commands import ask, command_in, conditions, run, submission

HOST = "example.com"
JULIET, ROMEO, NURSE = (f"{name}@{HOST}" for name in ("juliet", "romeo", "nurse"))


def items(query: Element | None) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Subscription and groups by JID."""
    assert query is not None
    return {
        item.get("jid", ""): (item.get("subscription", ""), tuple(group.text or "" for group in iter(item)))
        for item in iter(query)
    }


def pushed(stanzas: list[Stanza]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The same of all pushes among these."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for stanza in stanzas:
        query = stanza.child(NS_ROSTER, "query")
        if query is not None and stanza.type == "set":
            found |= items(query)
    return found


def presences(stanzas: list[Stanza]) -> list[tuple[str, str]]:
    """Type and sender of each presence among these."""
    return [(each.type, each.attributes.get("from", "")) for each in stanzas if each.name == "presence"]


class Groups(TestCase):
    """Three accounts and their groups."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Juliet is an admin; nobody is in a group."""
        self.server: Server = await a_server(self, config_of(MODULES, host=f"admins = {JULIET}"))
        self.store = self.server.rosters.shared.store

    async def refresh(self) -> None:
        """The database was changed."""
        module = self.server.module(SharedRoster)
        assert module is not None
        await module.refresh()
        await quiet()

    async def join(self, *accounts: str, group: str = "Verona") -> None:
        """Put accounts into a group, made if need be."""
        if group not in self.server.rosters.shared.names(HOST):
            await self.store.add(HOST, group)
        for account in accounts:
            await self.store.join(HOST, group, account)
        await self.refresh()

    async def online(self, account: str, resource: str = "a") -> Person:
        """Somebody who has asked for his roster and sent presence."""
        person = Person(self.server, f"{account}/{resource}")
        await person.comes_online()
        return person

    async def roster(
        self, person: Person, ver: str | None = None
    ) -> tuple[str | None, dict[str, tuple[str, tuple[str, ...]]]]:
        """The version and the items that a client gets; None for both when only pushes come."""
        versioned = "" if ver is None else f" ver='{ver}'"
        person.got()
        await person.tell(f"<iq type='get' id='r'><query xmlns='{NS_ROSTER}'{versioned}/></iq>")
        got = person.got()
        query = got[0].child(NS_ROSTER, "query")
        return (None, pushed(got[1:])) if query is None else (query.get("ver"), items(query))

    async def test_members(self) -> None:
        """Members are each other's contacts from the first roster on, in the group, and see each other's presence."""
        await self.join(JULIET, ROMEO)
        juliet = await self.online(JULIET)
        _, found = await self.roster(juliet)
        self.assertEqual({ROMEO: ("both", ("Verona",))}, found)
        romeo = await self.online(ROMEO)
        self.assertEqual([("", f"{ROMEO}/a")], presences(juliet.got()))
        await romeo.tell("<presence type='unavailable'/>")
        self.assertEqual([("unavailable", f"{ROMEO}/a")], presences(juliet.got()))

    async def test_joins_and_leaves(self) -> None:
        """Who joins or leaves is pushed to all members that are connected, then comes presence."""
        juliet, romeo, nurse = await self.online(JULIET), await self.online(ROMEO), await self.online(NURSE)
        await self.join(JULIET, ROMEO)
        for person, other in ((juliet, ROMEO), (romeo, JULIET)):
            got = person.got()
            self.assertEqual({other: ("both", ("Verona",))}, pushed(got))
            self.assertEqual([("", f"{other}/a")], presences(got))
            self.assertEqual("iq", got[0].name)
        await self.join(NURSE)
        self.assertEqual({NURSE: ("both", ("Verona",))}, pushed(juliet.got()))
        self.assertEqual({JULIET, ROMEO}, set(pushed(nurse.got())))
        romeo.got()
        await self.store.leave(HOST, "Verona", ROMEO)
        await self.refresh()
        self.assertEqual({JULIET: ("remove", ()), NURSE: ("remove", ())}, pushed(romeo.got()))
        got = juliet.got()
        self.assertEqual({ROMEO: ("remove", ())}, pushed(got))
        self.assertEqual([("unavailable", f"{ROMEO}/a")], presences(got))
        await self.store.delete(HOST, "Verona")
        await self.refresh()
        self.assertEqual({NURSE: ("remove", ())}, pushed(juliet.got()))
        self.assertEqual([], romeo.got())

    async def test_own_item_stays(self) -> None:
        """A name and groups of the account's own are kept, beside the shared group and when it is gone."""
        juliet = await self.online(JULIET)
        await self.join(JULIET, ROMEO)
        juliet.got()
        await juliet.tell(
            f"<iq type='set' id='s'><query xmlns='{NS_ROSTER}'><item jid='{ROMEO}' name='R' subscription='none'>"
            "<group>Love</group></item></query></iq>"
        )
        self.assertEqual({ROMEO: ("both", ("Love", "Verona"))}, pushed(juliet.got()))
        self.assertEqual(("Love",), self.own(juliet).items[ROMEO].groups)
        await self.store.delete(HOST, "Verona")
        await self.refresh()
        self.assertEqual({ROMEO: ("none", ("Love",))}, pushed(juliet.got()))

    def own(self, person: Person) -> Roster:
        """The roster in memory."""
        roster = self.server.rosters.known(person.session.account)
        assert roster is not None
        return roster

    async def test_not_theirs_to_change(self) -> None:
        """A member can neither be removed nor unsubscribed from, and neither see less nor show less."""
        await self.join(JULIET, ROMEO)
        juliet, romeo = await self.online(JULIET), await self.online(ROMEO)
        juliet.got()
        answer = await self.removal(juliet)
        self.assertEqual(["cancel", "not-allowed"], conditions(answer))
        for type in ("unsubscribe", "unsubscribed"):
            await juliet.tell(f"<presence type='{type}' to='{ROMEO}'/>")
            self.assertEqual([("presence", "error", ROMEO, "not-allowed")], [outline(each) for each in juliet.got()])
        for type in ("subscribe", "subscribed"):
            await juliet.tell(f"<presence type='{type}' to='{ROMEO}'/>")
            self.assertEqual([], juliet.got())
        self.assertEqual([], romeo.got())
        await juliet.tell("<presence><show>away</show></presence>")
        self.assertEqual([("", f"{JULIET}/a")], presences(romeo.got()))

    async def removal(self, person: Person) -> Stanza:
        """The answer to a client that removes Romeo."""
        await person.tell(
            f"<iq type='set' id='d'><query xmlns='{NS_ROSTER}'><item jid='{ROMEO}' subscription='remove'/></query></iq>"
        )
        (answer,) = person.got()
        return answer

    async def test_older_subscriptions(self) -> None:
        """What two have agreed on before stays when the group goes, and no presence is taken back."""
        juliet, romeo = await self.online(JULIET), await self.online(ROMEO)
        await juliet.tell(f"<presence type='subscribe' to='{ROMEO}'/>")
        await romeo.tell(f"<presence type='subscribed' to='{JULIET}'/>")
        for person in (juliet, romeo):
            person.got()
        await self.join(JULIET, ROMEO)
        self.assertEqual({ROMEO: ("both", ("Verona",))}, pushed(juliet.got()))
        self.assertEqual([("", f"{JULIET}/a")], presences(romeo.got()))
        await self.store.delete(HOST, "Verona")
        await self.refresh()
        got = juliet.got()
        self.assertEqual(({ROMEO: ("to", ())}, []), (pushed(got), presences(got)))
        self.assertEqual([("unavailable", f"{JULIET}/a")], presences(romeo.got()))

    async def test_versions(self) -> None:
        """Who was away while a group changed gets the whole roster; who was not, the difference."""
        juliet = await self.online(JULIET)
        plain, _ = await self.roster(juliet)
        await self.join(JULIET, ROMEO)
        shared, found = await self.roster(juliet, plain or "")
        self.assertEqual({ROMEO: ("both", ("Verona",))}, found)
        self.assertEqual((None, {}), await self.roster(juliet, shared or ""))
        await juliet.tell(
            f"<iq type='set' id='s'><query xmlns='{NS_ROSTER}'><item jid='{ROMEO}' name='R'/></query></iq>"
        )
        self.assertEqual((None, {ROMEO: ("both", ("Verona",))}), await self.roster(juliet, shared or ""))
        await self.join(NURSE)
        self.assertEqual({ROMEO, NURSE}, set((await self.roster(juliet, shared or ""))[1]))
        await self.store.delete(HOST, "Verona")
        await self.refresh()
        back, found = await self.roster(juliet, shared or "")
        self.assertEqual({ROMEO: ("none", ())}, found)
        self.assertTrue((back or "").isdecimal())

    async def test_deleted_account(self) -> None:
        """A deleted account leaves its groups, and whoever gets its name is in none."""
        await self.join(JULIET, ROMEO)
        juliet = await self.online(JULIET)
        juliet.got()
        self.assertTrue(await self.server.delete_account(JID.parse(ROMEO)))
        await quiet()
        self.assertEqual({ROMEO: ("remove", ())}, pushed(juliet.got()))
        await self.server.accounts.store.create("romeo", HOST, ())
        _, found = await self.roster(await self.online(ROMEO))
        self.assertEqual({}, found)

    async def test_several_groups(self) -> None:
        """In two groups with somebody, one may go and the contact stays."""
        await self.join(JULIET, ROMEO)
        await self.join(JULIET, ROMEO, group="Lovers")
        juliet = await self.online(JULIET)
        _, found = await self.roster(juliet)
        self.assertEqual({ROMEO: ("both", ("Lovers", "Verona"))}, found)
        await self.store.delete(HOST, "Lovers")
        await self.refresh()
        got = juliet.got()
        self.assertEqual(({ROMEO: ("both", ("Verona",))}, []), (pushed(got), presences(got)))

    async def test_commands(self) -> None:
        """Admins make groups, fill, list, empty and delete them."""
        juliet, romeo = await self.online(JULIET), await self.online(ROMEO)

        async def execute(node: str, **values: str) -> Stanza:
            id = command_in(await run(juliet, f"chatrix#{node}")).get("sessionid", "")
            return await run(juliet, f"chatrix#{node}", submission(**values), sessionid=id)

        command_in(await execute("add-group", group="Verona"))
        self.assertEqual(["cancel", "conflict"], conditions(await execute("add-group", group="Verona")))
        for member in (JULIET, ROMEO):
            command_in(await execute("join-group", group="Verona", accountjids=member))
        self.assertEqual({JULIET: ("both", ("Verona",))}, pushed(romeo.got()))
        listed = command_in(await run(juliet, "chatrix#list-groups"))
        values = [value.text for value in listed.iter("{jabber:x:data}value")]
        self.assertEqual(["chatrix#", "Verona", JULIET, ROMEO], values)
        answer = await execute("join-group", group="Verona", accountjids=f"nobody@{HOST}")
        self.assertEqual(["cancel", "item-not-found"], conditions(answer))
        romeo.got()
        command_in(await execute("leave-group", group="Verona", accountjids=ROMEO))
        self.assertEqual({JULIET: ("remove", ())}, pushed(romeo.got()))
        command_in(await execute("delete-group", group="Verona"))
        self.assertEqual([], self.server.rosters.shared.names(HOST))
        answer = await ask(romeo, "<command xmlns='http://jabber.org/protocol/commands' node='chatrix#list-groups'/>")
        self.assertEqual(["auth", "forbidden"], conditions(answer))
