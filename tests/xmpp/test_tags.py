"""Tests of chatrix.xmpp.tags: what start tags say; children in general are in test_stanza and in the properties."""

from twisted.trial.unittest import TestCase

from chatrix.xmpp import tags
from chatrix.xmpp.slice_parser import Limits
from chatrix.xmpp.tags import children_of, ordinary_children

WIDE = Limits(1 << 20, 10000, 64, 64)


class OrdinaryTests(TestCase):
    """What may pass without a closer look."""

    def test_ordinary(self) -> None:
        """What clients send is ordinary, whatever changes from one stanza to the next."""
        inner = b"<body>a > b</body><x xmlns='urn:x' id='%d' b='/'/><y xmlns=\"urn:y\"><z/></y></message>"
        for n in range(3):
            expected = ((None, "body"), ("urn:x", "x"), ("urn:y", "y"))
            self.assertEqual(ordinary_children(inner % n, WIDE), expected)
            self.assertEqual(children_of(inner % n), expected)

    def test_not_ordinary(self) -> None:
        """What could be something else than it looks like gets a closer look."""
        for inner in (
            b"<message/></message>",
            b"<x><iq/></x></message>",
            b"<p:x xmlns:p='urn:p'/></message>",
            b"<xml:x/></message>",
            b"<x xmlns='jabber:client'/></message>",
            b"<x a='1' xmlns='jabber:server'/></message>",
            b"<x xmlns='no uri'/></message>",
            b"<x xmlns='urn:x' xmlns:y='}'/></message>",
            b"<x xmlns=''/></message>",
            b"<!-- x --></message>",
            b"<![CDATA[x]]></message>",
            b"<?x?></message>",
            b"<x xmlns='urn:&#x78;'/></message>",
            b"<<x/></message>",
            b"<>",
        ):
            self.assertIsNone(ordinary_children(inner, WIDE), inner)

    def test_limits(self) -> None:
        """Depth, elements and attributes: exactly so much is ordinary, the stanza itself counts."""
        for inner, limits in (
            (b"<a><b/></a></message>", Limits(9999, 3, 64, 64)),
            (b"<a b='1' c='2'/></message>", Limits(9999, 99, 64, 2)),
        ):
            self.assertIsNotNone(ordinary_children(inner, limits))
            less = Limits(9999, limits.elements - 1, limits.depth, limits.attributes - 1)
            self.assertIsNone(ordinary_children(inner, less), inner)
        for depth, expected in ((4, ((None, "a"),)), (3, None)):
            self.assertEqual(
                ordinary_children(b"<a><b><c>x</c></b></a></message>", Limits(9999, 99, depth, 64)), expected
            )


class MemoryTests(TestCase):
    """What is kept."""

    def test_bounded(self) -> None:
        """Tags are kept by the thousand at most, long ones not at all, text and changing attributes never."""
        for n in range(5000):
            inner = b"<a%d xmlns='urn:a' id='x%d'>secret</a%d></message>" % (n, n, n)
            self.assertEqual(children_of(inner), (("urn:a", f"a{n}"),))
        known = tags._known
        self.assertLessEqual(len(known), tags._KNOWN_TAGS)
        self.assertFalse([tag for tag in known if b"secret" in tag or b"id='x" in tag])
        children_of(b"<a b='" + b"x" * 200 + b"'/>")
        self.assertLessEqual(max(map(len, known)), tags._KNOWN_TAG_LENGTH)
