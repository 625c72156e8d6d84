"""Blocking: the commands, what is stopped on both ways, who sees whose presence, reports, and a database that fails."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.modules.blocking import Blocking
from chatrix.server import blocklists
from chatrix.server.blocklists import Blocklist
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.store.roster import RosterItem
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import Elsewhere, Person, a_server, config_of, outline, quiet

MODULES = "blocking disco roster presence subscription ping offline"
JULIET, ROMEO, NURSE = "juliet@example.com", "romeo@example.com", "nurse@example.com"
BLOCKED = "<blocked xmlns='urn:xmpp:blocking:errors'/>"


def command(name: str, *jids: str, inside: str = "") -> str:
    """A block or unblock request."""
    items = "".join(f"<item jid='{jid}'>{inside}</item>" for jid in jids)
    return f"<iq type='set' id='{name}'><{name} xmlns='urn:xmpp:blocking'>{items}</{name}></iq>"


def message(to: str, type_: str = "chat", more: str = "") -> str:
    """A message."""
    return f"<message id='m' type='{type_}' to='{to}'><body>hi</body>{more}</message>"


def commanded(stanza: Stanza) -> tuple[str, list[str]]:
    """Name and items of the command in a push."""
    payload = next(iter(stanza.tree))
    return payload.name, [item.get("jid", "") for item in payload]


class BlockingCase(TestCase):
    """Juliet blocks."""

    async def begin(self, options: str = "", modules: str = MODULES) -> tuple[Server, Person, Person]:
        """The server, Juliet and Romeo, both available; they do not know each other."""
        more = f"[module blocking]\n{options}" if options else ""
        server = await a_server(self, config_of(modules=modules, more=more))
        juliet, romeo = Person(server, f"{JULIET}/balcony"), Person(server, f"{ROMEO}/orchard")
        for person in (juliet, romeo):
            await person.comes_online(roster=False)
        return server, juliet, romeo

    async def befriend(self, server: Server, one: str, other: str, subscription: str = "both") -> None:
        """Put `other` into the roster of `one`, and back."""
        back = {"both": "both", "to": "from", "from": "to"}[subscription]
        for account, contact, state in ((one, other, subscription), (other, one, back)):
            if account.endswith("@example.com"):
                async with server.rosters.changing(JID.parse(account)) as roster:
                    assert roster is not None
                    await server.rosters.save(roster, RosterItem(account, contact, subscription=state))

    async def told(self, person: Person, xml: str) -> list[tuple[str, str, str, str]]:
        """Say something and return the outlines of what comes back."""
        await person.tell(xml)
        return [outline(each) for each in person.got()]

    async def blocks(self, person: Person, *jids: str) -> None:
        """Block, which must succeed."""
        await person.tell(command("block", *jids))
        self.assertEqual(["result"], [each.type for each in person.got() if each.id == "block"])


class Commands(BlockingCase):
    """Sections 3.2 to 3.5."""

    async def items(self, person: Person) -> list[str]:
        """The list, as the client gets it."""
        await person.tell("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        (result,) = person.got()
        self.assertEqual("result", result.type)
        name, jids = commanded(result)
        self.assertEqual("blocklist", name)
        return jids

    async def test_list(self) -> None:
        """What is blocked is on the list, prepared, once; what is unblocked is not; all can be unblocked at once."""
        _, juliet, _ = await self.begin()
        self.assertEqual([], await self.items(juliet))
        await self.blocks(juliet, "Romeo@EXAMPLE.com", "iago@shakespeare.lit", ROMEO)
        await self.blocks(juliet, "shakespeare.lit/res", "shakespeare.lit")
        jids = ["iago@shakespeare.lit", ROMEO, "shakespeare.lit", "shakespeare.lit/res"]
        self.assertEqual(jids, await self.items(juliet))
        await juliet.tell(command("unblock", ROMEO.upper(), "nobody@x"))
        juliet.got()
        jids.remove(ROMEO)
        self.assertEqual(jids, await self.items(juliet))
        await juliet.tell(command("unblock"))
        juliet.got()
        self.assertEqual([], await self.items(juliet))

    async def test_list_is_kept(self) -> None:
        """The list is still there when the session, or the server, is another."""
        server, juliet, romeo = await self.begin()
        await self.blocks(juliet, ROMEO)
        juliet.leaves()
        juliet = Person(server, f"{JULIET}/chamber")
        self.assertEqual([ROMEO], await self.items(juliet))
        server.router.blocklists.forget(JID.parse(JULIET))
        self.assertEqual([ROMEO], await self.items(juliet))
        self.assertEqual([], await self.items(romeo))

    async def test_pushes(self) -> None:
        """Every session that asked for the list is told of changes, the one that made them, too, and no other."""
        server, juliet, _ = await self.begin()
        chamber, tomb = (Person(server, f"{JULIET}/{resource}") for resource in ("chamber", "tomb"))
        await self.items(juliet)
        await self.items(chamber)
        for name, jids in (("block", ["a@x", "b@x"]), ("unblock", ["b@x"]), ("unblock", [])):
            await juliet.tell(command(name, *jids))
            result, push = juliet.got()
            self.assertEqual(("iq", "result", name), (result.name, result.type, result.id))
            self.assertEqual("", result.inner.decode())
            (pushed,) = chamber.got()
            for each, resource in ((push, "balcony"), (pushed, "chamber")):
                self.assertEqual((name, jids), commanded(each))
                self.assertEqual(("set", f"{JULIET}/{resource}"), (each.type, each.attributes["to"]))
            self.assertNotEqual(push.id, pushed.id)
            self.assertEqual([], tomb.got())

    async def test_refused(self) -> None:
        """What cannot be understood changes nothing."""
        _, juliet, _ = await self.begin()
        for xml, condition in (
            (command("block"), "bad-request"),
            (command("block", ""), "bad-request"),
            ("<iq type='set' id='x'><block xmlns='urn:xmpp:blocking'><item/></block></iq>", "bad-request"),
            ("<iq type='set' id='x'><unblock xmlns='urn:xmpp:blocking'><item/></unblock></iq>", "bad-request"),
            ("<iq type='set' id='x'><unblock xmlns='urn:xmpp:blocking'><jid/></unblock></iq>", "bad-request"),
            (command("block", "a@x", "@x"), "jid-malformed"),
            (command("unblock", "a@x/"), "jid-malformed"),
            (command("block", JULIET), "not-allowed"),
            (command("block", "a@x", f"{JULIET}/chamber"), "not-allowed"),
        ):
            self.assertEqual([condition], [each[-1] for each in await self.told(juliet, xml)], xml)
        self.assertEqual([], await self.items(juliet))

    async def test_somebody_else(self) -> None:
        """Nobody reads or changes another's list."""
        _, juliet, romeo = await self.begin()
        for request in (
            "<iq type='get' id='l' to='{}'><blocklist xmlns='urn:xmpp:blocking'/></iq>",
            "<iq type='set' id='l' to='{}'><block xmlns='urn:xmpp:blocking'><item jid='a@x'/></block></iq>",
            "<iq type='set' id='l' to='{}'><unblock xmlns='urn:xmpp:blocking'/></iq>",
        ):
            for to in (JULIET, "nobody@example.com"):
                self.assertEqual(["service-unavailable"], [e[-1] for e in await self.told(romeo, request.format(to))])
        self.assertEqual([], await self.items(juliet))

    async def test_full(self) -> None:
        """The list is bounded, and the client is told the bound; what is on it can be blocked again."""
        _, juliet, _ = await self.begin("items = 2")
        await self.blocks(juliet, "a@x", "b@x")
        await juliet.tell(command("block", "a@x", "c@x"))
        (error,) = juliet.got()
        self.assertEqual("resource-constraint", outline(error)[-1])
        self.assertIn(b"it holds 2 items", error.inner)
        await self.blocks(juliet, "a@x")
        self.assertEqual(["a@x", "b@x"], await self.items(juliet))

    async def test_features(self) -> None:
        """Hosts tell of it."""
        _, juliet, _ = await self.begin()
        query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        await juliet.tell(f"<iq type='get' id='1' to='example.com'>{query}</iq>")
        (result,) = juliet.got()
        for feature in (b"urn:xmpp:blocking", b"urn:xmpp:reporting:1"):
            self.assertIn(feature, result.inner)

    async def test_two_at_once(self) -> None:
        """Two sessions change the list at the same time: both changes hold, in memory and in the database."""
        server, juliet, _ = await self.begin()
        chamber = Person(server, f"{JULIET}/chamber")
        juliet.send(command("block", "a@x"))
        chamber.send(command("block", "b@x"))
        juliet.send(command("unblock", "c@x"))
        await quiet()
        for person in (juliet, chamber):
            person.got()
            self.assertEqual(["a@x", "b@x"], await self.items(person))
        server.router.blocklists.forget(JID.parse(JULIET))
        self.assertEqual(["a@x", "b@x"], await self.items(juliet))


