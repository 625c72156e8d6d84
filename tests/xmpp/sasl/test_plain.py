"""Tests of chatrix.xmpp.sasl.plain: the one message of PLAIN."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.sasl.plain import parse


class ParseTests(TestCase):
    """RFC 4616 section 2."""

    def test_examples_of_the_rfc(self) -> None:
        """RFC 4616 section 4: with and without authorization identity."""
        self.assertEqual(parse(b"\0tim\0tanstaaftanstaaf"), ("", "tim", "tanstaaftanstaaf"))
        self.assertEqual(parse(b"Ursel\0Kurt\0xipj3plmq"), ("Ursel", "Kurt", "xipj3plmq"))

    def test_long_and_foreign(self) -> None:
        """255 octets of UTF-8 in each part are fine, control characters too."""
        for text in ("\u00e9" * 127, "\U0001f600" * 63, "a\r\nb,=c"):
            self.assertEqual(parse(f"{text}\0{text}\0{text}".encode()), (text, text, text))

    def test_malformed(self) -> None:
        """Too few or too many NULs, empty parts and broken UTF-8 are malformed-request."""
        for message in (
            b"",
            b"alice",
            b"alice\0secret",
            b"\0alice",
            b"\0alice\0",
            b"\0\0secret",
            b"\0\0",
            b"\0alice\0secret\0",
            b"\0\0alice\0secret",
            b"a\0alice\0sec\0ret",
            b"\0al\xffce\0secret",
            b"\0alice\0\xed\xa0\x80",
            b"\0\xc0\x80\0secret",
        ):
            self.assertEqual(self.assertRaises(SASLError, parse, message).condition, "malformed-request", message)

    def test_no_password_in_logs(self) -> None:
        """The representation does not show the password."""
        self.assertNotIn("secret", repr(parse(b"\0alice\0secret")))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60))
    def test_any_bytes(self, message: bytes) -> None:
        """Any bytes are taken apart without loss, or refused with SASLError."""
        try:
            parts = parse(message)
        except SASLError:
            return
        self.assertEqual("\0".join(parts).encode(), message)
