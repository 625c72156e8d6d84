"""The stream header: what the peer says when it opens a stream (RFC 6120 sections 4.7 and 4.8).

SECURITY: the first bytes of a stranger, who may speak another protocol altogether.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.namespaces import NS_STREAM, NS_XML
from chatrix.xmpp.slice_parser import SEPARATOR, Limits, Surroundings, new_parser, root_start_tag
from chatrix.xmpp.slices import TagEnd

_DECLARATION: Final = b"<?xml"
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_ENCODING: Final = re.compile(rb"\sencoding\s*=\s*[\"']([^\"']*)[\"']")
_TAG_NAME: Final = re.compile(rb"<([^\s<>/]+)")
_OTHER_ENCODINGS: Final = (b"\xfe\xff", b"\xff\xfe", b"\x00", b"<\x00", b"\x4c\x6f")
"""Byte order marks and first characters of UTF-16 and UTF-32, and EBCDIC's `<?`."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened the stream."""

    attributes: dict[str, str]
    """`to`, `from`, `id`, `version`, `xml:lang` and what else there is, the namespace declarations left out."""
    default_namespace: str
    """The content namespace; or the stream namespace, when every stanza declares its own (RFC 6120 section 4.8.5)."""
    prefixes: dict[str, str]
    """The declared prefixes, as a rule `stream` and between servers `db`."""


_VALUE: Final = rb"""(?:'[^'<&\x00-\x1f\x7f-\xff]*'|"[^"<&\x00-\x1f\x7f-\xff]*")"""
_USUAL: Final = re.compile(
    rb"""(?:<\?xml version=(?:'1\.0'|"1\.0")(?: encoding=(?:'[Uu][Tt][Ff]-8'|"[Uu][Tt][Ff]-8"))? ?\?>[ \t\r\n]*)?"""
    rb"<stream:stream((?: [a-z:]+=" + _VALUE + rb")+) ?>"
)
_ATTRIBUTE: Final = re.compile(rb" ([a-z:]+)=(" + _VALUE + rb")")
_USUAL_NAMES: Final = frozenset({"xmlns", "xmlns:stream", "to", "from", "id", "version", "xml:lang"})
_usual_surroundings: dict[str, Surroundings] = {}
"""By content namespace, of which there are three: shared by all streams that declare nothing else."""


def usual_header(data: bytes, content_namespace: str, limits: Limits) -> tuple[StreamOpened, Surroundings, int] | None:
    """Return the opened stream and the index after its header, when it is whole and as nearly everybody writes it.

    None leaves the verdict to `StreamHeader`, which costs six times as much; a log-in has three headers.
    """
    found = _USUAL.match(data, 0, limits.stanza_bytes)
    if found is None:
        return None
    pairs = _ATTRIBUTE.findall(found[1])
    attributes = {name.decode(): value[1:-1].decode() for name, value in pairs}
    if len(attributes) < len(pairs) or not attributes.keys() <= _USUAL_NAMES:
        return None
    if attributes.pop("xmlns", "") != content_namespace or attributes.pop("xmlns:stream", "") != NS_STREAM:
        return None
    prefixes = {"stream": NS_STREAM}
    surroundings = _usual_surroundings.get(content_namespace)
    if surroundings is None:
        root = root_start_tag(content_namespace, prefixes)
        surroundings = Surroundings(content_namespace, content_namespace, b"stream:stream", root)
        _usual_surroundings[content_namespace] = surroundings
    return StreamOpened(attributes, content_namespace, prefixes), surroundings, found.end()


