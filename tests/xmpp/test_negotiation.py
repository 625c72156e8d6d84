"""Stream headers, features and versions, as bytes."""

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from chatrix.xmpp.element import Element, serialise
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.negotiation import (
    DECLARATION,
    FOOTER,
    check_version,
    features,
    header,
    limits_feature,
    new_stream_id,
    starttls_feature,
)


class Headers(SynchronousTestCase):
    """`header`, `features` and `new_stream_id`."""

    def test_header(self) -> None:
        """A declaration, then a start tag that says what it should, whatever the values hold."""
        attributes = {"from": "example.com", "to": "a'b\"<&>\n@example.com", "version": "1.0"}
        raw = header("jabber:client", attributes)
        self.assertTrue(raw.startswith(b"<?xml version='1.0'?><stream:stream "))
        root = etree.fromstring(raw + FOOTER)
        self.assertEqual("{http://etherx.jabber.org/streams}stream", root.tag)
        self.assertEqual({None: "jabber:client", "stream": "http://etherx.jabber.org/streams"}, root.nsmap)
        self.assertEqual(attributes, dict(root.attrib))

    def test_declaration_stands_first(self) -> None:
        """Some clients look at the first bytes only."""
        self.assertEqual(b"<?xml version='1.0'?>", DECLARATION)
        self.assertEqual(b"</stream:stream>", FOOTER)

    def test_features(self) -> None:
        """The features stand in the order given; none is fine, too."""
        self.assertEqual(b"<stream:features></stream:features>", features([]))
        raw = features([Element("urn:a", "a"), Element("urn:b", "b")])
        self.assertLess(raw.index(b"urn:a"), raw.index(b"urn:b"))

    def test_ids(self) -> None:
        """Ids are long and never the same."""
        ids = {new_stream_id() for _ in range(100)}
        self.assertEqual(100, len(ids))
        self.assertEqual({24}, {len(each) for each in ids})


class Features(SynchronousTestCase):
    """The elements of single features."""

    def test_starttls(self) -> None:
        """STARTTLS says that it is required (RFC 6120 section 5.3.1)."""
        element = starttls_feature()
        self.assertEqual(("urn:ietf:params:xml:ns:xmpp-tls", "starttls"), (element.namespace, element.name))
        self.assertEqual(["required"], [child.name for child in element])

    def test_limits(self) -> None:
        """Limits are told by XEP-0478; no idle time is told when there is none."""
        text = serialise(limits_feature(8192, 30))
        self.assertIn(b"urn:xmpp:stream-limits:0", text)
        self.assertIn(b"<max-bytes>8192</max-bytes>", text)
        self.assertIn(b"<idle-seconds>30</idle-seconds>", text)
        self.assertNotIn(b"idle-seconds", serialise(limits_feature(8192, 0)))


class Versions(SynchronousTestCase):
    """`check_version`."""

    def test_good(self) -> None:
        """1.x is XMPP, and so is what is newer (RFC 6120 section 4.7.5)."""
        for version in ("1.0", "1.1", "1.10", "2.0", "01.0"):
            check_version(version)

    def test_bad(self) -> None:
        """No version, older ones, and what is none."""
        for version in (None, "", "0.9", "0.10", "1", "1.", ".1", "one", "1.0.0", "-1.0", "1.0 ", "\u0661.\u0660"):
            with self.subTest(version=version):
                error = self.assertRaises(StreamError, check_version, version)
                self.assertEqual("unsupported-version", error.condition)