class Stopping(BlockingCase):
    """What does not come through."""

    async def test_sending(self) -> None:
        """To whom is blocked nothing is sent, and the client is told why; answers are dropped in silence."""
        server, juliet, romeo = await self.begin()
        await self.blocks(juliet, ROMEO)
        for to in (ROMEO, f"{ROMEO}/orchard", f"{ROMEO}/elsewhere"):
            for xml in (
                message(to),
                message(to, "normal"),
                message(to, "headline"),
                f"<presence id='p' to='{to}'/>",
                f"<presence id='p' type='subscribe' to='{to}'/>",
                f"<presence id='p' type='subscribed' to='{to}'/>",
                f"<iq id='i' type='get' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>",
            ):
                await juliet.tell(xml)
                (error,) = juliet.got()
                self.assertEqual(("error", to, "not-acceptable"), outline(error)[1:])
                element = error.child(None, "error")
                assert element is not None
                self.assertEqual("cancel", element.get("type"))
                self.assertIn(BLOCKED.encode(), error.inner)
            for xml in (
                message(to, "error"),
                f"<iq id='i' type='result' to='{to}'/>",
                f"<presence id='p' type='error' to='{to}'/>",
            ):
                self.assertEqual([], await self.told(juliet, xml))
        self.assertEqual([], romeo.got())
        roster = await server.rosters.of(JID.parse(JULIET))
        assert roster is not None
        self.assertEqual({}, roster.items)

    async def test_arriving(self) -> None:
        """From whom is blocked nothing comes; he finds a session that is not there."""
        server, juliet, romeo = await self.begin()
        await self.blocks(juliet, ROMEO)
        for to in (JULIET, f"{JULIET}/balcony", f"{JULIET}/elsewhere"):
            for xml in (
                message(to),
                message(to, "normal"),
                message(to, "strange"),
                f"<iq id='m' type='get' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>",
                f"<iq id='m' type='get' to='{to}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
                f"<iq id='m' type='set' to='{to}'><query xmlns='jabber:iq:private'/></iq>",
            ):
                kind = xml[1:].partition(" ")[0]
                self.assertEqual([(kind, "error", to, "service-unavailable")], await self.told(romeo, xml), xml)
            for xml in (
                message(to, "headline"),
                message(to, "groupchat"),
                message(to, "error"),
                f"<iq id='m' type='result' to='{to}'/>",
                f"<iq id='m' type='error' to='{to}'/>",
                *(
                    f"<presence id='m' {type_} to='{to}'/>"
                    for type_ in (
                        "", *(f"type='{each}'" for each in ("unavailable", "subscribe", "subscribed", "unsubscribe",
                                                            "unsubscribed", "probe", "error")),
                    )
                ),
            ):  # fmt: skip
                self.assertEqual([], await self.told(romeo, xml), xml)
        self.assertEqual([], juliet.got())
        roster = await server.rosters.of(JID.parse(JULIET))
        assert roster is not None
        self.assertEqual(({}, {}), (roster.items, roster.requests))
        self.assertEqual([], await server.offline.take(JULIET))

    async def test_like_an_account_that_is_not_there(self) -> None:
        """The errors that a blocked contact gets are, but for the name, those of an account that does not exist."""
        _, juliet, romeo = await self.begin(modules="blocking disco roster presence subscription ping")
        await self.blocks(juliet, ROMEO)
        for xml in (
            message("{}"),
            message("{}/balcony", "normal"),
            "<iq id='m' type='get' to='{}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
            "<iq id='m' type='get' to='{}'><vCard xmlns='vcard-temp'/></iq>",
            "<iq id='m' type='get' to='{}/balcony'><query xmlns='jabber:iq:version'/></iq>",
        ):
            answers = []
            for name in (JULIET, "nobody@example.com"):
                await romeo.tell(xml.format(name))
                (error,) = romeo.got()
                answers.append(error.to_bytes().replace(name.encode(), b"X"))
            self.assertEqual(answers[0], answers[1])

    async def test_offline(self) -> None:
        """The list holds while nobody is connected: nothing is kept for later."""
        server, juliet, romeo = await self.begin()
        await self.blocks(juliet, ROMEO)
        juliet.leaves()
        for _ in range(2):
            self.assertEqual([("message", "error", JULIET, "service-unavailable")],
                             await self.told(romeo, message(JULIET)))  # fmt: skip
            server.router.blocklists.forget(JID.parse(JULIET))
        self.assertEqual([], await server.offline.take(JULIET))

    async def test_kept_before(self) -> None:
        """What was kept for later is not delivered when its sender is blocked meanwhile."""
        server, juliet, romeo = await self.begin()
        juliet.leaves()
        nurse = Person(server, f"{NURSE}/x")
        await romeo.tell(message(JULIET).replace("hi", "from romeo"))
        await nurse.tell(message(JULIET).replace("hi", "from the nurse"))
        juliet = Person(server, f"{JULIET}/chamber")
        await self.blocks(juliet, ROMEO)
        await juliet.tell("<presence/>")
        self.assertEqual(["from the nurse"], juliet.bodies())
        self.assertEqual([], await server.offline.take(JULIET))

    async def test_own(self) -> None:
        """Blocking the own server's domain stops its other users; not the server, nor one's own sessions."""
        server, juliet, romeo = await self.begin()
        chamber = Person(server, f"{JULIET}/chamber")
        await chamber.comes_online()
        await self.blocks(juliet, "example.com")
        juliet.got()
        self.assertEqual(["service-unavailable"], [each[-1] for each in await self.told(romeo, message(JULIET))])
        for to in ("example.com", JULIET, ""):
            address = f"to='{to}'" if to else ""
            await juliet.tell(
                f"<iq id='i' type='get' {address}><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
            )
            self.assertEqual(["result"], [each.type for each in juliet.got()])
        await juliet.tell(message(f"{JULIET}/chamber"))
        self.assertEqual(["hi"], chamber.bodies())
        await juliet.tell("<presence><show>away</show></presence>")
        self.assertEqual(["presence"], [each.name for each in chamber.got()])

    async def test_rooms(self) -> None:
        """What a blocked occupant says through a room is dropped: an error would end one's own being there."""
        server, juliet, _ = await self.begin()
        elsewhere = Elsewhere(server)
        await self.blocks(juliet, "room@else.where/romeo")
        for xml in (
            message(f"{JULIET}/balcony", "groupchat"),
            message(f"{JULIET}/balcony", "chat", "<x xmlns='http://jabber.org/protocol/muc#user'/>"),
        ):
            await elsewhere.says(xml.replace("<message ", "<message from='room@else.where/romeo' "))
            self.assertEqual(([], []), (elsewhere.got(), juliet.got()))
            await elsewhere.says(xml.replace("<message ", "<message from='room@else.where/nurse' "))
            self.assertEqual(["hi"], juliet.bodies())