class StreamHeader:
    """The header while it arrives, from the first byte of the stream."""

    __slots__ = ("_buffer", "_content_namespace", "_limits", "_root", "_tag_end", "closed", "surroundings")

    def __init__(self, content_namespace: str, limits: Limits) -> None:
        self._buffer = bytearray()
        self._content_namespace = content_namespace
        self._limits = limits
        self._root = -1
        self._tag_end: TagEnd | None = None
        self.surroundings: Surroundings | None = None
        self.closed = False
        """Whether the header closed the stream that it opened (`<stream:stream/>`)."""

    def feed(self, data: bytes) -> tuple[StreamOpened, bytes] | None:
        """Return the opened stream and the bytes after its header, or None when that is still to come.

        Raises: StreamError.
        """
        buffer = self._buffer
        buffer += data
        end = min(len(buffer), self._limits.stanza_bytes)
        if self._tag_end is None:
            self._find_root(end)
        after = self._tag_end.find(buffer, end) if self._tag_end is not None else -1
        if after < 0:
            if len(buffer) > end:
                raise StreamError("policy-violation", "stream header too big")
            return None
        return self._opened(bytes(buffer[:after])), bytes(buffer[after:])

    def _find_root(self, end: int) -> None:
        """Look for the root's `<`, behind the XML declaration; refuse at once what cannot become a stream."""
        buffer = self._buffer
        if buffer.startswith(_OTHER_ENCODINGS):
            raise StreamError("unsupported-encoding")
        if any(opening.startswith(buffer) for opening in _OTHER_ENCODINGS):
            return
        after_declaration = self._declaration_end(end)
        if after_declaration < 0:
            return
        space = _SPACE.match(buffer, after_declaration, end)
        root = space.end() if space else after_declaration
        if root < end and buffer[root] != 0x3C:
            raise StreamError("not-well-formed")
        if root + 1 >= end:
            return
        if buffer[root + 1] in b"!?":
            raise StreamError("restricted-xml")
        self._root = root
        self._tag_end = TagEnd(root)

    def _declaration_end(self, end: int) -> int:
        """Return the index after the XML declaration, 0 without one, -1 when that is still to be seen."""
        buffer = self._buffer
        if _DECLARATION.startswith(buffer[: len(_DECLARATION)]) and len(buffer) < len(_DECLARATION):
            return -1
        if not buffer.startswith(_DECLARATION):
            return 0
        # `<?xml-stylesheet` is no declaration.
        if len(buffer) > len(_DECLARATION) and buffer[len(_DECLARATION)] not in b" \t\r\n":
            raise StreamError("restricted-xml")
        close = buffer.find(b"?>", 0, end)
        if close < 0:
            return -1
        encoding = _ENCODING.search(buffer, 0, close)
        if encoding is not None and encoding[1].lower() != b"utf-8":
            raise StreamError("unsupported-encoding")
        return close + 2

    def _opened(self, raw: bytes) -> StreamOpened:
        names: list[str] = []
        pairs: list[str] = []
        declared: dict[str | None, str] = {}

        def start(name: str, attributes: list[str]) -> None:
            names.append(name)
            pairs.extend(attributes)

        def declaration(prefix: str | None, uri: str | None) -> None:
            declared[prefix] = uri or ""

        def end(_name: str) -> None:
            self.closed = True

        parser = new_parser()
        parser.ordered_attributes = True
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.StartNamespaceDeclHandler = declaration
        try:
            parser.Parse(raw, False)
        except expat.ExpatError as error:
            raise StreamError("not-well-formed") from error
        if len(names) != 1:
            raise StreamError("not-well-formed")
        if len(pairs) // 2 + len(declared) > self._limits.attributes:
            raise StreamError("policy-violation", "too many attributes")
        namespace, _, name = names[0].rpartition(SEPARATOR)
        if namespace != NS_STREAM:
            raise StreamError("invalid-namespace")
        if name != "stream":
            raise StreamError("bad-format")
        default = declared.pop(None, "")
        if default not in (self._content_namespace, NS_STREAM):
            raise StreamError("invalid-namespace")
        prefixes = {prefix: uri for prefix, uri in declared.items() if prefix is not None}
        tag_name = _TAG_NAME.match(raw, self._root)
        assert tag_name is not None
        self.surroundings = Surroundings(
            self._content_namespace, default, tag_name[1], root_start_tag(default, prefixes)
        )
        attributes = {
            key.replace(NS_XML + SEPARATOR, "xml:").replace(SEPARATOR, " "): value
            for key, value in zip(pairs[::2], pairs[1::2], strict=True)
        }
        return StreamOpened(attributes, default, prefixes)
