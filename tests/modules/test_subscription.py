"""Subscriptions: what the tables cannot show, with a contact at else.where (RFC 6121 section 3)."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.server.rosters import Roster
from chatrix.server.server import Server
from chatrix.store.database import DatabaseError
from chatrix.store.roster import RosterItem
from chatrix.xmpp.jid import JID
from chatrix.xmpp.subscription import TYPES, State, inbound, outbound
from tests.inmemory import Elsewhere, Person, a_server, config_of, outline, stanza

JULIET, FULL, CONTACT = "juliet@example.com", "juliet@example.com/b", "c@else.where"
OUT = "<presence type='{}' to='" + CONTACT + "'/>"
IN = "<presence type='{}' from='" + CONTACT + "' to='" + JULIET + "'/>"


class SubscriptionCase(TestCase):
    """Juliet and a contact elsewhere."""

    async def begin(self, limits: str = "") -> tuple[Server, Elsewhere]:
        """The server and else.where."""
        server = await a_server(self, config_of(modules="roster presence subscription", limits=limits))
        return server, Elsewhere(server)

    async def online(self, server: Server, elsewhere: Elsewhere, presence: str = "<presence/>") -> Person:
        """Juliet is online, and what that caused is forgotten."""
        juliet = Person(server, FULL)
        await juliet.comes_online(presence)
        elsewhere.took.clear()
        return juliet

    async def clear(self, server: Server) -> None:
        """Begin with an empty roster."""
        await server.accounts.store.delete("juliet", "example.com")
        server.account_deleted(JID.parse(JULIET))
        await server.accounts.store.create("juliet", "example.com", ())

    async def put(self, server: Server, state: State, approved: bool = False) -> None:
        """Bring the roster to this state with the contact."""
        async with server.rosters.changing(JID.parse(JULIET)) as roster:
            assert roster is not None
            if state not in (State.NONE, State.NONE_IN) or approved:
                item = RosterItem(JULIET, CONTACT, "C", state.subscription, state.ask, approved, ("g",))
                await server.rosters.save(roster, item)
            if state.asked:
                request = stanza(IN.format("subscribe"))
                await server.rosters.keep_request(roster, JID.parse(CONTACT), request)

    async def state(self, server: Server) -> tuple[State, bool | None]:
        """State and approval as they are on disk; None: no item."""
        server.rosters.forget(JID.parse(JULIET))
        account = server.directory.account(JID.parse(JULIET))
        if account is not None:
            account.keep(Roster, None)
        roster = await server.rosters.of(JID.parse(JULIET))
        assert roster is not None
        item = roster.items.get(CONTACT)
        if item is not None and item.name:
            self.assertEqual(("C", ("g",)), (item.name, item.groups))
        return roster.state(JID.parse(CONTACT)), None if item is None else item.approved


class Every(SubscriptionCase):
    """Every state and type, through the server and onto the disk."""

    async def test_outbound(self) -> None:
        """What Juliet sends is routed and kept as the tables say."""
        server, elsewhere = await self.begin()
        for type_ in TYPES:
            for state in State:
                with self.subTest(type=type_, state=state.name):
                    await self.clear(server)
                    await self.put(server, state)
                    juliet = await self.online(server, elsewhere)
                    await juliet.tell(OUT.format(type_))
                    change = outbound(type_, state)
                    after = change.state or state
                    routed = [each for each in elsewhere.got() if each[0] == type_]
                    self.assertEqual([(type_, JULIET, CONTACT)] if change.passes else [], routed)
                    self.assertEqual([], [each for each in juliet.got() if each.type == "error"])
                    self.assertIs(after, (await self.state(server))[0])
                    juliet.leaves()

    async def test_inbound(self) -> None:
        """What the contact sends is delivered, answered and kept as the tables say."""
        server, elsewhere = await self.begin()
        for type_ in TYPES:
            for state in State:
                with self.subTest(type=type_, state=state.name):
                    await self.clear(server)
                    await self.put(server, state)
                    juliet = await self.online(server, elsewhere)
                    await elsewhere.says(IN.format(type_))
                    change = inbound(type_, state)
                    delivered = [outline(each)[1:3] for each in juliet.got() if each.name == "presence"]
                    self.assertEqual([(type_, CONTACT)] if change.passes else [], delivered)
                    answers = [each[0] for each in elsewhere.got() if each[0] not in ("", "unavailable")]
                    self.assertEqual([change.answer] if change.answer else [], answers)
                    self.assertIs(change.state or state, (await self.state(server))[0])
                    juliet.leaves()


class Outbound(SubscriptionCase):
    """Around what the user sends."""

    async def test_bare(self) -> None:
        """Subscriptions are between bare JIDs, whatever the client writes; the rest of the stanza stays."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        await juliet.tell(f"<presence type='subscribe' id='1' to='{CONTACT}/r'><status>it is me</status></presence>")
        (request,) = elsewhere.took
        self.assertEqual({"type": "subscribe", "id": "1", "from": JULIET, "to": CONTACT}, request.attributes)
        self.assertEqual("it is me", request.tree.text_of(None, "status"))

    async def test_presence_follows(self) -> None:
        """With the approval goes the presence of each session, and with its end the end of that."""
        server, elsewhere = await self.begin()
        await self.put(server, State.NONE_IN)
        juliet = await self.online(server, elsewhere)
        await juliet.tell(OUT.format("subscribed"))
        self.assertEqual([("subscribed", JULIET, CONTACT), ("", FULL, CONTACT)], elsewhere.got())
        await juliet.tell(OUT.format("unsubscribed"))
        self.assertEqual([("unavailable", FULL, CONTACT), ("unsubscribed", JULIET, CONTACT)], elsewhere.got())

    async def test_oneself(self) -> None:
        """Nobody subscribes to himself."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        for to in (JULIET, FULL):
            await juliet.tell(f"<presence type='subscribe' to='{to}'/>")
        self.assertEqual([], juliet.got())
        roster = await server.rosters.of(JID.parse(JULIET))
        assert roster is not None
        self.assertEqual({}, roster.items)

    async def test_full_roster(self) -> None:
        """A roster that is full takes no new contact, and says so; nothing is routed."""
        server, elsewhere = await self.begin(limits="roster items = 1")
        juliet = await self.online(server, elsewhere)
        await juliet.tell("<presence type='subscribe' to='first@else.where'/>")
        elsewhere.got()
        juliet.got()
        await juliet.tell(OUT.format("subscribe"))
        self.assertEqual(["resource-constraint"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual([], elsewhere.got())
        await juliet.tell("<presence type='subscribe' to='first@else.where'/>")
        self.assertEqual(1, len(elsewhere.got()))

    async def test_nobody_there(self) -> None:
        """When the domain cannot be reached the session that asked learns it, and no other."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        second = Person(server, f"{JULIET}/second")
        await second.comes_online()
        juliet.got()
        await juliet.tell("<presence type='subscribe' to='x@third.domain'/>")
        errors = [each for each in juliet.got() if each.type == "error"]
        self.assertEqual(["remote-server-not-found"], [outline(each)[-1] for each in errors])
        self.assertEqual(
            [("x@third.domain", FULL)], [(each.attributes["from"], each.attributes["to"]) for each in errors]
        )
        self.assertEqual([], [each for each in second.got() if each.type == "error"])

    async def test_database_gone(self) -> None:
        """What cannot be written is not routed, and the client learns it."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        with patch.object(server.rosters.store, "save", fail):
            await juliet.tell(OUT.format("subscribe"))
        self.assertEqual(["internal-server-error"], [outline(each)[-1] for each in juliet.got()])
        self.assertEqual([], elsewhere.got())
        self.assertEqual((State.NONE, None), await self.state(server))
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))


class Inbound(SubscriptionCase):
    """Around what the contact sends."""

    async def test_kept(self) -> None:
        """A request waits on disk for each new session, whatever its priority, until it is answered."""
        server, elsewhere = await self.begin()
        await elsewhere.says(IN.format("subscribe").replace("/>", "><status>me</status></presence>"))
        people = [Person(server, f"{JULIET}/{resource}") for resource in "xy"]
        for juliet, priority in zip(people, (0, -1), strict=True):
            await juliet.tell(f"<presence><priority>{priority}</priority></presence>")
            requests = [each for each in juliet.got() if each.type == "subscribe"]
            self.assertEqual([CONTACT], [each.attributes["from"] for each in requests])
            self.assertEqual("me", requests[0].tree.text_of(None, "status"))
        self.assertEqual((State.NONE_IN, None), await self.state(server))
        await people[0].tell(OUT.format("unsubscribed"))
        again = Person(server, f"{JULIET}/z")
        await again.tell("<presence/>")
        self.assertEqual([], [each for each in again.got() if each.type == "subscribe"])

    async def test_kept_whole(self) -> None:
        """It comes from the disk as it was sent: language, texts, and what other protocols put into it (XEP-0379)."""
        inside = (
            "<status>me</status><status xml:lang='cs'>já</status><nick xmlns='http://jabber.org/protocol/nick'>C</nick>"
            "<preauth xmlns='urn:xmpp:pars:0' token='1tMFqYDdKhfe2pwp'/>"
        )
        server, elsewhere = await self.begin()
        request = IN.format("subscribe").replace("/>", f" id='1' xml:lang='en'>{inside}</presence>")
        await elsewhere.says(request)
        await self.state(server)
        juliet = Person(server, FULL)
        await juliet.tell("<presence/>")
        (kept,) = [each for each in juliet.got() if each.type == "subscribe"]
        self.assertEqual(stanza(request).attributes, {**kept.attributes, "to": JULIET})
        self.assertEqual(f"{inside}</presence>", kept.inner.decode())

    async def test_repeated(self) -> None:
        """With a new session requests come and go again; with a new priority they do not."""
        server, elsewhere = await self.begin()
        await self.put(server, State.NONE_OUT_IN)
        juliet = Person(server, FULL)
        for priority in (-1, 1, 0):
            await juliet.tell(f"<presence><priority>{priority}</priority></presence>")
        self.assertEqual(1, len([each for each in juliet.got() if each.type == "subscribe"]))
        self.assertEqual([("subscribe", JULIET, CONTACT)], [each for each in elsewhere.got() if each[0]])

    async def test_withdrawn(self) -> None:
        """A request that is withdrawn does not come again."""
        server, elsewhere = await self.begin()
        await elsewhere.says(IN.format("subscribe"))
        await elsewhere.says(IN.format("unsubscribe"))
        juliet = Person(server, FULL)
        await juliet.tell("<presence/>")
        self.assertEqual([], [each for each in juliet.got() if each.type == "subscribe"])

    async def test_pre_approved(self) -> None:
        """A request that was approved beforehand is answered at once, pushed and never shown (section 3.4)."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        await juliet.tell(OUT.format("subscribed"))
        (push,) = juliet.got()
        item = next(iter(next(iter(push.tree))))
        self.assertEqual({"jid": CONTACT, "subscription": "none", "approved": "true"}, dict(item.attrib))
        self.assertEqual([], elsewhere.got())
        await elsewhere.says(IN.format("subscribe").replace("type", "id='7' type"))
        self.assertEqual("7", elsewhere.took[0].id)
        self.assertEqual([("subscribed", JULIET, CONTACT), ("", FULL, CONTACT)], elsewhere.got())
        self.assertEqual(["iq"], [each.name for each in juliet.got()])
        self.assertIs(State.FROM, (await self.state(server))[0])

    async def test_approval_withdrawn(self) -> None:
        """`unsubscribed` takes an approval back (section 3.4)."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        await juliet.tell(OUT.format("subscribed"))
        await juliet.tell(OUT.format("unsubscribed"))
        self.assertEqual((State.NONE, False), await self.state(server))
        await elsewhere.says(IN.format("subscribe"))
        self.assertIn("subscribe", [each.type for each in juliet.got()])

    async def test_approval_stays(self) -> None:
        """What the contact says, or answers to a probe, takes no approval back (section 4.3.2)."""
        server, elsewhere = await self.begin()
        await self.put(server, State.NONE_OUT, approved=True)
        await elsewhere.says(IN.format("unsubscribed"))
        self.assertEqual((State.NONE, True), await self.state(server))

    async def test_probe_denies(self) -> None:
        """Who asks after presence that he may not see is told so, which ends his request: it is forgotten here, too."""
        server, elsewhere = await self.begin()
        await self.put(server, State.TO_IN)
        await elsewhere.says(IN.format("probe"))
        self.assertEqual([("unsubscribed", JULIET, CONTACT)], elsewhere.got())
        self.assertIs(State.TO, (await self.state(server))[0])

    async def test_long_request(self) -> None:
        """A request that is long is refused, whether there is such an account or not, and kept nowhere (threat L6)."""
        server, elsewhere = await self.begin()
        for to in (JULIET, "nobody@example.com"):
            for length, refused in ((4000, False), (4100, True)):
                status = f"<status>{'x' * length}</status></presence>"
                await elsewhere.says(IN.format("subscribe").replace(JULIET, to).replace("/>", f">{status}"))
                self.assertEqual([("error", to, CONTACT)] if refused else [], elsewhere.got())
        roster = await server.rosters.of(JID.parse(JULIET))
        assert roster is not None
        self.assertLess(len(roster.requests[CONTACT]), 4200)

    async def test_error(self) -> None:
        """What became of a request, which came from the bare JID, reaches the available sessions."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        gone = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        await elsewhere.says(IN.format("error").replace("/>", f">{gone}</presence>"))
        self.assertEqual([("presence", "error", CONTACT, "gone")], [outline(each) for each in juliet.got()])

    async def test_full_jid(self) -> None:
        """For a resource that is not there only a request is taken (section 8.5.3.2.2)."""
        server, elsewhere = await self.begin()
        for type_, state, after in (
            ("subscribe", State.NONE, State.NONE_IN),
            ("subscribed", State.NONE_OUT, State.NONE_OUT),
            ("unsubscribe", State.FROM, State.FROM),
            ("unsubscribed", State.TO, State.TO),
        ):
            with self.subTest(type=type_):
                await self.clear(server)
                await self.put(server, state)
                await elsewhere.says(IN.format(type_).replace(f"to='{JULIET}'", f"to='{JULIET}/gone'"))
                self.assertIs(after, (await self.state(server))[0])
        juliet = Person(server, FULL)
        await elsewhere.says(IN.format("unsubscribed").replace(f"to='{JULIET}'", f"to='{FULL}'"))
        self.assertIs(State.NONE, (await self.state(server))[0])
        juliet.leaves()

    async def test_from_bare(self) -> None:
        """A request from a full JID is one from its bare JID, and is delivered as such."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        await elsewhere.says(IN.format("subscribe").replace(CONTACT, f"{CONTACT}/r"))
        self.assertEqual([("presence", "subscribe", CONTACT, JULIET)], [outline(each) for each in juliet.got()])

    async def test_end_of_subscription(self) -> None:
        """Who unsubscribes is told the end of presence, then that it is so (section 3.3.3)."""
        server, elsewhere = await self.begin()
        await self.put(server, State.BOTH)
        await self.online(server, elsewhere)
        await elsewhere.says(IN.format("unsubscribe"))
        self.assertEqual([("unavailable", FULL, CONTACT), ("unsubscribed", JULIET, CONTACT)], elsewhere.got())

    async def test_nobody(self) -> None:
        """For an account that does not exist all of it is ignored (section 8.5.1)."""
        _, elsewhere = await self.begin()
        for type_ in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            await elsewhere.says(IN.format(type_).replace(JULIET, "nobody@example.com"))
        self.assertEqual([], elsewhere.got())

    async def test_database_gone(self) -> None:
        """A request that cannot be kept is not shown either: who asked is told that the server failed."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        with patch.object(server.rosters.store, "save_request", fail):
            await elsewhere.says(IN.format("subscribe"))
        self.assertEqual([], juliet.got())
        self.assertEqual([("error", JULIET, CONTACT)], elsewhere.got())
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseError)))

    async def test_too_many(self) -> None:
        """Requests over the limit are dropped: strangers cannot fill a disk."""
        server, elsewhere = await self.begin()
        juliet = await self.online(server, elsewhere)
        with patch.object(type(server.rosters.store).save_request, "__defaults__", (1,)):
            for name in "xy":
                await elsewhere.says(IN.format("subscribe").replace(CONTACT, f"{name}@else.where"))
        self.assertEqual(["x@else.where"], [each.attributes["from"] for each in juliet.got()])


async def fail(*_: Any, **__: Any) -> Any:
    """What a database does that is gone."""
    raise DatabaseError("gone")
