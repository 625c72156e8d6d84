"""Two accounts on one server do whatever comes to their minds: when all has settled, their rosters agree.

What clients see is checked with it: presence by the subscriptions, pushes that lead to the roster as it is, requests
that were shown. The order in which the database finishes its work is part of the game.

Source: RFC 6121 sections 2 to 4 and appendix A.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatrix.server.loading import load_modules
from chatrix.server.rosters import Roster
from chatrix.server.server import Server
from chatrix.xmpp.jid import JID
from chatrix.xmpp.namespaces import NS_ROSTER
from chatrix.xmpp.stanza import Stanza
from chatrix.xmpp.subscription import TYPES
from tests.inmemory import Person, config_of
from tests.modules.paced import PacedDatabase

QUERY = (NS_ROSTER, "query")
PLACES = st.integers(0, 3)
SHOWS = st.sampled_from(("", "away", "dnd"))

Contacts = dict[str, dict[str, str]]


class Client:
    """A session as its user sees it: the roster that its pushes lead to, and what it knows of the other's presence."""

    def __init__(self, server: Server, jid: str, contact: str, cache: tuple[str, Contacts]) -> None:
        self.person = Person(server, jid)
        self.jid, self.contact = jid, contact
        self.asked = False
        "Whether it has asked for its roster."
        self.version, self.contacts = cache
        self.shows: dict[str, str] = {}
        "By full JID of the contact: the last available presence that came."
        self.show: str | None = None
        "What it has sent itself."
        self.requested = 0
        "How often the contact's request came since this session became available."

    def send(self, xml: str) -> None:
        """Send a stanza."""
        self.person.send(xml)

    def read(self) -> None:
        """Take notice of what came."""
        for stanza in self.person.got():
            if stanza.name == "iq":
                self._read_iq(stanza)
            elif stanza.name == "presence":
                self._read_presence(stanza)

    def _read_iq(self, iq: Stanza) -> None:
        assert iq.type != "error" or b"item-not-found" in iq.inner, iq.to_bytes()
        assert iq.type != "set" or self.asked, f"{self.jid} did not ask for its roster"
        query = iq.tree.child(*QUERY)
        if query is None or not self.asked:
            # Without having asked, it is the answer to somebody who was here before.
            return
        if iq.type == "result":
            self.contacts = {}
        else:
            assert "from" not in iq.attributes
            assert int(query.get("ver", "")) > int(self.version), "pushes come in the order of the changes"
        self.version = query.get("ver", "")
        for item in iter(query):
            attributes = {str(name): str(value) for name, value in item.attrib.items()}
            jid = attributes.pop("jid")
            self.contacts.pop(jid, None)
            if attributes["subscription"] != "remove":
                self.contacts[jid] = attributes

    def _read_presence(self, presence: Stanza) -> None:
        sender = presence.attributes["from"]
        if sender.partition("/")[0] != self.contact:
            return
        if presence.type in TYPES:
            assert sender == self.contact
            if presence.type == "subscribe":
                assert self.show is not None, "requests are for available sessions"
                self.requested += 1
            else:
                assert self.asked, "answers are for interested sessions"
        elif presence.type == "unavailable":
            self.shows.pop(sender, None)
        else:
            assert presence.type == "", presence.to_bytes()
            assert self.show is not None, f"{self.jid} is not available and got {presence.to_bytes()!r}"
            self.shows[sender] = presence.show  # type: ignore[attr-defined]


