"""Framing, the careful path: find where a first-level element ends and hold it to every rule (RFC 6120 section 11).

SECURITY: strangers' bytes. Expat is only ever given whole tokens, so a long token that dribbles in is scanned once, not once
per piece (expat before 2.6 scans it anew each time); comments, processing instructions and DTDs never reach it. Nothing
depends on a clock, and an element is found with its last byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from chatrix.xmpp.element import escape_attribute
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.namespaces import CONTENT_NAMESPACES, NS_DIALBACK, NS_STREAM, NS_XML

# No XML character, so it is in no namespace name.
SEPARATOR: Final = "\x0c"

_XML_ATTRIBUTE: Final = NS_XML + SEPARATOR
_STANZAS: Final = frozenset({"message", "presence", "iq"})
_QUOTE_OR_END: Final = re.compile(rb"[\"'>]")
_MARKUP: Final = re.compile(rb"<[!?]")
_CDATA: Final = b"<![CDATA["
_TAG_NAME: Final = re.compile(rb"<([^\s<>/&'\"=]+)")
_WORN_OUT: Final = 4 << 20
"""Bytes after which a parser is replaced: expat remembers every name it has seen."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one first-level element may be; exactly so much passes, one more is policy-violation."""

    stanza_bytes: int
    """As received, of the whole element."""
    elements: int
    """The first-level element counts."""
    depth: int
    """The first-level element is 1."""
    attributes: int
    """Of one element, namespace declarations included."""


class TagEnd:
    """The search for the `>` of a tag, which goes on where it stopped when more bytes came."""

    __slots__ = ("_position", "_quote")

    def __init__(self, start: int) -> None:
        self._position = start
        self._quote = b""

    def shift(self, by: int) -> None:
        """The buffer lost so many bytes at its front."""
        self._position -= by

    def find(self, buffer: bytes | bytearray, end: int) -> int:
        """Return the index after the `>`, or -1 when it is not among the bytes before `end`."""
        position = self._position
        while True:
            if self._quote:
                position = buffer.find(self._quote, position, end)
                if position < 0:
                    break
                position += 1
                self._quote = b""
            match = _QUOTE_OR_END.search(buffer, position, end)
            if match is None:
                break
            position = match.end()
            if match[0] == b">":
                return position
            self._quote = match[0]
        self._position = end
        return -1


class Surroundings:
    """What a stream header put around every first-level element, kept as a root of our own making."""

    __slots__ = ("content_namespace", "default_namespace", "root", "root_name")

    def __init__(self, content_namespace: str, default_namespace: str, root_name: bytes, root: bytes) -> None:
        self.content_namespace = content_namespace
        self.default_namespace = default_namespace
        self.root_name = root_name
        """As the peer spelt it: its end tag closes the stream."""
        self.root = root
        """A start tag `<_ ...>` with the same declarations."""