class Presences(BlockingCase):
    """Who sees whom."""

    async def friends(self) -> tuple[Server, Person, Person]:
        """Juliet and Romeo see each other."""
        server, juliet, romeo = await self.begin()
        await self.befriend(server, JULIET, ROMEO)
        return server, juliet, romeo

    async def test_cut_and_restored(self) -> None:
        """A blocked contact sees the account leave, once; unblocked, he sees it again, and is seen."""
        _, juliet, romeo = await self.friends()
        await juliet.tell("<presence><show>away</show></presence>")
        romeo.got()
        await self.blocks(juliet, ROMEO)
        gone = ("presence", "unavailable", f"{JULIET}/balcony", ROMEO)
        self.assertEqual([gone], [outline(each) for each in romeo.got()])
        await self.blocks(juliet, ROMEO)
        await juliet.tell("<presence><show>dnd</show></presence>")
        await romeo.tell("<presence><show>xa</show></presence>")
        self.assertEqual([("presence", "", f"{ROMEO}/orchard", ROMEO)], [outline(each) for each in romeo.got()])
        juliet.got()
        await juliet.tell(command("unblock", ROMEO))
        (seen,) = romeo.got()
        self.assertEqual(("presence", "", f"{JULIET}/balcony", ROMEO), outline(seen))
        self.assertIn(b"dnd", seen.inner)
        result, presence = juliet.got()
        if result.name == "presence":
            result, presence = presence, result
        self.assertEqual(("iq", "result"), (result.name, result.type))
        self.assertEqual(("presence", "", f"{ROMEO}/orchard"), outline(presence)[:3])

    async def test_no_end_twice(self) -> None:
        """The end of a session is not told to whom it was hidden from; nor is a new session, by probe or otherwise."""
        server, juliet, romeo = await self.friends()
        await self.blocks(juliet, ROMEO)
        romeo.got()
        juliet.leaves()
        await quiet()
        juliet = Person(server, f"{JULIET}/chamber")
        await juliet.comes_online()
        await juliet.tell("<presence type='unavailable'/>")
        self.assertEqual([], romeo.got())

    async def test_probes(self) -> None:
        """No probe goes to a server of which somebody is blocked."""
        server, juliet, _ = await self.begin()
        elsewhere = Elsewhere(server)
        await self.befriend(server, JULIET, "iago@else.where")
        await self.befriend(server, JULIET, "cassio@else.where")
        await self.blocks(juliet, "iago@else.where")
        self.assertEqual([("unavailable", f"{JULIET}/balcony", "iago@else.where")], elsewhere.got())
        await Person(server, f"{JULIET}/chamber").comes_online()
        self.assertEqual({"cassio@else.where"}, {to for _, _, to in elsewhere.got()})

    async def test_stranger(self) -> None:
        """Who may not see the account is told nothing when blocked or unblocked, and not probed."""
        server, juliet, romeo = await self.begin()
        elsewhere = Elsewhere(server)
        await self.befriend(server, JULIET, "iago@else.where", "to")
        for name in ("block", "unblock"):
            await juliet.tell(command(name, ROMEO, "cassio@else.where", "iago@else.where"))
            self.assertEqual([], romeo.got())
        self.assertEqual([("probe", JULIET, "iago@else.where")], elsewhere.got())

    async def test_domain(self) -> None:
        """A blocked domain is cut off with all who are subscribed from there; one who was blocked already is not."""
        server, juliet, _ = await self.begin()
        elsewhere = Elsewhere(server)
        for name in ("iago", "cassio", "bianca"):
            await self.befriend(server, JULIET, f"{name}@else.where", "from")
        await self.blocks(juliet, "iago@else.where")
        elsewhere.got()
        await self.blocks(juliet, "else.where")
        self.assertEqual(
            [("unavailable", f"{JULIET}/balcony", f"{name}@else.where") for name in ("bianca", "cassio")],
            sorted(elsewhere.got()),
        )
        await juliet.tell(command("unblock", "else.where"))
        self.assertEqual({"bianca@else.where", "cassio@else.where"}, {to for _, _, to in elsewhere.got()})

    async def test_directed(self) -> None:
        """Directed presence is cut off, too, and not told again at the end; a blocked room is left."""
        server, juliet, _ = await self.begin()
        elsewhere = Elsewhere(server)
        for to in ("room@else.where/juliet", "iago@else.where/x"):
            await juliet.tell(f"<presence to='{to}'/>")
        elsewhere.got()
        await self.blocks(juliet, "room@else.where")
        self.assertEqual([("unavailable", f"{JULIET}/balcony", "room@else.where/juliet")], elsewhere.got())
        juliet.leaves()
        await quiet()
        self.assertEqual([("unavailable", f"{JULIET}/balcony", "iago@else.where/x")], elsewhere.got())

    async def test_one_resource(self) -> None:
        """Of a subscriber one resource can be blocked; it alone is told."""
        server, juliet, _ = await self.begin()
        elsewhere = Elsewhere(server)
        await self.befriend(server, JULIET, "iago@else.where", "from")
        await self.blocks(juliet, "iago@else.where/x")
        self.assertEqual([("unavailable", f"{JULIET}/balcony", "iago@else.where/x")], elsewhere.got())
        await elsewhere.says(message(JULIET).replace("<message ", "<message from='iago@else.where/x' "))
        self.assertEqual(["error"], [type_ for type_, _, _ in elsewhere.got()])
        await elsewhere.says(message(JULIET).replace("<message ", "<message from='iago@else.where/y' "))
        self.assertEqual(["hi"], juliet.bodies())


