"""One first-level element through expat, with callbacks: what is counted, refused or rewritten (RFC 6120 section 11).

SECURITY: refuses DTDs, comments and processing instructions, and bounds depth, elements and attributes as they appear.
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

STANZA_NAMES: Final = frozenset({"message", "presence", "iq"})

PLAIN_NAMESPACE: Final = (
    r"[a-z][a-z0-9.-]*+(?::(?://[A-Za-z0-9_.-]++/|(?!/))[A-Za-z0-9_:/.+-]*+)?+(?:#[A-Za-z0-9_.+-]*+)?+"
)
"""Namespace names that are URIs to everybody. Expat takes any text, libxml2 does not, and some clients' expat chokes on
the character that they chose to separate names: what looks otherwise has to pass libxml2 before anybody gets it."""

LONGEST_NAME: Final = 50_000
"""Bytes of a name that libxml2 takes; a longer stanza has to pass it, too."""

_PLAIN_NAMESPACE: Final = re.compile(PLAIN_NAMESPACE)
_XML_ATTRIBUTE: Final = NS_XML + SEPARATOR
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

    @classmethod
    def in_surroundings(cls, surroundings: Surroundings) -> SliceParser:
        """Return a parser for them, a used one if there is one to spare."""
        return _pool.pop(surroundings.root, None) or cls(surroundings)

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
            if self._declares_content and name not in STANZA_NAMES:
                self.rewrite = True
        elif name in STANZA_NAMES:
            raise StreamError("invalid-namespace")
        elif namespace == NS_STREAM and name not in ("error", "features"):
            raise StreamError("unsupported-stanza-type")
        else:
            self._foreign = 1
            if self._surroundings.default_namespace != content:
                self.rewrite = True
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            self.attributes["xml:" + _parts(key)[1] if key.startswith(_XML_ATTRIBUTE) else key] = value

    def _end(self, _name: str) -> None:
        if self.depth == self._foreign:
            self._foreign = 0
        self.depth -= 1

    def _start_declaration(self, prefix: str | None, uri: str | None) -> None:
        self._declared += 1
        self._bound[prefix] = self._bound.get(prefix, 0) + 1
        if uri == self._surroundings.content_namespace:
            self._declares_content = True
        elif uri and not _PLAIN_NAMESPACE.fullmatch(uri):
            self.rewrite = True

    def _end_declaration(self, prefix: str | None) -> None:
        if self._bound[prefix] == 1:
            del self._bound[prefix]
        else:
            self._bound[prefix] -= 1

    def _start_cdata(self) -> None:
        self.rewrite = True


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
