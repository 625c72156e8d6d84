"""The ini as text: sections and options with their lines, before anything is known of their meaning."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from chatrix.config.problems import ConfigError, Problem, quoted

MAXIMUM_BYTES = 1024 * 1024
"""No ini is this long: whoever names a log or a device by mistake gets an answer instead of a full memory."""

_INLINE_COMMENT = re.compile(r"(?:^|[ \t]);")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029]")


@dataclass
class Entry:
    """One `key = value`, which may go on over deeper indented lines."""

    key: str
    line: int
    pieces: list[tuple[int, str]] = field(default_factory=list)
    """Line number and text of every line of the value."""

    @property
    def value(self) -> str:
        """The whole value on one line."""
        return " ".join(text for _, text in self.pieces if text)

    def line_of(self, word: str) -> int:
        """The line on which a word of the value stands; the line of the key when it stands on none."""
        for line, text in self.pieces:
            if word and word in text.split():
                return line
        return self.line


@dataclass
class Section:
    """One `[kind name]` with its entries; `name` is empty for [chatrix] and [limits]."""

    kind: str
    name: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The title with its brackets, for messages."""
        return f"[{self.kind} {self.name}]" if self.name else f"[{self.kind}]"


def read_bytes(path: Path) -> bytes:
    """The bytes of an ini.

    Raises: ConfigError when it cannot be read or is longer than any ini.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, f"cannot be read: {error.strerror or error}")]) from None
    except ValueError:
        raise ConfigError([Problem(quoted(str(path)), 0, "is not a name that a file can have")]) from None
    return raw


def read_sections(raw: bytes, file: str) -> tuple[list[Section], list[Problem]]:
    """Split an ini into its sections; whatever cannot be understood is a problem and the rest is still read."""
    if len(raw) > MAXIMUM_BYTES:
        return [], [Problem(file, 0, f"is longer than {MAXIMUM_BYTES // 1024} KiB: this is no ini")]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return [], [Problem(file, line, "is not UTF-8 text")]
    reading = _Reading(file)
    for number, line_text in enumerate(text.split("\n"), 1):
        reading.take_line(number, line_text.removesuffix("\r"))
    return reading.sections, reading.problems


class _Reading:
    """The state while going down the lines of one ini."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.sections: list[Section] = []
        self.problems: list[Problem] = []
        self._entry: Entry | None = None
        """What an indented line continues; None after a title, a blank line or a problem."""
        self._indentation = 0
        self._in_section = False

    def take_line(self, number: int, text: str) -> None:
        """Understand one line."""
        if not text.strip(" \t"):
            self._entry = None
            return
        if text.lstrip(" \t")[0] in ";#":
            return
        if _CONTROL.search(text):
            self._entry = None
            self._complain(number, "control characters have no place in an ini")
            return
        indentation = len(text) - len(text.lstrip(" \t"))
        comment = _INLINE_COMMENT.search(text, indentation)
        content = (text[: comment.start()] if comment else text).strip(" \t")
        if self._entry is not None and indentation > self._indentation:
            self._entry.pieces.append((number, content))
        elif content.startswith("["):
            self._open_section(number, content)
        else:
            self._add_entry(number, content, indentation)

    def _open_section(self, number: int, content: str) -> None:
        self._entry = None
        # Also after a bad title: its options must not be taken for those of the section before.
        self._in_section = True
        words = content[1:-1].split()
        if not content.endswith("]") or not words or len(words) > 2:
            section = Section("", "", number)
            self.sections.append(section)
            self._complain(number, f'{quoted(content)} is no section title; write "[kind]" or "[kind name]"')
            return
        self.sections.append(Section(words[0].lower(), words[1] if len(words) == 2 else "", number))

    def _add_entry(self, number: int, content: str, indentation: int) -> None:
        self._entry = None
        key, equals, value = content.partition("=")
        key = " ".join(key.lower().split())
        if not equals or not key:
            self._complain(number, f'{quoted(content)} is neither "option = value" nor "[section]"')
            return
        if not self._in_section:
            self._complain(number, f"option {quoted(key)} stands before the first section")
            return
        section = self.sections[-1]
        entry = Entry(key, number, [(number, value.strip(" \t"))])
        self._entry, self._indentation = entry, indentation
        first = section.entries.setdefault(key, entry)
        if first is not entry:
            self._complain(number, f"option {quoted(key)} in {section.title} was already set in line {first.line}")

    def _complain(self, number: int, message: str) -> None:
        self.problems.append(Problem(self.file, number, message))