class Matching(TestCase):
    """Section 6."""

    def test_order(self) -> None:
        """Full JID, bare JID, domain with resource, domain: each blocks what the XEP says and nothing else."""
        jids = ("a@x/r", "a@x/s", "a@x", "b@x/r", "x/r", "x/s", "x", "a@sub.x/r", "a@y/r", "ax/r")
        for item, blocked in (
            ("a@x/r", {"a@x/r"}),
            ("a@x", {"a@x/r", "a@x/s", "a@x"}),
            ("x/r", {"x/r"}),
            ("x", {"a@x/r", "a@x/s", "a@x", "b@x/r", "x/r", "x/s", "x"}),
        ):
            blocklist = Blocklist(JID.parse("juliet@example.com"), frozenset({item}))
            self.assertEqual(blocked, {text for text in jids if blocklist.blocks(JID.parse(text))}, item)

    def test_own(self) -> None:
        """Nothing blocks one's own account, or the server itself."""
        jids = frozenset({"example.com", "juliet@example.com", "juliet@example.com/r", "example.com/r"})
        blocklist = Blocklist(JID.parse("juliet@example.com"), jids)
        texts = ("example.com", "example.com/r", "juliet@example.com", "juliet@example.com/r", "romeo@example.com/r")
        self.assertEqual(["romeo@example.com/r"], [text for text in texts if blocklist.blocks(JID.parse(text))])


