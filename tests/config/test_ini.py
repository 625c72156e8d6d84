"""The reader of the ini's text: sections, values over several lines, comments, and what it complains about."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.config.ini import MAXIMUM_BYTES, Section, read_bytes, read_sections
from chatrix.config.problems import ConfigError


def read(text: str) -> list[Section]:
    """The sections of a text without problems."""
    sections, problems = read_sections(text.encode(), "x.ini")
    assert not problems, problems
    return sections


def complaints(raw: str | bytes) -> list[str]:
    """What the reader says against a text."""
    return [str(problem) for problem in read_sections(raw.encode() if isinstance(raw, str) else raw, "x.ini")[1]]


class Reading(TestCase):
    """What a text means."""

    def test_sections_and_entries_keep_their_lines(self) -> None:
        """Title and option know the line they stand in, also behind comments and blank lines."""
        first, second = read("; top\n\n[chatrix]\nstate = var\n# c\n\n[host example.com]\n\ncertificate = a.pem\n")
        self.assertEqual((first.kind, first.name, first.line, first.title), ("chatrix", "", 3, "[chatrix]"))
        self.assertEqual((second.kind, second.name, second.line), ("host", "example.com", 7))
        self.assertEqual(second.title, "[host example.com]")
        self.assertEqual([(e.key, e.value, e.line) for e in first.entries.values()], [("state", "var", 4)])
        self.assertEqual(second.entries["certificate"].line, 9)

    def test_keys_are_lower_case_with_single_spaces(self) -> None:
        """`C2S   TLS` is `c2s tls`; the value keeps its case."""
        self.assertEqual(read("[chatrix]\nC2S \t TLS=Tcp:1")[0].entries["c2s tls"].value, "Tcp:1")

    def test_comments(self) -> None:
        """A semicolon begins a comment after white space only; a hash only at the beginning of a line."""
        entries = read("[a]\nb = c;d ; e\nf = #1 #2\n  ; = x\ng = ; nothing\n")[0].entries
        self.assertEqual({key: entry.value for key, entry in entries.items()}, {"b": "c;d", "f": "#1 #2", "g": ""})

    def test_value_over_several_lines(self) -> None:
        """Deeper indented lines go on with a value, comments between them do not end it, and each word has its line."""
        section = read("[a]\nwords = one  ; first\n    two\n; note\n    three = 3\nnext = 1\n")[0]
        words = section.entries["words"]
        self.assertEqual(words.value, "one two three = 3")
        self.assertEqual([words.line_of(word) for word in ("one", "two", "three", "four", "")], [2, 3, 5, 2, 2])
        self.assertEqual(section.entries["next"].value, "1")

    def test_indented_section(self) -> None:
        """Options that are all indented alike are options, not one value."""
        self.assertEqual(list(read("[a]\n  b = 1\n  c = 2\n")[0].entries), ["b", "c"])

    def test_blank_line_ends_a_value(self) -> None:
        """After a blank line an indented option is an option."""
        self.assertEqual(list(read("[a]\nb = 1\n\n  c = 2\n")[0].entries), ["b", "c"])

    def test_windows_line_ends_and_byte_order_mark(self) -> None:
        """A file from another system's editor means the same."""
        sections, problems = read_sections(b"\xef\xbb\xbf[a]\r\nb = c\r\n", "x.ini")
        self.assertEqual((sections[0].entries["b"].value, problems), ("c", []))


class Complaining(TestCase):
    """What the reader does not take."""

    def test_each_with_its_line(self) -> None:
        """Every kind of line that means nothing, all in one go."""
        self.assertEqual(
            complaints("a = 1\n[]\n[a b c]\n[open\nnothing\n= 2\n[a]\nb = 1\nB = 2\nc\x00 = 1\n"),
            [
                'x.ini:1: option "a" stands before the first section',
                'x.ini:2: "[]" is no section title; write "[kind]" or "[kind name]"',
                'x.ini:3: "[a b c]" is no section title; write "[kind]" or "[kind name]"',
                'x.ini:4: "[open" is no section title; write "[kind]" or "[kind name]"',
                'x.ini:5: "nothing" is neither "option = value" nor "[section]"',
                'x.ini:6: "= 2" is neither "option = value" nor "[section]"',
                'x.ini:9: option "b" in [a] was already set in line 8',
                "x.ini:10: control characters have no place in an ini",
            ],
        )

    def test_options_after_a_bad_title_stay_out_of_the_section_before(self) -> None:
        """A broken title does not pour its options into the wrong section."""
        sections, _ = read_sections(b"[a]\nb = 1\n[c d e]\nb = 2\n", "x.ini")
        self.assertEqual([list(section.entries) for section in sections if section.kind], [["b"]])
        self.assertEqual(sections[0].entries["b"].value, "1")

    def test_not_utf8(self) -> None:
        """The line of the first byte that is no UTF-8."""
        self.assertEqual(complaints(b"[a]\nb = 1\nc = \xff\n"), ["x.ini:3: is not UTF-8 text"])

    def test_no_file(self) -> None:
        """A missing file, a folder and an impossible name are said, not raised as they come."""
        for name, said in (("missing.ini", "No such file"), (".", "Is a directory"), ("a\0b", "is not a name")):
            error = self.assertRaises(ConfigError, read_bytes, Path(name))
            self.assertIn(said, str(error))

    def test_endless_file(self) -> None:
        """A device or a huge log is refused instead of read to its end."""
        raw = read_bytes(Path("/dev/zero"))
        self.assertEqual(len(raw), MAXIMUM_BYTES + 1)
        self.assertEqual(complaints(raw), ["x.ini: is longer than 1024 KiB: this is no ini"])

    def test_long_and_odd_text_is_shown_short_and_plain(self) -> None:
        """A message repeats little of a long line, and nothing a terminal would obey."""
        (complaint,) = complaints("[a]\n" + "\u202ex" * 1000)
        self.assertLess(len(complaint), 200)
        self.assertNotIn("\u202e", complaint)

    @given(st.binary(max_size=200) | st.text(alphabet="[]=;#ab \t\n\r\x00é", max_size=200).map(str.encode))
    def test_any_bytes(self, raw: bytes) -> None:
        """Any bytes give sections and problems, never an exception, and every problem names a line that exists."""
        _, problems = read_sections(raw, "x.ini")
        for problem in problems:
            self.assertTrue(1 <= problem.line <= raw.count(b"\n") + 1)