class SliceParser:
    """Expat with callbacks, under a synthetic root, for one first-level element after another."""

    __slots__ = (
        "_bound",
        "_declared",
        "_declares_content",
        "_foreign",
        "_parser",
        "_surroundings",
        "_total",
        "attributes",
        "depth",
        "elements",
        "limits",
        "name",
        "namespace",
        "rewrite",
    )

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._parser = new_parser()
        self._parser.namespace_prefixes = True
        self._parser.ordered_attributes = True
        self._parser.Parse(surroundings.root, False)
        self._total = len(surroundings.root)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartNamespaceDeclHandler = self._start_declaration
        self._parser.EndNamespaceDeclHandler = self._end_declaration
        self._parser.StartCdataSectionHandler = self._start_cdata

    def begin(self, limits: Limits) -> None:
        """Expect a first-level element."""
        self.limits = limits
        self.depth = 0
        self.elements = 0
        self.name = ""
        self.namespace = ""
        self.attributes: dict[str, str] = {}
        self.rewrite = False
        """Whether the bytes, as they came, would mean something else when they stand alone."""
        self._declared = 0
        self._declares_content = False
        self._foreign = 0
        self._bound: dict[str | None, int] = {}

    def feed(self, tokens: bytes | bytearray) -> None:
        """Parse whole tokens.

        Raises: StreamError.
        """
        self._total += len(tokens)
        try:
            self._parser.Parse(tokens, False)
        except expat.ExpatError as error:
            raise StreamError("not-well-formed") from error

    def release(self) -> None:
        """Keep the parser for the next element that has the same surroundings, whosever it is, or let go of it."""
        root = self._surroundings.root
        if root in _POOLED and root not in _pool and self._total < _WORN_OUT and self.depth == 0:
            _pool[root] = self
        else:
            self.discard()

    def discard(self) -> None:
        """Break the circle of parser and callbacks: no need to wait for the garbage collector."""
        parser = self._parser
        parser.StartElementHandler = parser.EndElementHandler = None
        parser.StartNamespaceDeclHandler = parser.EndNamespaceDeclHandler = parser.StartCdataSectionHandler = None

    def _start(self, qualified: str, attributes: list[str]) -> None:
        self.depth += 1
        self.elements += 1
        limits = self.limits
        if (
            self.depth > limits.depth
            or self.elements > limits.elements
            or len(attributes) // 2 + self._declared > limits.attributes
        ):
            raise StreamError("policy-violation", "too many or too deeply nested elements or attributes")
        namespace, name, prefix = _parts(qualified)
        if prefix and prefix not in self._bound:
            self.rewrite = True
        for attribute in attributes[::2]:
            if SEPARATOR in attribute and _parts(attribute)[2] not in self._bound:
                self.rewrite = self.rewrite or not attribute.startswith(_XML_ATTRIBUTE)
        content = self._surroundings.content_namespace
        if self.depth == 1:
            self._begin_first_level(namespace, name, attributes)
        elif not self._foreign:
            if namespace != content and namespace:
                self._foreign = self.depth
            elif self._declares_content:
                self.rewrite = True
        self._declared = 0
        self._declares_content = False

    def _begin_first_level(self, namespace: str, name: str, attributes: list[str]) -> None:
        content = self._surroundings.content_namespace
        self.namespace, self.name = namespace, name
        if namespace == content:
            # The start tag of a stanza is written anew, without what it declares.
            if self._declared > (self._declares_content and None in self._bound):
                self.rewrite = True
            if self._declares_content and name not in _STANZAS:
                self.rewrite = True
        elif name in _STANZAS:
            raise StreamError("invalid-namespace")
        elif namespace == NS_STREAM and name not in ("error", "features"):
            raise StreamError("unsupported-stanza-type")
        else:
            self._foreign = 1
            if self._surroundings.default_namespace != content:
                self.rewrite = True
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            if key.startswith(_XML_ATTRIBUTE):
                key = "xml:" + _parts(key)[1]
            self.attributes[key] = value

    def _end(self, _name: str) -> None:
        if self.depth == self._foreign:
            self._foreign = 0
        self.depth -= 1

    def _start_declaration(self, prefix: str | None, uri: str | None) -> None:
        self._declared += 1
        self._bound[prefix] = self._bound.get(prefix, 0) + 1
        if uri == self._surroundings.content_namespace:
            self._declares_content = True

    def _end_declaration(self, prefix: str | None) -> None:
        if self._bound[prefix] == 1:
            del self._bound[prefix]
        else:
            self._bound[prefix] -= 1

    def _start_cdata(self) -> None:
        self.rewrite = True


