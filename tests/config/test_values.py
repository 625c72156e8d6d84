"""The kinds of value: what is read, how it is shown again, what is said about the rest."""

from pathlib import Path
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.config.problems import BadValues
from chatrix.config.values import Duration, Endpoint, Rate, Size, kind_of
from chatrix.xmpp.jid import JID

FOLDER = Path("/etc/chatrix")
KINDS: list[Any] = [
    str, int, bool, Path, Size, Rate, Duration, Endpoint, JID, Literal["one", "two"], tuple[str, ...], tuple[JID, ...],
    tuple[Endpoint, ...], int | None, Rate | None,
]  # fmt: skip


def read(type_: Any, text: str) -> Any:
    """Read as the ini does."""
    return kind_of(type_).read(text, FOLDER)


class Values(TestCase):
    """Every kind of value."""

    def test_read(self) -> None:
        """What an admin writes and what the server gets."""
        expected: list[tuple[Any, str, Any]] = [
            (str, "a b", "a b"),
            (int, "-12", -12),
            (bool, "Yes", True),
            (bool, "no", False),
            (Path, "a.pem", Path("/etc/chatrix/a.pem")),
            (Path, "../var", Path("/etc/var")),
            (Path, "/x/y", Path("/x/y")),
            (Size, "256 KiB", 262144),
            (Size, "1.5kib", 1536),
            (Size, "20 kB", 20000),
            (Size, "0", 0),
            (Rate, "3 kB/s", 3000),
            (Rate | None, "none", None),
            (Duration, "5 min", 300.0),
            (Duration, "250ms", 0.25),
            (Duration, "28 d", 2419200.0),
            (Literal["closed", "open"], "Open", "open"),
            (tuple[str, ...], " a  b ", ("a", "b")),
            (tuple[str, ...], "", ()),
            (tuple[Endpoint, ...], "tcp:5222 unix:c.sock", ("tcp:5222", "unix:c.sock")),
            (Endpoint, "tcp6:5222", "tcp6:5222"),
            (Endpoint, r"tcp:port=5222:interface=\:\:", r"tcp:port=5222:interface=\:\:"),
            (JID, "juliet@example.com", JID.parse("juliet@example.com")),
        ]
        for type_, text, value in expected:
            self.assertEqual(read(type_, text), value, text)

    def test_refused(self) -> None:
        """What cannot be meant, with the reason and the guess."""
        expected: list[tuple[Any, str, str, str]] = [
            (str, "", "needs a value", ""),
            (int, "ten", '"ten" is not a whole number', ""),
            (int, "9" * 5000, "is not a whole number", ""),
            (int, "٣", "is not a whole number", ""),
            (bool, "true", "neither yes nor no", "yes"),
            (bool, "maybe", "neither yes nor no", ""),
            (Path, "", "needs a value", ""),
            (Size, "256", "has no unit", ""),
            (Size, "256 KiBs", '"KiBs" is not a unit here; there are GiB,', "KiB"),
            (Size, "-1 B", "is not a number with a unit", ""),
            (Rate, "64 KiB", "is not a rate", ""),
            (Duration, "10 mins", '"mins" is not a unit here', "min"),
            (Duration, "nan s", "is not a number with a unit", ""),
            (Literal["closed", "open"], "opened", "is not one of closed, open", "open"),
            (Endpoint, "5222", '"5222" is a port alone', "tcp:5222"),
            (Endpoint, "ssl:5223:privateKey=x", 'TLS is made by chatrix itself, so write "tcp:5223"', ""),
            (Endpoint, "tpc:5222", "is not a Twisted server endpoint", ""),
            (Endpoint, "tcp", "is not a Twisted server endpoint", ""),
            (Endpoint, "tcp:70000", '"70000" is not a port', ""),
            (Endpoint, "tcp:-1", '"-1" is not a port', ""),
            (JID, "@example.com", "is not a JID", ""),
        ]
        for type_, text, message, suggestion in expected:
            error = self.assertRaises(BadValues, read, type_, text)
            self.assertIn(message, str(error.each[0]), text)
            self.assertEqual(error.each[0].suggestion, suggestion, text)

    def test_every_bad_word_is_named(self) -> None:
        """Of several words each bad one is a problem of its own."""
        error = self.assertRaises(BadValues, read, tuple[int, ...], "1 two 3 four 1, 3")
        self.assertEqual([bad.word for bad in error.each], ["two", "four", "1,", "3"])
        self.assertIn("without commas", str(error))
        self.assertIn("there twice", str(error))

    def test_shown(self) -> None:
        """Values are shown as an admin would write them."""
        expected: list[tuple[Any, Any, str]] = [
            (Size, 262144, "256 KiB"),
            (Size, 20000, "20 kB"),
            (Size, 1001, "1001 B"),
            (Size, 0, "0 B"),
            (Rate, 131072, "128 KiB/s"),
            (Duration, 21600.0, "6 h"),
            (Duration, 90.0, "90 s"),
            (Duration, 0.25, "250 ms"),
            (Duration, 0.0, "0 s"),
            (bool, True, "yes"),
            (int | None, None, "none"),
            (tuple[str, ...], ("a", "b"), "a b"),
        ]
        for type_, value, text in expected:
            self.assertEqual(kind_of(type_).show(value), text)

    def test_types_without_a_kind(self) -> None:
        """A module's author learns at once that an option cannot be of some type."""
        for type_ in (dict, list[str], int | str, tuple[int, str], Literal[1, 2], float):
            self.assertRaises(TypeError, kind_of, type_)

    @given(st.sampled_from(KINDS), st.text(max_size=30) | st.from_regex(r"[0-9.]{1,8} ?[kKMG]?i?[Bshd](/s)?"))
    def test_any_text(self, type_: Any, text: str) -> None:
        """Any text is a value or is refused, and a value shown is read as the same value again."""
        try:
            value = read(type_, text)
        except BadValues as error:
            self.assertTrue(error.each and all(str(bad) for bad in error.each))
        else:
            self.assertEqual(read(type_, kind_of(type_).show(value)), value)
