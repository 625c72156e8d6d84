"""Framing, the common path: a whole ordinary stanza, checked by expat without a single callback.

What is in any way unusual is left to `chatrix.xmpp.slices`, which gives the verdict; both agree on what both accept.
A stanza that passes leaves no state in the parser, so one parser serves all connections.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.namespaces import NS_CSI, NS_SASL, NS_STREAM_MANAGEMENT, NS_TLS
from chatrix.xmpp.slice_parser import STANZA_NAMES, Limits, new_parser
from chatrix.xmpp.stanza import IQ, Message, Presence, Stanza
from chatrix.xmpp.tags import QualifiedName, ordinary_children

_WORN_OUT: Final = 4 << 20
_ROOT: Final = b"<_>"

_KEYS: Final = {f" {name}=": name for name in ("to", "from", "id", "type", "xml:lang", "xmlns")}
_orders: dict[tuple[str, ...], tuple[str, ...]] = {}
"""The keys as split from a tag, and the names they stand for. Bounded: there are 1957 ways to order six names."""

_VALUE: Final = rb"""(?:'[^'<&\x00-\x1f\x7f-\xff]*'|"[^"<&\x00-\x1f\x7f-\xff]*")"""
_LEAF: Final = re.compile(rb"<([a-z]+)((?: [a-z]+=" + _VALUE + rb")+)(?:/>|>([A-Za-z0-9+/=]*)</\1>)")
_LEAF_ATTRIBUTE: Final = re.compile(rb" ([a-z]+)=(" + _VALUE + rb")")
_LEAF_NAMESPACES: Final = frozenset({NS_SASL, NS_TLS, NS_STREAM_MANAGEMENT, NS_CSI})

_NAMES: Final[dict[int, tuple[type[Stanza], bytes, bytes, int]]] = {
    ord(class_.name[0]): (class_, f"<{class_.name} ".encode(), f"</{class_.name}>".encode(), len(class_.name) + 1)
    for class_ in (Message, Presence, IQ)
}


class _SharedParser:
    """The parser and how many bytes it has seen."""

    __slots__ = ("fed", "parser")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Start again, after an error or because expat remembers every name it has seen."""
        self.parser = new_parser()
        self.parser.Parse(_ROOT, False)
        self.fed = len(_ROOT)

    def accepts(self, raw: bytes) -> bool:
        """Tell whether these bytes are well-formed and leave nothing open."""
        try:
            self.parser.Parse(raw, False)
        except (expat.ExpatError, StreamError):
            self.renew()
            return False
        self.fed += len(raw)
        if self.parser.CurrentByteIndex != self.fed:
            self.renew()
            return False
        if self.fed > _WORN_OUT:
            self.renew()
        return True


_shared = _SharedParser()


def whole_stanza(data: bytes, start: int, content_namespace: str, limits: Limits) -> tuple[Stanza, int] | None:
    """Return the ordinary stanza that starts at this `<` and the index after it.

    None when it is not ordinary, or not whole.
    """
    known = _NAMES.get(data[start + 1]) if start + 1 < len(data) else None
    if known is None:
        return None
    class_, start_name, end_tag, name_length = known
    tag_end = data.find(b">", start) + 1
    if not tag_end or not data.startswith(start_name, start):
        return None
    after_name = start + name_length
    children: tuple[QualifiedName, ...] = ()
    if data[tag_end - 2] == 0x2F:
        end = tag_end
        attributes = _attributes(data[after_name : tag_end - 2])
        inner = b""
    else:
        end = data.find(end_tag, tag_end) + len(end_tag)
        inner = data[tag_end:end]
        found = ordinary_children(inner, limits) if end >= tag_end else None
        if found is None:
            return None
        children = found
        attributes = _attributes(data[after_name : tag_end - 1])
    if attributes is None or end - start > limits.stanza_bytes or not _shared.accepts(data[start:end]):
        return None
    if "xmlns" in attributes and attributes.pop("xmlns") != content_namespace:
        return None
    stanza = class_(attributes, inner)
    stanza.keep_children(children)
    return stanza, end


def whole_leaf(data: bytes, start: int, limits: Limits) -> tuple[Element, int] | None:
    """Return the element of negotiation that starts at this `<`, without children, and the index after it.

    None when it is not written in the plainest way, is of none of the usual namespaces, or not whole.
    """
    found = _LEAF.match(data, start, start + limits.stanza_bytes)
    if found is None:
        return None
    name = found[1].decode()
    pairs = _LEAF_ATTRIBUTE.findall(found[2])
    attributes = {name.decode(): value[1:-1].decode() for name, value in pairs}
    if len(attributes) < len(pairs) or len(pairs) > limits.attributes:
        return None
    namespace = attributes.pop("xmlns", "")
    if namespace not in _LEAF_NAMESPACES or name in STANZA_NAMES:
        return None
    text = found[3]
    return Element(namespace, name, attributes, text.decode() if text else None), found.end()


def _attributes(raw: bytes) -> dict[str, str] | None:
    """Return the attributes of a start tag that is written in the plainest way, else None."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    # Line ends and tabs would become blanks; they are not printable.
    if "&" in text or not text.isprintable():
        return None
    parts = text.split("'")
    if len(parts) == 1:
        parts = text.split('"')
    if parts.pop().strip(" ") or len(parts) % 2:
        return None
    keys = tuple(parts[::2])
    names = _orders.get(keys)
    if names is None:
        names = tuple([_KEYS.get(key, "") for key in keys])
        if "" in names or len(set(names)) < len(names):
            return None
        _orders[keys] = names
    return dict(zip(names, parts[1::2], strict=True))