class Memory(BlockingCase):
    """Lists are read seldom, and bounded."""

    async def test_read_once(self) -> None:
        """However many stanzas: one read while connected, and one for those who are not, or do not exist."""
        server, juliet, romeo = await self.begin()
        module = server.module(Blocking)
        assert module is not None
        asked: list[str] = []
        load = module.store.load

        async def count(account: str) -> list[str]:
            asked.append(account)
            return await load(account)

        with patch.object(module.store, "load", count):
            nurse = Person(server, f"{NURSE}/x")
            for _ in range(3):
                for to in (NURSE, JULIET, "nobody@example.com"):
                    await romeo.tell(message(to))
                    await nurse.tell(message(to))
            nurse.leaves()
            await romeo.tell(message(NURSE))
        self.assertEqual(["nobody@example.com", NURSE], sorted(asked))
        self.assertEqual(6, len(juliet.bodies()))

    async def test_bound(self) -> None:
        """Of accounts that are not connected only so many lists are kept, those asked for last."""
        server, _, romeo = await self.begin()
        known = server.router.blocklists
        with patch.object(blocklists, "LISTS_KEPT", 2):
            for name in ("a", "b", "a", "c"):
                await romeo.tell(message(f"{name}@example.com"))
        self.assertEqual(["a@example.com", "c@example.com"], list(known._recent))

    async def test_deleted(self) -> None:
        """Whoever gets the name of a deleted account next blocks nobody."""
        server, juliet, romeo = await self.begin()
        await self.blocks(juliet, ROMEO)
        await server.accounts.store.delete("juliet", "example.com")
        server.account_deleted(JID.parse(JULIET))
        await quiet()
        await server.accounts.store.create("juliet", "example.com", ())
        juliet = Person(server, f"{JULIET}/balcony")
        await juliet.comes_online()
        await romeo.tell(message(JULIET))
        self.assertEqual(["hi"], juliet.bodies())

    async def test_without_the_module(self) -> None:
        """Without the word in the ini nothing is read and nobody is blocked."""
        server, juliet, romeo = await self.begin(modules="roster presence")
        await romeo.tell(message(JULIET))
        self.assertEqual(["hi"], juliet.bodies())
        self.assertIsNone(server.router.blocklists.of(JID.parse(JULIET)))


