"""Stanza ids: who gets one, that they grow and cannot be guessed, and that nobody else's is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.hooks import Stage, on
from chatrix.modules.stanza_id import TOKENS, StanzaIds
from chatrix.server.events import Arriving
from chatrix.server.server import Server
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import Elsewhere, Person, a_server, config_of

JULIET, ROMEO = "juliet@example.com", "romeo@example.com"
SID = "urn:xmpp:sid:0"


def ids(message: Stanza) -> list[tuple[str, str]]:
    """(by, id) of all stanza ids of a message."""
    found = [child for child in iter(message.tree) if (child.namespace, child.name) == (SID, "stanza-id")]
    return [(child.get("by", ""), child.get("id", "")) for child in found]


def forged(by: str) -> str:
    """A stanza id by somebody."""
    return f"<stanza-id xmlns='{SID}' by='{by}' id='forged'/>"


class Archive:
    """It wants to know by which id it is to keep a message."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    @on(Arriving, Stage.RECORD, stanzas=("message",))
    def keep(self, arriving: Arriving) -> None:
        """As the real one will."""
        self.kept.append(arriving.stanza_id)


class StanzaIdCase(TestCase):
    """Juliet writes to Romeo."""

    async def begin(self, modules: str = "forgery stanza_id roster presence offline") -> tuple[Server, Person, Person]:
        """The server, Juliet and Romeo."""
        self.archive = Archive()
        server = await a_server(self, config_of(modules=modules), extra=self.archive)
        juliet, romeo = Person(server, f"{JULIET}/balcony"), Person(server, f"{ROMEO}/orchard")
        await romeo.comes_online()
        return server, juliet, romeo

    async def arrives(self, juliet: Person, romeo: Person, inside: str, attributes: str = "type='chat'") -> Stanza:
        """What becomes of a message."""
        await juliet.tell(f"<message to='{ROMEO}/orchard' {attributes}>{inside}</message>")
        (message,) = romeo.got()
        return message


class Stamping(StanzaIdCase):
    """Ids of ours."""

    async def test_one(self) -> None:
        """A message that arrives has one id by the bare JID; the archive is told the same; no two are the same."""
        _, juliet, romeo = await self.begin()
        seen = []
        for body in ("one", "two", "two"):
            ((by, id_),) = ids(await self.arrives(juliet, romeo, f"<body>{body}</body>"))
            self.assertEqual(ROMEO, by)
            seen.append(id_)
        self.assertEqual(sorted(set(seen)), seen)
        self.assertEqual(self.archive.kept, seen)

    async def test_which(self) -> None:
        """What an archive keeps is given an id: by type, content and hints; nothing else is."""
        _, juliet, romeo = await self.begin()
        body, state = "<body>b</body>", "<active xmlns='http://jabber.org/protocol/chatstates'/>"
        hint = "<{} xmlns='urn:xmpp:hints'/>"
        omemo = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>"
        for inside, type_, stamped in (
            (body, "", True),
            (body, "normal", True),
            (body, "chat", True),
            (body, "strange", True),
            (body, "headline", False),
            (body, "groupchat", False),
            (body, "error", False),
            (state, "chat", False),
            (f"<thread>t</thread>{state}", "chat", False),
            (state + body, "chat", True),
            (omemo, "chat", True),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>", "", True),
            (state + hint.format("store"), "chat", True),
            (body + hint.format("no-store"), "chat", False),
            (body + hint.format("no-permanent-store"), "chat", False),
            (body + hint.format("no-copy"), "chat", True),
            ("<subject>s</subject>", "normal", True),
            (f"<origin-id xmlns='{SID}' id='o'/>", "chat", False),
            ("", "chat", False),
        ):
            message = await self.arrives(juliet, romeo, inside, f"type='{type_}'" if type_ else "")
            self.assertEqual(stamped, [by for by, _ in ids(message)] == [ROMEO], (inside, type_))
            self.assertEqual(stamped, self.archive.kept[-1] != "")

    async def test_offline(self) -> None:
        """A message that waited has the id that it got when it came."""
        server, juliet, romeo = await self.begin()
        romeo.leaves()
        await juliet.tell(f"<message to='{ROMEO}' type='chat'><body>b</body></message>")
        romeo = Person(server, f"{ROMEO}/orchard")
        await romeo.tell("<presence/>")
        (message,) = [each for each in romeo.got() if each.name == "message"]
        self.assertEqual([(ROMEO, self.archive.kept[-1])], ids(message))

    async def test_hostile_name(self) -> None:
        """An account's name that means something in XML is only a name."""
        server = await a_server(self, config_of(modules="forgery stanza_id"), accounts=("a`{}$b@example.com",))
        romeo = Person(server, "a`{}$b@example.com/r")
        juliet = Person(server, f"{JULIET}/balcony")
        await juliet.tell("<message to='a`{}$b@example.com/r'><body>b</body></message>")
        (message,) = romeo.got()
        self.assertEqual(["a`{}$b@example.com"], [by for by, _ in ids(message)])

    async def test_features(self) -> None:
        """Hosts and accounts tell that they follow the rules (section 5)."""
        server, _, _ = await self.begin()
        self.assertIn(SID, server.features())
        self.assertIn(SID, server.account_features())


