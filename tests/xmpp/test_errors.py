"""Errors as written on the wire: RFC 6120 sections 4.9, 6.5 and 8.3."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.xmpp.element import Element, serialise
from chatrix.xmpp.errors import STANZA_CONDITIONS, SASLError, StanzaError, StreamError
from chatrix.xmpp.stanza import IQ


class StanzaErrorTests(TestCase):
    """RFC 6120 section 8.3."""

    def test_element(self) -> None:
        """Type, legacy code, condition, text and application-specific condition, in the RFC's order."""
        error = StanzaError("wait", "policy-violation", "slow <down>", Element("urn:x", "limit"))
        self.assertEqual(
            serialise(error.to_element()),
            b"<error type='wait' code='500'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            b"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>slow &lt;down&gt;</text><limit xmlns='urn:x'/></error>",
        )

    def test_twice(self) -> None:
        """One error can answer two stanzas: what it holds stays with it."""
        error = StanzaError("wait", "policy-violation", extra=Element("urn:x", "limit"))
        self.assertEqual(serialise(error.to_element()), serialise(error.to_element()))

    def test_default_type(self) -> None:
        """Without a type the condition's own is taken."""
        self.assertEqual(StanzaError(None, "jid-malformed").type, "modify")
        self.assertEqual(StanzaError(None, "forbidden").type, "auth")
        self.assertEqual(StanzaError(None, "service-unavailable").type, "cancel")

    def test_unknown(self) -> None:
        """What the RFC does not know cannot be said."""
        with self.assertRaises(ValueError):
            StanzaError("cancel", "no-such")
        with self.assertRaises(ValueError):
            StanzaError("no-such", "conflict")

    def test_from_stanza(self) -> None:
        """Every condition survives the wire."""
        request = IQ({"type": "get", "id": "1", "from": "a@b", "to": "c"})
        for condition in STANZA_CONDITIONS:
            error = StanzaError(None, condition, "why", Element("urn:x", "y"))
            read = StanzaError.from_stanza(request.error(error))
            self.assertEqual((read.type, read.condition, read.text), (error.type, condition, "why"))
            assert read.extra is not None
            self.assertEqual(read.extra.tag, "{urn:x}y")

    def test_from_strange_stanza(self) -> None:
        """An error without sense is an undefined condition."""
        for inner in (b"", b"<error type='x'><foo xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"):
            read = StanzaError.from_stanza(IQ({"type": "error"}, inner))
            self.assertEqual((read.type, read.condition), ("cancel", "undefined-condition"))

    def test_address(self) -> None:
        """The new address is the text of the condition."""
        error = StanzaError(None, "gone", address="xmpp:a@b")
        self.assertIn(b">xmpp:a@b</gone>", serialise(error.to_element()))


class StreamErrorTests(TestCase):
    """RFC 6120 section 4.9."""

    def test_bytes(self) -> None:
        """The prefix is that of the header, the rest stands alone."""
        self.assertEqual(
            StreamError("restricted-xml", "a&b", Element("urn:x", "y")).to_bytes(),
            b"<stream:error><restricted-xml xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            b"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>a&amp;b</text><y xmlns='urn:x'/></stream:error>",
        )

    def test_unknown(self) -> None:
        """What the RFC does not know cannot be said."""
        with self.assertRaises(ValueError):
            StreamError("xml-not-well-formed")

    def test_log(self) -> None:
        """A log line shows condition and text."""
        self.assertEqual(str(StreamError("reset")), "reset")
        self.assertEqual(str(StreamError("reset", "why")), "reset: why")


class SASLErrorTests(TestCase):
    """RFC 6120 section 6.5, XEP-0388."""

    def test_element(self) -> None:
        """SASL2 has its own element around the RFC's condition."""
        self.assertEqual(
            serialise(SASLError("not-authorized").to_element()),
            b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
        )
        self.assertEqual(
            serialise(SASLError("aborted", "x").to_element("urn:xmpp:sasl:2")),
            b"<failure xmlns='urn:xmpp:sasl:2'><aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
            b"<text>x</text></failure>",
        )

    def test_unknown(self) -> None:
        """What the RFC does not know cannot be said."""
        with self.assertRaises(ValueError):
            SASLError("bad-auth")
