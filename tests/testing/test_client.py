"""The raw client's parts: its reading of a stream, and its side of SCRAM."""

from itertools import pairwise
from xml.parsers.expat import ExpatError

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatrix.testing.matching import as_text
from chatrix.testing.reader import StreamReader
from chatrix.testing.scram import ScramClient, ScramFailed

STREAM = (
    "<?xml version='1.0'?><stream:stream id='1' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    '<message to="a@b"><body>é &amp; <b xmlns="urn:x">bold</b> too</body></message> \n<presence/>'
    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
).encode()

ELEMENTS = [
    '<stream:stream id="1"/>',
    '<message to="a@b"><body>é &amp; <b xmlns="urn:x">bold</b> too</body></message>',
    "<presence/>",
    '<stream:error><conflict xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>',
]


class Reading(SynchronousTestCase):
    """StreamReader."""

    @given(st.lists(st.integers(0, len(STREAM)), max_size=8))
    def test_any_split(self, cuts: list[int]) -> None:
        """However the bytes come, the elements are the same: the header, then the first level, then the end."""
        reader = StreamReader()
        edges = [0, *sorted(cuts), len(STREAM)]
        came = [as_text(element) for start, end in pairwise(edges) for element in reader.feed(STREAM[start:end])]
        self.assertEqual(ELEMENTS, came)
        self.assertTrue(reader.declared)
        self.assertTrue(reader.closed)

    def test_not_closed(self) -> None:
        """Before the end tag the stream is open; without a declaration there was none."""
        reader = StreamReader()
        reader.feed(b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>")
        self.assertFalse(reader.closed)
        self.assertFalse(reader.declared)

    def test_not_xml(self) -> None:
        """What is no XML is an error, not silence."""
        self.assertRaises(ExpatError, StreamReader().feed, b"HTTP/1.1 400 Bad Request")


class Scram(SynchronousTestCase):
    """The example conversation of RFC 7677 section 3."""

    def setUp(self) -> None:
        self.client = ScramClient("SCRAM-SHA-256", "user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
        self.server_nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

    def final(self) -> bytes:
        return self.client.final(f"r={self.server_nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode())

    def test_vector(self) -> None:
        """The messages are those of the RFC, and the server's signature is accepted."""
        self.assertEqual(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", self.client.first())
        proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        self.assertEqual(f"c=biws,r={self.server_nonce},p={proof}".encode(), self.final())
        self.client.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")

    def test_wrong_signature(self) -> None:
        """A server that does not know the password is found out."""
        self.final()
        self.assertRaises(ScramFailed, self.client.check, b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")

    def test_another_nonce(self) -> None:
        """So is one that does not continue our nonce."""
        self.server_nonce = "another"
        self.assertRaises(ScramFailed, self.final)
