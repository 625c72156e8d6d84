"""Hypothesis strategies for what peers send: stanzas, oddities, mutations and ways to split them; and the framers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from chatrix.xmpp.element import Element, serialise
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.framing import Framer, Limits, StreamClosed, StreamOpened
from chatrix.xmpp.stanza import Stanza

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
LIMITS = Limits(stanza_bytes=400, elements=12, depth=6, attributes=5)

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\ufffe\uffff").filter(lambda c: c >= " " or c in "\t\n\r")
TEXTS = st.text(st.one_of(st.sampled_from("&<>'\"]\t\r\n {é\u2028"), CHARACTERS), max_size=8)
NAMES = st.sampled_from(["a", "body", "message", "iq", "x.y-z", "é"])
NAMESPACES = st.sampled_from([None, "urn:a", "urn:b", "jabber:client", "http://etherx.jabber.org/streams", "u'r&n"])
ATTRIBUTE_NAMES = st.sampled_from(["to", "from", "id", "type", "xml:lang", "é", "{urn:q}r"])
ATTRIBUTES = st.dictionaries(ATTRIBUTE_NAMES, TEXTS, max_size=4)


@st.composite
def elements(draw: Any, namespaces: Any = NAMESPACES, depth: int = 3) -> Element:
    """A tree as modules would build it."""
    element = Element(draw(namespaces), draw(NAMES), draw(ATTRIBUTES), draw(TEXTS))
    for child in draw(st.lists(elements(namespaces, depth - 1), max_size=3)) if depth else ():
        child.tail = draw(TEXTS)
        element.append(child)
    return element


PIECES = st.sampled_from(
    [
        b"<message to='a@b' id='1'>",
        b'<message to="a@b">',
        b"<message>",
        b"<message ",
        b"</message>",
        b"</message >",
        b"<message/>",
        b"<message xmlns='jabber:client' type='chat'>",
        b"<message xmlns='jabber:server'>",
        b"<iq type='get' id='&lt;'>",
        b"<iq id='a\tb' id='c'>",
        b"</iq>",
        b"<presence/>",
        b"<presence type='unavailable'/>",
        b"<presence xml:lang='de'></presence>",
        b"<r xmlns='urn:xmpp:sm:3'/>",
        b"<foo>",
        b"</foo>",
        b"<body>",
        b"</body>",
        b"<body>text &amp; more &#10; </body>",
        b"<body xmlns='jabber:client'>",
        b"<body xmlns='jabber&#58;client'/>",
        b"<body xmlns=''/>",
        b"<x xmlns='urn:x' a='>' b='/>'>",
        b"</x>",
        b"<p:x xmlns:p='urn:p' p:a='1'/>",
        b"<p:x xmlns:p='jabber:client'><p:y/></p:x>",
        b"<f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body></message></f>",
        b"<stream:features/>",
        b"<stream:stream>",
        b"</stream:stream>",
        b"<![CDATA[",
        b"]]>",
        b"<![CDATA[<a>]]>",
        b"<!-- -->",
        b"<!DOCTYPE a>",
        b"<?x y?>",
        b"&foo;",
        b"<a><a><a><a><a>",
        b"<a><a/></a>",
        b"<a b='1' c='2' d='3' e='4'/>",
        b"<a b='1' c='2' d='3' e='4' f='5' g='6'/>",
        b" ",
        b"\r\n",
        b"=====",
        b"text",
        b"'",
        b'"',
        b">",
        b"<",
        b"/",
        b"\x00",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xef\xbf\xbf",
        b"\xf0\x9f\x98\x80",
        b"x" * 100,
    ]
)


@st.composite
def stanzas(draw: Any) -> bytes:
    """A well-formed stanza in one of many spellings."""
    name: bytes = draw(st.sampled_from([b"message", b"presence", b"iq"]))
    quote = draw(st.sampled_from(["'", '"']))
    attributes = draw(
        st.dictionaries(st.sampled_from(["to", "from", "id", "type", "xml:lang", "e"]), TEXTS, max_size=3)
    )
    written = "".join(
        f" {key}={quote}{value.replace('&', '&amp;').replace('<', '&lt;').replace(quote, f'&#{ord(quote)};')}{quote}"
        for key, value in attributes.items()
    )
    children = b"".join(serialise(child) for child in draw(st.lists(elements(depth=1), max_size=3)))
    if not children and draw(st.booleans()):
        return b"<" + name + written.encode() + b"/>"
    return b"<" + name + written.encode() + b">" + children + b"</" + name + b">"


@st.composite
def wrapped(draw: Any) -> bytes:
    """A stanza around oddities."""
    name: bytes = draw(st.sampled_from([b"message", b"iq"]))
    return b"<" + name + b">" + b"".join(draw(st.lists(PIECES, max_size=2))) + b"</" + name + b">"


@st.composite
def wire_bytes(draw: Any) -> bytes:
    """What may come over the wire, from correct to hopeless."""
    raw = b"".join(draw(st.lists(st.one_of(stanzas(), wrapped(), PIECES), max_size=8)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.one_of(PIECES, st.binary(max_size=2))) + raw[at + draw(st.integers(0, 3)) :]
    return raw


@st.composite
def split(draw: Any, raw: bytes) -> list[bytes]:
    """The same bytes in pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    return [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


def shown(frame: object) -> object:
    """A frame in a form that compares."""
    if isinstance(frame, Stanza):
        return frame.name, frame.attributes, frame.inner
    if isinstance(frame, (StreamOpened, StreamClosed)):
        return frame
    assert isinstance(frame, Element)
    return serialise(frame)


def framed(
    pieces: list[bytes], *, careful: bool = False, header: bytes = HEADER, limits: Limits = LIMITS
) -> tuple[list[object], str | None]:
    """Return the frames after the header, in a form that compares, and the error condition that ended them."""
    framer = Framer("jabber:client", Limits(8192, 32, 64, 64), _careful_only=careful)
    framer.feed(header)
    framer.limits = limits
    frames: list[object] = []
    for piece in pieces:
        try:
            frames += framer.feed(piece)
        except StreamError as error:
            return [shown(frame) for frame in [*frames, *error.frames]], error.condition
    return [shown(frame) for frame in frames], None
