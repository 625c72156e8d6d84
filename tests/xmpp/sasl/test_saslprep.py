"""Tests of chatrix.xmpp.sasl.saslprep: what a password may be, and what is made of it (RFC 4013)."""

import unicodedata
from typing import Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp.sasl.saslprep import InvalidPassword, prepare_password


class PreparePasswordTests(TestCase):
    """The profile, character class by character class."""

    def test_examples_of_the_rfc(self) -> None:
        """RFC 4013 section 3: its table of examples."""
        for given_, prepared in (
            ("I\u00adX", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u00aa", "a"),
            ("\u2168", "IX"),
        ):
            self.assertEqual(prepare_password(given_), prepared.encode())
        for refused in ("\u0007", "\u06271"):
            self.assertRaises(InvalidPassword, prepare_password, refused)

    def test_spaces_and_compatibility_forms(self) -> None:
        """Odd spaces become plain ones, full-width letters narrow, and both ways to write an accent are one."""
        self.assertEqual(prepare_password("a\u00a0b\u3000c d"), b"a b c d")
        self.assertEqual(prepare_password("\uff50\uff57"), b"pw")
        self.assertEqual(prepare_password("e\u0301"), prepare_password("\u00e9"))
        self.assertEqual(prepare_password("\u00bd"), "1\u20442".encode())

    def test_right_to_left(self) -> None:
        """A Hebrew password passes; one that mixes in Latin letters, or ends otherwise than it began, does not."""
        self.assertEqual(prepare_password("\u05e9\u05dc\u05d5\u05dd"), "\u05e9\u05dc\u05d5\u05dd".encode())
        self.assertRaises(InvalidPassword, prepare_password, "\u05e9a\u05dd")
        self.assertRaises(InvalidPassword, prepare_password, "\u05e9\u05dd1")

    def test_newer_characters_pass(self) -> None:
        """An emoji is as good as any character."""
        self.assertEqual(prepare_password("\U0001f600"), "\U0001f600".encode())

    def test_forbidden(self) -> None:
        """Control characters, private use, lone surrogates, direction marks and tags are refused."""
        for character in "\0\n\x7f\u0085\ue000\ud800\ufffd\u2ff0\u200e\U000e0001":
            self.assertRaises(InvalidPassword, prepare_password, f"a{character}b")

    def test_empty(self) -> None:
        """Neither nothing, nor what is mapped to nothing."""
        self.assertRaises(InvalidPassword, prepare_password, "")
        self.assertRaises(InvalidPassword, prepare_password, "\u00ad\u200b")

    def test_length(self) -> None:
        """1023 octets are the limit, counted after the preparation as well."""
        self.assertEqual(len(prepare_password("x" * 1023)), 1023)
        self.assertRaises(InvalidPassword, prepare_password, "x" * 1024)
        self.assertRaises(InvalidPassword, prepare_password, "\u00e9" * 512)
        self.assertRaises(InvalidPassword, prepare_password, "\ufdfa" * 200)

    def test_huge(self) -> None:
        """A password of a megabyte is refused before any work is done on it."""

        def too_late(*arguments: Any) -> NoReturn:
            raise AssertionError("a huge password was normalised")

        self.patch(unicodedata, "normalize", too_late)
        self.assertRaises(InvalidPassword, prepare_password, "\u00e9" * 1_000_000)

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet=st.characters(), max_size=40))
    def test_any_text(self, password: str) -> None:
        """Any text is prepared into few octets, or refused with InvalidPassword."""
        try:
            prepared = prepare_password(password)
        except InvalidPassword:
            return
        self.assertTrue(0 < len(prepared) <= 1023)
        self.assertEqual(prepare_password(prepared.decode()), prepared)