class Failing(BlockingCase):
    """The database is gone."""

    async def gone(self, *_: Any, **__: Any) -> Any:
        """What a store does then."""
        raise DatabaseError("gone")

    async def test_reading(self) -> None:
        """When nobody can say whether a sender is blocked, his message bounces; later it comes through."""
        server, juliet, romeo = await self.begin()
        module = server.module(Blocking)
        assert module is not None
        juliet.leaves()
        server.router.blocklists.forget(JID.parse(JULIET))
        with patch.object(module.store, "load", self.gone):
            self.assertEqual(["internal-server-error"], [e[-1] for e in await self.told(romeo, message(JULIET))])
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
        self.assertEqual([], await self.told(romeo, message(JULIET)))
        self.assertEqual(1, await server.offline.count(JULIET))

    async def test_writing(self) -> None:
        """What could not be stored is not in force, and nobody is told of it."""
        server, juliet, romeo = await self.begin()
        await self.befriend(server, JULIET, ROMEO)
        module = server.module(Blocking)
        assert module is not None
        for name in ("block", "unblock"):
            with patch.object(module.store, name, self.gone):
                conditions = [each[-1] for each in await self.told(juliet, command(name, ROMEO))]
                self.assertEqual(["internal-server-error"], conditions)
        self.assertEqual(2, len(self.flushLoggedErrors(DatabaseError)))
        self.assertEqual([], await self.told(romeo, message(JULIET)))
        self.assertEqual(["hi"], juliet.bodies())
        await self.blocks(juliet, ROMEO)