class Slice:
    """One first-level element while it arrives, from the `<` at `start` of the buffer."""

    __slots__ = (
        "_end_tag",
        "_end_tag_scan",
        "_fed",
        "_in_cdata",
        "_limits",
        "_scan",
        "_seen",
        "_surroundings",
        "_tag_end",
        "body",
        "buffer",
        "closes_stream",
        "parser",
        "start",
    )

    def __init__(self, buffer: bytes | bytearray, start: int, surroundings: Surroundings, limits: Limits) -> None:
        self.buffer = buffer
        self.start = start
        self.body = 0
        """Where the start tag has ended; 0 until it has."""
        self.closes_stream = False
        self.parser: SliceParser | None = None
        self._surroundings = surroundings
        self._limits = limits
        self._tag_end = TagEnd(start)
        self._in_cdata = False
        self._fed = self._scan = self._seen = self._end_tag_scan = start
        self._end_tag = b""

    def keep(self) -> None:
        """Own the bytes from the start on, to wait for more."""
        if isinstance(self.buffer, bytes):
            by = self.start
            self.buffer = bytearray(memoryview(self.buffer)[by:])
            self.start = 0
            self.body -= by if self.body else 0
            self._fed -= by
            self._scan -= by
            self._seen -= by
            self._end_tag_scan -= by
            self._tag_end.shift(by)

    def find_end(self) -> int:
        """Return the index after the element's last byte, or -1 when it is still to come.

        Bytes beyond the limit are not looked at, so the verdict is the same however the bytes were split.

        Raises: StreamError.
        """
        buffer, limit = self.buffer, self.start + self._limits.stanza_bytes
        end = min(len(buffer), limit)
        found = self._find_start_tag_end(end) if not self.body else 0
        if not found and self.body:
            found = self._find_end_tag(end)
        if found:
            return found
        if len(buffer) > limit:
            raise StreamError("policy-violation", "stanza too big")
        return -1

    def _find_start_tag_end(self, end: int) -> int:
        buffer, start = self.buffer, self.start
        if end - start > 1 and buffer[start + 1] in b"!?":
            raise StreamError("restricted-xml")
        tag_end = self._tag_end.find(buffer, end)
        if tag_end < 0:
            return 0
        tag = bytes(buffer[start:tag_end])
        if tag[1] == 0x2F:
            if tag[2:-1].rstrip(b" \t\r\n") != self._surroundings.root_name:
                raise StreamError("not-well-formed")
            self.closes_stream = True
            return tag_end
        name = _TAG_NAME.match(tag)
        if name is None:
            raise StreamError("not-well-formed")
        self.parser = _pool.pop(self._surroundings.root, None) or SliceParser(self._surroundings)
        self.parser.begin(self._limits)
        self.parser.feed(tag)
        self.body = self._fed = self._scan = self._seen = self._end_tag_scan = tag_end
        self._end_tag = b"</" + name[1]
        return tag_end if self.parser.depth == 0 else 0

    def _find_end_tag(self, end: int) -> int:
        buffer = self.buffer
        assert self.parser is not None
        while True:
            tag = buffer.find(self._end_tag, self._scan, end)
            if tag < 0:
                self._scan = max(self._scan, end - len(self._end_tag) + 1)
                break
            close = buffer.find(b">", max(tag, self._end_tag_scan), end)
            if close < 0:
                self._scan, self._end_tag_scan = tag, end
                break
            self._scan = close + 1
            self._feed(close + 1)
            if self.parser.depth == 0:
                return close + 1
        last = buffer.rfind(b"<", max(self._fed, self._seen), end)
        self._seen = max(self._seen, end)
        if last > self._fed:
            self._feed(last)
        self._refuse_restricted_tail(end)
        return 0

    def _feed(self, end: int) -> None:
        """Give expat the bytes up to here, which is where a token ends, unless something forbidden is among them."""
        buffer, position = self.buffer, self._fed
        assert self.parser is not None
        while True:
            if self._in_cdata:
                close = buffer.find(b"]]>", position, end)
                if close < 0:
                    break
                self._in_cdata = False
                position = close + 3
            markup = _MARKUP.search(buffer, position, end)
            if markup is None:
                break
            position = markup.start()
            if not buffer.startswith(_CDATA, position):
                self.parser.feed(buffer[self._fed : position])
                raise StreamError("restricted-xml")
            self._in_cdata = True
            position += len(_CDATA)
        self.parser.feed(buffer[self._fed : end])
        self._fed = end

    def _refuse_restricted_tail(self, end: int) -> None:
        if self._in_cdata:
            return
        tail = bytes(self.buffer[self._fed : min(end, self._fed + len(_CDATA))])
        if _MARKUP.match(tail) and not _CDATA.startswith(tail):
            raise StreamError("restricted-xml")


def new_parser() -> expat.XMLParserType:
    """Return an expat parser for UTF-8 that refuses what XMPP forbids."""
    parser = expat.ParserCreate("utf-8", SEPARATOR)
    parser.buffer_text = False
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ProcessingInstructionHandler = _refuse
    parser.CommentHandler = _refuse
    if hasattr(parser, "SetReparseDeferralEnabled"):
        # Since 2.6 expat would keep a finished element back until more bytes come.
        parser.SetReparseDeferralEnabled(False)
    return parser


def _refuse(*_: object) -> None:
    raise StreamError("restricted-xml")


def _parts(qualified: str) -> tuple[str, str, str]:
    """Split expat's name into namespace, local name and prefix."""
    parts = qualified.split(SEPARATOR)
    if len(parts) == 1:
        return "", qualified, ""
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def root_start_tag(default_namespace: str, prefixes: dict[str, str]) -> bytes:
    """Return the start tag of a synthetic root that declares the same namespaces as the stream header."""
    declarations = "".join(f" xmlns:{prefix}='{escape_attribute(uri)}'" for prefix, uri in sorted(prefixes.items()))
    return f"<_ xmlns='{escape_attribute(default_namespace)}'{declarations}>".encode()


_pool: dict[bytes, SliceParser] = {}
"""At most one spare parser for each of the usual surroundings."""


def _usual_roots() -> frozenset[bytes]:
    prefixes: tuple[dict[str, str], ...] = ({}, {"stream": NS_STREAM}, {"stream": NS_STREAM, "db": NS_DIALBACK})
    return frozenset(root_start_tag(content, p) for content in CONTENT_NAMESPACES for p in prefixes)


_POOLED: Final = _usual_roots()