class Stripping(StanzaIdCase):
    """Ids that are forged (threats C-S2, S10)."""

    async def test_all_copies(self) -> None:
        """All are removed, wherever they stand and however the address is spelt; other people's stay."""
        _, juliet, romeo = await self.begin()
        ours = [
            ROMEO, ROMEO.upper(), f"{ROMEO}/orchard", "example.com", "EXAMPLE.com.", "example.com/x", JULIET,
            f"{JULIET}/balcony",
        ]  # fmt: skip
        theirs = [
            "room@conference.example.com",
            "nurse@example.com",
            "else.where",
            "",
            "no jid@",
            "conference.example.com",
        ]
        front = "".join(forged(by) for by in ours + theirs)
        message = await self.arrives(juliet, romeo, f"{front}<body>b</body>{front}")
        found = ids(message)
        self.assertEqual([(by, "forged") for by in theirs * 2], found[:-1])
        self.assertEqual((ROMEO, self.archive.kept[-1]), found[-1])
        self.assertEqual("b", message.tree.text_of(None, "body"))

    async def test_not_stamped(self) -> None:
        """They are removed from what gets no id, too (section 3, rule 2)."""
        _, juliet, romeo = await self.begin()
        for type_ in ("groupchat", "headline", "error"):
            message = await self.arrives(juliet, romeo, f"{forged(ROMEO)}<body>b</body>", f"type='{type_}'")
            self.assertEqual([], ids(message))

    async def test_spellings(self) -> None:
        """Prefixes, character references and other quotes hide nothing."""
        _, juliet, romeo = await self.begin()
        for element in (
            f"<s:stanza-id xmlns:s='{SID}' by='{ROMEO}' id='forged'/>",
            "<stanza-id xmlns='urn:xmpp:sid&#58;0' by='romeo&#x40;example.com' id='forged'/>",
            f'<stanza-id\n xmlns="{SID}"\n by="{ROMEO}" id="forged"></stanza-id >',
            f"<stanza-id id='forged' by='{ROMEO}' xmlns='{SID}'><stanza-id by='{ROMEO}' id='forged'/>text</stanza-id>",
        ):
            message = await self.arrives(juliet, romeo, f"<body>b</body>{element}")
            self.assertEqual([ROMEO], [by for by, _ in ids(message)])
            self.assertNotIn(b"forged", message.to_bytes())

    async def test_left_alone(self) -> None:
        """What only looks like it stays: origin ids, ids inside of something else, other namespaces."""
        _, juliet, romeo = await self.begin()
        inside = (
            f"<body>stanza-id {SID}</body><origin-id xmlns='{SID}' id='o'/>"
            f"<x xmlns='urn:x'>{forged(ROMEO)}</x><stanza-id xmlns='urn:x' by='{ROMEO}' id='1'/>"
        )
        message = await self.arrives(juliet, romeo, inside)
        self.assertIn(inside.encode(), message.inner.replace(b'"', b"'"))

    async def test_sent_elsewhere(self) -> None:
        """Nothing leaves with an id by the sender's account or host."""
        server, juliet, _ = await self.begin()
        elsewhere = Elsewhere(server)
        both = forged(JULIET) + forged("example.com") + forged("else.where")
        await juliet.tell(f"<message to='iago@else.where'>{both}<body>b</body></message>")
        self.assertEqual([("else.where", "forged")], ids(elsewhere.took[0]))

    async def test_from_elsewhere(self) -> None:
        """What a stranger says in our name is removed."""
        server, _, romeo = await self.begin()
        elsewhere = Elsewhere(server)
        both = forged(ROMEO) + forged("example.com") + forged("iago@else.where")
        await elsewhere.says(f"<message from='iago@else.where/x' to='{ROMEO}/orchard'>{both}<body>b</body></message>")
        (message,) = romeo.got()
        self.assertEqual([("iago@else.where", "forged"), (ROMEO, self.archive.kept[-1])], ids(message))


class Ids(TestCase):
    """The ids themselves."""

    def test_grow(self) -> None:
        """As text they grow, they are all of one length, and no half of randomness comes twice."""
        made = StanzaIds()
        drawn = [made.next() for _ in range(3 * TOKENS)]
        self.assertEqual(sorted(set(drawn)), drawn)
        self.assertEqual({32}, {len(each) for each in drawn})
        self.assertEqual(len(drawn), len({each[16:] for each in drawn}))
        for each in drawn:
            int(each, 16)

    def test_unguessable(self) -> None:
        """Two who make ids at the same time do not make the same."""
        one, other = StanzaIds(), StanzaIds()
        self.assertNotEqual([one.next()[16:] for _ in range(5)], [other.next()[16:] for _ in range(5)])


class Appending(TestCase):
    """`Stanza.append` with a name."""

    @given(st.lists(st.sampled_from(("<a/>", "<b xmlns='urn:b'/>", "text", "<c><d/></c>")), max_size=4), st.booleans())
    def test_names(self, inside: list[str], asked: bool) -> None:
        """What it knows of the children afterwards is what is there."""
        from chatrix.xmpp.stanza import Message

        raw = "".join(inside)
        message = Message({}, f"{raw}</message>".encode() if raw else b"")
        if asked:
            _ = message.children
        message.append(forged("x").encode(), (SID, "stanza-id"))
        self.assertEqual(Message({}, message.inner).children, message.children)
