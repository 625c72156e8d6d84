"""The transcript format: a conversation with a server, written like a screenplay. See docs/transcripts.md.

Pure: text in, steps out. `runner.py` performs them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import dedent

from lxml import etree

from chatrix.testing.matching import NotXML, read_templates


class TranscriptError(ValueError):
    """A transcript that cannot be read. The text begins with file and line."""


@dataclass(frozen=True)
class Step:
    """One sentence of the screenplay."""

    file: str
    line: int
    who: str
    """The client's name; empty for sentences about everybody."""
    text: str
    """The sentence as written, for messages."""

    @property
    def place(self) -> str:
        """File and line, as compilers write them."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Connects(Step):
    """Connect, encrypt, log in and bind a resource; no presence is sent."""


@dataclass(frozen=True)
class Opens(Step):
    """Open a bare connection, for a conversation that is written out byte by byte."""

    tls: bool
    """Whether TLS is on from the first byte (XEP-0368)."""


@dataclass(frozen=True)
class StartsTLS(Step):
    """Begin the TLS handshake on a bare connection (after <proceed/>)."""


@dataclass(frozen=True)
class Sends(Step):
    """Send the stanzas of `xml`, captures filled in."""

    xml: str
    recipients: tuple[str, ...]
    """The distinct `to` of the stanzas, '' when there is none: what a barrier has to wait for."""


@dataclass(frozen=True)
class SendsRaw(Step):
    """Send bytes as they are written."""

    data: bytes
    opens_stream: bool
    """Whether a stream header is among them, so that a new document will come back."""


@dataclass(frozen=True)
class Receives(Step):
    """Wait for these elements, and no other ones before them."""

    stanzas: tuple[etree._Element, ...]
    any_order: bool


@dataclass(frozen=True)
class ReceivesNothing(Step):
    """Prove by pings that nothing has come (`who` is empty for everybody)."""


@dataclass(frozen=True)
class IgnoresWhatCame(Step):
    """Wait for what is on its way, then throw it away (`who` is empty for everybody)."""


@dataclass(frozen=True)
class GetsStreamError(Step):
    """Wait for a stream error with this condition."""

    condition: str


@dataclass(frozen=True)
class IsDisconnected(Step):
    """Wait until the server has closed the connection."""


@dataclass(frozen=True)
class Disconnects(Step):
    """Close the stream and wait for the server to close it too."""


@dataclass(frozen=True)
class DropsConnection(Step):
    """Cut the connection without a word."""


@dataclass(frozen=True)
class Account:
    """An account that exists before the conversation begins."""

    jid: str
    password: str


@dataclass(frozen=True)
class Transcript:
    """A whole conversation."""

    file: str
    title: str
    """The first comment: where the rule is written."""
    accounts: tuple[Account, ...]
    clients: dict[str, str]
    """Client name -> JID, without a resource when the server chooses it."""
    steps: tuple[Step, ...]


_Read = Callable[[str], str]

_ACCOUNT = re.compile(r"account (\S+@\S+?)(?: with password (\S+))?")
_CLIENT = re.compile(r"(\w+) is (\S+@\S+)")
_BEGINS_AS = re.compile(r"begins as (\S+)")

# Sentence -> step; those that end in a colon take the indented block below them.
_SENTENCES: tuple[tuple[re.Pattern[str], Callable[..., Step]], ...] = (
    (re.compile(r"(\w+) connects"), Connects),
    (re.compile(r"(\w+) opens a connection"), partial(Opens, tls=False)),
    (re.compile(r"(\w+) opens a TLS connection"), partial(Opens, tls=True)),
    (re.compile(r"(\w+) starts TLS"), StartsTLS),
    (re.compile(r"(\w+) receives nothing"), ReceivesNothing),
    (re.compile(r"(?:()nobody) receives anything"), ReceivesNothing),
    (re.compile(r"(?:()everybody|(?!everybody)(\w+)) ignores what came"), IgnoresWhatCame),
    (re.compile(r"(\w+) gets stream error ([a-z-]+)"), GetsStreamError),
    (re.compile(r"(\w+) is disconnected"), IsDisconnected),
    (re.compile(r"(\w+) disconnects"), Disconnects),
    (re.compile(r"(\w+) drops the connection"), DropsConnection),
)
_SENDS = re.compile(r"(\w+) sends:")
_SENDS_RAW = re.compile(r"(\w+) sends raw:")
_RECEIVES = re.compile(r"(\w+) receives( in any order)?:")

_REPEAT = re.compile(rb"\{(\d+) times (.+?)\}", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([rnt\\])|\n)")
_ESCAPED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


def load(path: Path, domain: str = "localhost") -> Transcript:
    """Read a transcript file; files it begins with are found beside it. Raises: TranscriptError, OSError."""
    return parse(path.read_text(), path.name, lambda name: (path.parent / name).read_text(), domain)


def parse(text: str, file: str = "transcript", read: _Read | None = None, domain: str = "localhost") -> Transcript:
    """Read a transcript.

    `read` returns the text of a file named by "begins as"; `domain` takes the place of the word `localhost`, so that
    each performance can have a host of its own on a server that runs on. Raises: TranscriptError.
    """
    reading = _Reading(read, domain)
    reading.read_text(text, file)
    if not reading.steps:
        raise TranscriptError(f"{file}: nothing happens in this transcript")
    accounts = tuple(reading.accounts.values())
    return Transcript(file, reading.title, accounts, reading.clients, tuple(reading.steps))


@dataclass
class _Reading:
    read: _Read | None
    domain: str
    title: str = ""
    accounts: dict[str, Account] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    files: tuple[str, ...] = ()

    def read_text(self, text: str, file: str) -> None:
        """Read one file, and the ones it begins with. Raises: TranscriptError."""
        outer, self.files = self.files, (*self.files, file)
        lines = re.sub(r"\blocalhost\b", self.domain, text).splitlines()
        number = 0
        while number < len(lines):
            sentence = lines[number].rstrip()
            number += 1
            if sentence.startswith("#") and not self.title and not outer:
                self.title = sentence.lstrip("# ")
            if not sentence or sentence.startswith("#"):
                continue
            if sentence[0].isspace():
                raise TranscriptError(f"{file}:{number}: an indented line without a sentence above it")
            if not sentence.endswith(":"):
                self._read_sentence(sentence, file, number)
                continue
            end = number
            while end < len(lines) and (not lines[end].strip() or lines[end][0].isspace()):
                end += 1
            block = dedent("\n".join(lines[number:end])).rstrip()
            if not block:
                raise TranscriptError(f"{file}:{number}: nothing is indented below {sentence!r}")
            self._read_block(sentence, block, file, number)
            number = end
        self.files = outer

    def _read_sentence(self, sentence: str, file: str, line: int) -> None:
        if found := _ACCOUNT.fullmatch(sentence):
            self.accounts[found[1]] = Account(found[1], found[2] or "secret")
        elif found := _CLIENT.fullmatch(sentence):
            if found[1] in self.clients:
                raise TranscriptError(f"{file}:{line}: {found[1]} is somebody already")
            if found[2].partition("/")[0] not in self.accounts:
                raise TranscriptError(f"{file}:{line}: there is no 'account {found[2].partition('/')[0]}' above")
            self.clients[found[1]] = found[2]
        elif found := _BEGINS_AS.fullmatch(sentence):
            self._begin_as(found[1], file, line)
        else:
            for pattern, make in _SENTENCES:
                if found := pattern.fullmatch(sentence):
                    who, *rest = (group for group in found.groups() if group is not None)
                    self._add(make(file, line, self._known(who, file, line), sentence, *rest))
                    return
            raise TranscriptError(f"{file}:{line}: no such sentence: {sentence!r}")

    def _begin_as(self, name: str, file: str, line: int) -> None:
        if self.read is None:
            raise TranscriptError(f"{file}:{line}: no files can be read here")
        if name in self.files:
            raise TranscriptError(f"{file}:{line}: {name} begins as itself")
        try:
            text = self.read(name)
        except OSError as error:
            raise TranscriptError(f"{file}:{line}: {name}: {error.strerror}") from error
        self.read_text(text, name)

    def _read_block(self, sentence: str, block: str, file: str, line: int) -> None:
        if found := _SENDS_RAW.fullmatch(sentence):
            data = _unescape(block.encode())
            who = self._known(found[1], file, line)
            self._add(SendsRaw(file, line, who, sentence, data, b"<stream:stream" in data))
            return
        try:
            stanzas = read_templates(block)
        except NotXML as error:
            raise TranscriptError(f"{file}:{line + error.line}: {error}") from error
        if found := _SENDS.fullmatch(sentence):
            recipients = tuple(dict.fromkeys(str(stanza.get("to", "")) for stanza in stanzas))
            self._add(Sends(file, line, self._known(found[1], file, line), sentence, block, recipients))
        elif found := _RECEIVES.fullmatch(sentence):
            who = self._known(found[1], file, line)
            self._add(Receives(file, line, who, sentence, stanzas, found[2] is not None))
        else:
            raise TranscriptError(f"{file}:{line}: no such sentence: {sentence!r}")

    def _known(self, who: str, file: str, line: int) -> str:
        if who and who not in self.clients:
            raise TranscriptError(f"{file}:{line}: who is {who}? Write '{who} is ACCOUNT/RESOURCE' above")
        return who

    def _add(self, step: Step) -> None:
        self.steps.append(step)


def _unescape(block: bytes) -> bytes:
    """Read the escapes of a raw block: \\xNN, \\r, \\n, \\t, a backslash at the end of a line, and {N times TEXT}."""

    def character(found: re.Match[bytes]) -> bytes:
        if found[1]:
            return bytes.fromhex(found[1].decode())
        return _ESCAPED[found[2]] if found[2] else b""

    return _REPEAT.sub(lambda found: found[2] * int(found[1]), _ESCAPE.sub(character, block))
