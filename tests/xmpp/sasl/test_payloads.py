"""Tests of chatrix.xmpp.sasl.payloads: base64 as strict as RFC 6120 wants it."""

from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.sasl.payloads import decode, decode_initial, encode, encode_additional


class PayloadTests(TestCase):
    """Decoding what came, encoding what goes."""

    def test_no_initial_response(self) -> None:
        """An empty <auth/> has no initial response; "=" is one that is empty."""
        self.assertIsNone(decode_initial(None))
        self.assertIsNone(decode_initial(""))
        self.assertEqual(decode_initial("="), b"")
        self.assertEqual(decode_initial("AGE="), b"\0a")

    def test_response(self) -> None:
        """A response is always there."""
        self.assertEqual(decode(None), b"")
        self.assertEqual(decode("="), b"")
        self.assertEqual(decode("YmlueA=="), b"binx")

    def test_bad_base64(self) -> None:
        """Anything but canonical base64 is incorrect-encoding."""
        bad = (" ", "Y", "YQ", "YQ=", "YR==", "YWI", "YW=I", "=AAA", "BBBB=CCC", "YQ==\n", " YQ==", "Y Q==", "YQ===")
        for text in (*bad, "====", "==", "YQ==YQ==", "Y-__", "\u00e4\u00e4\u00e4\u00e4", "\ud800\ud800\ud800\ud800"):
            for function in (decode, decode_initial):
                self.assertEqual(self.assertRaises(SASLError, function, text).condition, "incorrect-encoding", text)

    def test_too_long(self) -> None:
        """More than 8 KiB is refused as malformed-request, and not decoded."""
        self.assertEqual(len(decode("A" * 8192)), 6144)
        for length in (8193, 8196, 65536):
            self.assertEqual(self.assertRaises(SASLError, decode, "A" * length).condition, "malformed-request")

    def test_encode(self) -> None:
        """An empty challenge is an empty element; empty additional data is "=", and absent data nothing."""
        self.assertEqual(encode(b""), "")
        self.assertEqual(encode(b"binx"), "YmlueA==")
        self.assertIsNone(encode_additional(None))
        self.assertEqual(encode_additional(b""), "=")
        self.assertEqual(encode_additional(b"binx"), "YmlueA==")

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=100))
    def test_round_trip(self, data: bytes) -> None:
        """What is encoded is decoded to the same."""
        self.assertEqual(decode(encode(data)), data)

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet="AQgw+/=-_ \n", max_size=12))
    def test_one_spelling(self, text: str) -> None:
        """No two texts mean the same data."""
        try:
            data = decode(text)
        except SASLError:
            return
        self.assertIn(text, {b64encode(data).decode(), "=" if not data else text})
        if data:
            self.assertEqual(text, b64encode(data).decode())