class Reporting(BlockingCase):
    """XEP-0377."""

    async def test_kept(self) -> None:
        """A report is kept whole, beside the block."""
        server, juliet, _ = await self.begin()
        module = server.module(Blocking)
        assert module is not None
        report = (
            "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>"
            "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.net' id='28482'/>"
            "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.net' id='38383'/>"
            "<text xml:lang='en'> Never came trouble to my house like this. </text><third-party/></report>"
        )
        await juliet.tell(command("block", "romeo@example.net", inside=report))
        self.assertEqual(["result"], [each.type for each in juliet.got()])
        (kept,) = await module.reports.after()
        self.assertEqual(
            (JULIET, "romeo@example.net", "urn:xmpp:reporting:spam"), (kept.account, kept.jid, kept.reason)
        )
        self.assertEqual("[en] Never came trouble to my house like this.", kept.text)
        self.assertEqual((("romeo@example.net", "28482"), ("romeo@example.net", "38383")), kept.stanza_ids)
        self.assertEqual((False, True), (kept.to_origin, kept.to_third_parties))
        self.assertEqual(["romeo@example.net"], await module.store.load(JULIET))

    async def test_bounded(self) -> None:
        """Whatever a report is like, the block holds and what is kept is bounded."""
        server, juliet, _ = await self.begin()
        module = server.module(Blocking)
        assert module is not None
        ids = "<stanza-id xmlns='urn:xmpp:sid:0' by='a' id='1'/>" * 100
        for number, inside in enumerate((
            f"<report xmlns='urn:xmpp:reporting:1' reason='x'>{ids}<text>{'x' * 50_000}</text></report>",
            "<report xmlns='urn:xmpp:reporting:1'/>",
            f"<report xmlns='urn:xmpp:reporting:1' reason='{'x' * 256}'/>",
            "<report xmlns='urn:xmpp:reporting:0' reason='x'/>",
        )):  # fmt: skip
            await juliet.tell(command("block", f"{number}@x", inside=inside))
            self.assertEqual(["result"], [each.type for each in juliet.got()])
        (kept,) = await module.reports.after()
        self.assertEqual((2000, 20), (len(kept.text), len(kept.stanza_ids)))
        self.assertEqual(4, len(await module.store.load(JULIET)))

    async def test_not_kept(self) -> None:
        """A report that cannot be kept leaves the block alone."""
        server, juliet, romeo = await self.begin()
        module = server.module(Blocking)
        assert module is not None

        async def fail(_: object) -> bool:
            raise DatabaseError("full")

        report = "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:abuse'/>"
        with patch.object(module.reports, "add", fail):
            await juliet.tell(command("block", ROMEO, inside=report))
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))
        self.assertEqual(["result"], [each.type for each in juliet.got()])
        self.assertEqual(["service-unavailable"], [each[-1] for each in await self.told(romeo, message(JULIET))])

    async def test_forgotten(self) -> None:
        """Old reports go while the server runs."""
        server, juliet, _ = await self.begin()
        module = server.module(Blocking)
        assert module is not None
        report = "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:abuse'/>"
        await juliet.tell(command("block", ROMEO, inside=report))
        with patch("chatrix.modules.blocking.time.time_ns", lambda: 10**18 * 3):
            await module.start()
            await quiet()
        await module.stop()
        self.assertEqual([], await module.reports.after())
