"""What must hold for every input; the tests try a few hundred, `fuzz_framing` as many as one likes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from chatrix.xmpp.element import Element, parse, serialise
from chatrix.xmpp.framing import Framer, Limits
from chatrix.xmpp.namespaces import NS_XML
from chatrix.xmpp.stanza import Stanza, from_tree
from tests.xmpp.xml_strategies import HEADER, elements, framed, split, stanzas, wire_bytes

IN_XML = f"{{{NS_XML}}}"
WIDE = Limits(1 << 20, 10000, 64, 64)


@given(st.data())
def any_split_gives_the_same(data: Any) -> None:
    """Both paths, whole or in pieces, give the same frames and the same error."""
    raw = data.draw(wire_bytes())
    careful = framed([raw], careful=True)
    assert framed([raw]) == careful
    pieces = data.draw(split(raw))
    assert framed(pieces) == careful
    assert framed(pieces, careful=True) == careful


@given(wire_bytes())
def byte_by_byte_gives_the_same(raw: bytes) -> None:
    """Single bytes give what the whole gives, and nothing comes later than with its last byte."""
    assert framed([raw[i : i + 1] for i in range(len(raw))]) == framed([raw], careful=True)


@given(st.lists(stanzas(), min_size=1, max_size=4))
def stanzas_are_emitted_with_their_last_byte(raws: list[bytes]) -> None:
    """Each feed of the last byte of a stanza returns that stanza, whatever the path."""
    for careful in (False, True):
        framer = Framer("jabber:client", WIDE, _careful_only=careful)
        framer.feed(HEADER)
        for raw in raws:
            assert framer.feed(raw[:-1]) == []
            assert len(framer.feed(raw[-1:])) == 1


@given(wire_bytes())
def output_is_one_element(raw: bytes) -> None:
    """What goes out is one element for libxml2 and for another framer, and means what came in."""
    framer = Framer("jabber:client", WIDE)
    framer.feed(HEADER)
    try:
        frames = framer.feed(raw)
    except Exception as error:
        frames = error.frames  # type: ignore[attr-defined]
    for frame in frames:
        if isinstance(frame, Stanza):
            again, condition = framed([frame.to_bytes(b"jabber:client")], limits=WIDE)
            assert condition is None
            assert again == [(frame.name, frame.attributes, frame.inner)]
            tree = etree.fromstring(frame.to_bytes())
            assert {
                str(key).replace(IN_XML, "xml:"): str(value) for key, value in tree.attrib.items()
            } == frame.attributes


@given(wire_bytes())
def children_are_those_of_the_tree(raw: bytes) -> None:
    """The names found without a tree are the names in the tree."""
    framer = Framer("jabber:client", WIDE)
    framer.feed(HEADER)
    try:
        frames = framer.feed(raw)
    except Exception as error:
        frames = error.frames  # type: ignore[attr-defined]
    for frame in frames:
        if isinstance(frame, Stanza):
            assert frame.children == tuple((child.namespace, child.name) for child in frame.tree)


@given(elements())
def parse_undoes_serialise(element: Element) -> None:
    """parse(serialise(x)) is x, and stands alone."""
    raw = serialise(element)
    assert same(parse(raw), element)
    assert serialise(parse(raw)) == raw


@given(elements())
def a_stanza_is_its_tree(element: Element) -> None:
    """A stanza made of a tree is that tree again, through the wire and back."""
    element.tag = "message"
    stanza = from_tree(element)
    assert same(parse(stanza.to_bytes()), element)


def same(one: Element, other: Element) -> bool:
    """Whether two trees say the same."""
    return (
        one.tag == other.tag
        and sorted(one.attrib.items()) == sorted(other.attrib.items())
        and (one.text or "") == (other.text or "")
        and len(one) == len(other)
        and all(same(a, b) and (a.tail or "") == (b.tail or "") for a, b in zip(iter(one), iter(other), strict=True))
    )


PROPERTIES = (
    any_split_gives_the_same,
    byte_by_byte_gives_the_same,
    stanzas_are_emitted_with_their_last_byte,
    output_is_one_element,
    children_are_those_of_the_tree,
    parse_undoes_serialise,
    a_stanza_is_its_tree,
)
