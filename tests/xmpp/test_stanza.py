"""Stanzas: their own bytes, and a tree only when asked."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp.element import Element, parse
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import IQ, Message, Presence, from_tree, make
from tests.xmpp.xml_strategies import CHARACTERS


class StanzaTests(TestCase):
    """What all three have in common."""

    def test_make(self) -> None:
        """The name decides the class; other names are no stanzas."""
        self.assertIsInstance(make("message", {}), Message)
        self.assertIsInstance(make("presence", {}), Presence)
        self.assertIsInstance(make("iq", {}), IQ)
        with self.assertRaises(KeyError):
            make("auth", {})

    def test_attributes(self) -> None:
        """Properties read and write the attributes."""
        stanza = make("message", {})
        self.assertEqual((stanza.id, stanza.type, stanza.to, stanza.from_), ("", "", None, None))
        stanza.id, stanza.type, stanza.to, stanza.from_ = "1", "chat", JID.parse("A@b"), JID.parse("c")
        self.assertEqual(stanza.attributes, {"id": "1", "type": "chat", "to": "a@b", "from": "c"})
        self.assertEqual((stanza.to, stanza.from_), (JID.parse("a@b"), JID.parse("c")))
        stanza.to = None
        stanza.type = ""
        self.assertEqual(stanza.attributes, {"id": "1", "from": "c"})

    def test_malformed_address(self) -> None:
        """An address that is none is the sender's error."""
        stanza = make("message", {"to": "@", "from": ""})
        for attribute in ("to", "from_"):
            with self.assertRaises(StanzaError) as caught:
                getattr(stanza, attribute)
            self.assertEqual((caught.exception.type, caught.exception.condition), ("modify", "jid-malformed"))

    def test_to_bytes(self) -> None:
        """The start tag is new, the rest is as it came."""
        stanza = make("message", {"to": "a@b", "xml:lang": "de"}, b"<body>x</body ></message >")
        stanza.from_ = JID.parse("c@d/e")
        self.assertEqual(stanza.to_bytes(), b"<message to='a@b' xml:lang='de' from='c@d/e'><body>x</body ></message >")
        self.assertEqual(make("iq", {}).to_bytes(), b"<iq/>")
        self.assertEqual(make("iq", {}).to_bytes(b"jabber:server"), b"<iq xmlns='jabber:server'/>")
        self.assertEqual(make("iq", {}, b"</iq>").to_bytes(b"jabber:server"), b"<iq xmlns='jabber:server'></iq>")

    def test_no_break_out(self) -> None:
        """Whatever is in an attribute, the receiver reads just that (X10)."""

        @settings(max_examples=200, deadline=None, database=None)
        @given(st.text(st.one_of(st.sampled_from("'\"<>&]\t\r\n{} "), CHARACTERS), max_size=8))
        def check(value: str) -> None:
            names = ["to", "id", "xml:lang", "{urn:x}y"]
            element = parse(make("message", dict.fromkeys(names, value)).to_bytes())
            assert sorted(element.attrib.values()) == [value] * 4
            assert len(element) == 0

        check()

    def test_not_xml(self) -> None:
        """What is no XML character would end the receiver's stream; it is replaced."""
        for character in ("\x00", "\x08", "\x1b", "\ud800", "\ufffe", "\uffff"):
            raw = make("message", {"id": f"a{character}b"}).to_bytes()
            self.assertEqual(parse(raw).get("id"), "a\ufffdb")

    def test_build_and_from_tree(self) -> None:
        """Both spell the same stanza."""
        built = Message.build({"to": "a@b", "xml:lang": "en"}, Element(None, "body", text="<"), Element("urn:x", "y"))
        self.assertEqual(
            built.to_bytes(), b"<message to='a@b' xml:lang='en'><body>&lt;</body><y xmlns='urn:x'/></message>"
        )
        self.assertEqual(from_tree(built.tree), built)
        self.assertEqual(Message.build({}).to_bytes(), b"<message/>")

    def test_change(self) -> None:
        """append, replace_children and remove_children keep bytes, children and tree together."""
        message = Message.build({}, Element(None, "body", text="x"))
        self.assertEqual(message.tree.text_of(None, "body"), "x")
        message.append(Element("urn:x", "y", {"id": "1"}))
        message.append(b"<z xmlns='urn:z'/>")
        self.assertEqual(message.children, ((None, "body"), ("urn:x", "y"), ("urn:z", "z")))
        self.assertEqual([child.name for child in message.tree], ["body", "y", "z"])
        self.assertTrue(message.remove_children(lambda child: child.namespace == "urn:x"))
        self.assertFalse(message.remove_children(lambda child: child.namespace == "urn:x"))
        self.assertEqual(message.to_bytes(), b"<message><body>x</body><z xmlns='urn:z'/></message>")
        message.replace_children([])
        self.assertEqual(message.to_bytes(), b"<message/>")
        message.append(Element(None, "body"))
        self.assertEqual(message.to_bytes(), b"<message><body/></message>")

    def test_remove_all_copies(self) -> None:
        """Every copy goes, not just the first (a forger sends two)."""
        message = make("message", {}, b"<s xmlns='urn:s'/><p:s xmlns:p='urn:s'/><s xmlns=\"urn&#58;s\"></s></message>")
        self.assertEqual(message.children, (("urn:s", "s"),) * 3)
        message.remove_children(lambda child: child.tag == "{urn:s}s")
        self.assertEqual(message.to_bytes(), b"<message/>")

    def test_copy(self) -> None:
        """A copy can be stamped on its own."""
        message = make("message", {"to": "a"}, b"<body/></message>")
        twin = message.copy()
        twin.to = JID.parse("b")
        twin.append(Element("urn:x", "y"))
        self.assertEqual(message.to_bytes(), b"<message to='a'><body/></message>")
        self.assertEqual(twin.to_bytes(), b"<message to='b'><body/><y xmlns='urn:x'/></message>")

    def test_error(self) -> None:
        """The error echoes the id and nothing else."""
        message = make("message", {"to": "a", "from": "b", "id": "1", "type": "chat"}, b"<body>secret</body></message>")
        error = message.error(StanzaError(None, "conflict"))
        self.assertEqual(error.attributes, {"type": "error", "to": "b", "from": "a", "id": "1"})
        self.assertEqual(error.children, ((None, "error"),))
        self.assertNotIn(b"secret", error.to_bytes())

    def test_bad_tree(self) -> None:
        """What only libxml2 refuses is the sender's error, not ours."""
        with self.assertRaises(StanzaError):
            make("message", {}, b"<x></message>").tree  # noqa: B018