class Subscriptions(RuleBasedStateMachine):
    """Two accounts with two places each."""

    hosts: ClassVar[tuple[str, str]] = ("example.com", "example.com")

    def __init__(self) -> None:
        super().__init__()
        self.database = PacedDatabase()
        config = config_of(modules="roster presence subscription", hosts=dict.fromkeys(self.hosts))
        self.server = Server(config, self.database, bytes(32), Clock())
        load_modules(self.server, config)
        self.accounts = [f"{name}@{host}" for name, host in zip(("juliet", "romeo"), self.hosts, strict=True)]
        for account in self.accounts:
            jid = JID.parse(account)
            done(self.server.accounts.store.create(jid.local, jid.domain, ()))
        self.database.at_once = False
        self.clients: dict[int, Client] = {}
        self.caches: dict[int, tuple[str, Contacts]] = {}

    def here(self, place: int) -> Client:
        """The client in this place, connected if need be."""
        client = self.clients.get(place)
        if client is None:
            own, other = self.accounts[place % 2], self.accounts[1 - place % 2]
            cache = self.caches.get(place, ("", {}))
            client = self.clients[place] = Client(self.server, f"{own}/{place}", other, cache)
        return client

    @rule(place=PLACES)
    def ask_for_the_roster(self, place: int) -> None:
        """A client asks for what changed since the version it knows, once."""
        client = self.here(place)
        if client.asked:
            return
        client.asked = True
        client.send(f"<iq type='get' id='g'><query xmlns='{NS_ROSTER}' ver='{client.version}'/></iq>")

    @rule(place=PLACES, show=SHOWS, priority=st.sampled_from((0, 1, -1)))
    def become_available(self, place: int, show: str, priority: int) -> None:
        """A client sends presence."""
        client = self.here(place)
        client.read()
        if client.show is None:
            client.requested = 0
        client.show = show
        client.send(f"<presence><show>{show}</show><priority>{priority}</priority></presence>")

    @rule(place=PLACES)
    def become_unavailable(self, place: int) -> None:
        """A client stays connected, but not for chat; it waits until that is settled, as what comes is then over."""
        if place in self.clients:
            self.settle()
            client = self.clients[place]
            client.send("<presence type='unavailable'/>")
            client.show = None
            client.shows.clear()
            self.settle()

    @rule(place=PLACES)
    def leave(self, place: int) -> None:
        """A client loses its connection; what it has of its roster it keeps for the next time."""
        client = self.clients.pop(place, None)
        if client is not None:
            client.read()
            client.person.leaves()
            if client.asked:
                self.caches[place] = client.version, client.contacts

    @rule(place=PLACES, type=st.sampled_from(TYPES))
    def subscribe(self, place: int, type: str) -> None:
        """One of the four stanzas about subscriptions."""
        client = self.here(place)
        client.send(f"<presence type='{type}' to='{client.contact}'/>")

    @rule(place=PLACES, name=st.sampled_from("xy"))
    def name_the_contact(self, place: int, name: str) -> None:
        """Add the contact to the roster, or give it another name."""
        client = self.here(place)
        item = f"<item jid='{client.contact}' name='{name}'/>"
        client.send(f"<iq type='set' id='s'><query xmlns='{NS_ROSTER}'>{item}</query></iq>")

    @rule(place=PLACES)
    def remove_the_contact(self, place: int) -> None:
        """Remove the contact from the roster."""
        client = self.here(place)
        item = f"<item jid='{client.contact}' subscription='remove'/>"
        client.send(f"<iq type='set' id='r'><query xmlns='{NS_ROSTER}'>{item}</query></iq>")

    @rule(place=PLACES)
    def probe(self, place: int) -> None:
        """Ask after the contact."""
        client = self.here(place)
        client.send(f"<presence type='probe' to='{client.contact}'/>")

    @precondition(lambda self: self.database.waiting)
    @rule(which=st.integers(0, 7))
    def go_on(self, which: int) -> None:
        """The database finishes something."""
        self.database.go_on(which)

    @rule()
    def settle(self) -> None:
        """The database finishes everything; then all is as it should be."""
        while self.database.waiting:
            self.database.go_on(0)
        for client in self.clients.values():
            client.read()
        juliets, romeos = (self.roster(account) for account in self.accounts)
        self.compare(juliets, romeos)
        self.compare(romeos, juliets)
        for client in self.clients.values():
            self.check(client)
        assert not self.server.rosters._pairs

    def roster(self, account: str) -> Roster:
        """The roster in memory, which is the one on disk."""
        roster: Roster = done(self.server.rosters.of(JID.parse(account)))
        stored = done(self.server.rosters.store.load(account))
        assert roster.version == stored.version
        assert {item.jid: item.subscription for item in stored.items} == {
            jid: item.subscription for jid, item in roster.items.items()
        }
        assert {request.jid for request in stored.requests} == set(roster.requests)
        return roster

    def compare(self, one: Roster, other: Roster) -> None:
        """What one has of the other is what the other has given."""
        ours, theirs = one.state(other.jid), other.state(one.jid)
        assert (ours.subscription in ("to", "both")) == theirs.sends, (ours, theirs)
        assert ours.ask == theirs.asked, (ours, theirs)
        item = one.items.get(str(other.jid))
        assert item is None or not (item.approved and (ours.sends or ours.asked)), item

    def check(self, client: Client) -> None:
        """A client knows what it should know, and no more."""
        own, other = (JID.parse(text) for text in (client.jid, client.contact))
        roster = done(self.server.rosters.of(own))
        if client.asked:
            item = roster.items.get(client.contact)
            expected = {} if item is None else {client.contact: _attributes(self.server.rosters.element(item))}
            assert client.contacts == expected, (client.contacts, expected)
            assert client.version == str(roster.version), (client.version, roster.version)
        if client.show is not None:
            sees = roster.state(other).subscription in ("to", "both")
            shows = {
                each.jid: each.show
                for each in self.clients.values()
                if each.contact == str(own.bare) and each.show is not None
            }
            assert client.shows == (shows if sees else {}), (client.jid, client.shows, shows, sees)
            if client.contact in roster.requests:
                assert client.requested, f"{client.jid} was not shown the request"

    def teardown(self) -> None:
        """The last settling."""
        self.settle()
        done(self.database.close())


class OnTwoHosts(Subscriptions):
    """The same on two hosts of one server."""

    hosts = ("example.com", "example.org")


def done(awaitable: Any) -> Any:
    """The result of what need not wait."""
    results: list[Any] = []
    deferred = Deferred.fromCoroutine(awaitable)
    deferred.addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def _attributes(item: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in item.attrib.items() if name != "jid"}


class Machine(SynchronousTestCase):
    """The machine, for a few seconds; CHATRIX_EXAMPLES is how many stories there are."""

    def play(self, machine: type[Subscriptions]) -> None:
        case = machine.TestCase
        case.settings = settings(
            max_examples=int(os.environ.get("CHATRIX_EXAMPLES", "100")),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        case("runTest").runTest()

    def test_one_host(self) -> None:
        """Two accounts on one host."""
        self.play(Subscriptions)

    def test_two_hosts(self) -> None:
        """Two accounts on two hosts of one server."""
        self.play(OnTwoHosts)