class ChildrenTests(TestCase):
    """Names without a tree."""

    def children(self, inner: bytes) -> tuple[tuple[str | None, str], ...]:
        """Return what the bytes hold, having checked it against libxml2."""
        stanza = make("message", {}, inner + b"</message>")
        self.assertEqual(stanza.children, tuple((child.namespace, child.name) for child in stanza.tree))
        return stanza.children

    def test_nested(self) -> None:
        """Only the first level counts."""
        inner = b"<a xmlns='urn:a'><a><a/></a><b/></a><c><a/></c> text <d/>"
        self.assertEqual(self.children(inner), (("urn:a", "a"), (None, "c"), (None, "d")))

    def test_quotes(self) -> None:
        """A bigger-than or a slash in a value ends no tag, and a declaration there declares nothing."""
        inner = (
            b"<a b='>' c=\"/>\" d=\"'>'\"><x/></a><b c=\" xmlns='urn:x' \"/><c\n xmlns\t=\r\"urn:c\"\n/><d xmlns=''/>"
        )
        self.assertEqual(self.children(inner), ((None, "a"), (None, "b"), ("urn:c", "c"), (None, "d")))

    def test_prefixes(self) -> None:
        """A prefix counts, the default namespace beside it does not."""
        inner = b"<p:a xmlns='urn:x' xmlns:p='urn:p' xmlns:q='urn:q'/><p.q xmlns:p='urn:p' xmlns='urn:a&amp;b'/>"
        self.assertEqual(self.children(inner), (("urn:p", "a"), ("urn:a&b", "p.q")))


class MessageTests(TestCase):
    """RFC 6121 section 5."""

    def test_body(self) -> None:
        """The first body's text; an empty body is not a missing one."""
        self.assertEqual(Message({}, b"<body>a</body><body xml:lang='de'>b</body></message>").body, "a")
        self.assertEqual(Message({}, b"<body/></message>").body, "")
        self.assertIsNone(Message({}, b"<body xmlns='urn:x'>a</body></message>").body)

    def test_reply(self) -> None:
        """Back to the sender, in a groupchat to the room."""
        question = Message({"from": "a@b/c", "to": "d", "type": "chat", "id": "1"})
        self.assertEqual(
            question.reply("<3").to_bytes(), b"<message type='chat' to='a@b/c' from='d'><body>&lt;3</body></message>"
        )
        question.type = "groupchat"
        self.assertEqual(question.reply("x").attributes["to"], "a@b")


class PresenceTests(TestCase):
    """RFC 6121 section 4."""

    def test_priority(self) -> None:
        """Within a signed byte; nonsense is zero."""
        for text, priority in (
            ("5", 5),
            ("-1", -1),
            ("+7", 7),
            (" 3\n", 3),
            ("200", 127),
            ("-999", -128),
            ("x", 0),
            ("1e9", 0),
            ("\u0663", 0),
            ("9" * 9999, 0),
        ):
            presence = Presence.build({}, Element(None, "priority", text=text))
            self.assertEqual(presence.priority, priority, text)
        self.assertEqual(Presence({}).priority, 0)

    def test_show_and_status(self) -> None:
        """Empty and None when absent."""
        presence = Presence({}, b"<show>away</show><status>gone</status></presence>")
        self.assertEqual((presence.show, presence.status), ("away", "gone"))
        self.assertEqual((Presence({}).show, Presence({}).status), ("", None))


class IQTests(TestCase):
    """RFC 6120 section 8.2.3."""

    def test_payload(self) -> None:
        """The first child, by name without a tree."""
        iq = IQ({"type": "get"}, b"<ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual(iq.payload_name, ("urn:xmpp:ping", "ping"))
        self.assertIsNone(iq._tree)
        self.assertEqual(iq.payload.tag, "{urn:xmpp:ping}ping")
        self.assertIsNone(IQ({}).payload_name)
        with self.assertRaises(StanzaError):
            IQ({}).payload  # noqa: B018

    def test_reply(self) -> None:
        """A result with the same id, addresses swapped; absent ones stay absent."""
        iq = IQ({"type": "get", "id": "1", "from": "a"})
        self.assertEqual(iq.reply().to_bytes(), b"<iq type='result' to='a' id='1'/>")
        self.assertEqual(
            iq.reply(Element("urn:x", "y")).to_bytes(), b"<iq type='result' to='a' id='1'><y xmlns='urn:x'/></iq>"
        )
