"""What start tags say, read once for each spelling: the names of a stanza's children without a parser.

Nearly all tags that pass are the same few dozen, so what was read of one is kept by its bytes.

SECURITY: strangers choose the bytes. What is kept is bounded in number and length, and forgotten as a whole when full.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final, NamedTuple

from chatrix.xmpp.namespaces import CONTENT_NAMESPACES
from chatrix.xmpp.slice_parser import LONGEST_NAME, PLAIN_NAMESPACE, STANZA_NAMES, Limits

QualifiedName = tuple[str | None, str]
"""Namespace (None for the content namespace) and local name."""


class Tag(NamedTuple):
    """One start tag."""

    name: QualifiedName
    opens: bool
    """Whether something comes inside; false for `<name/>`."""
    ordinary: bool
    """Whether nothing about it needs a closer look: no prefix, a namespace that is a plain URI and none of the content
    namespaces, no name that a stanza has."""


_KNOWN_TAGS: Final = 4096
_KNOWN_TAG_LENGTH: Final = 128
_known: dict[bytes, Tag] = {}

_TAG: Final = re.compile(rb"[^>\"']*+(?:(?:\"[^\"]*+\"|'[^']*+')[^>\"']*+)*+")
_NAME: Final = re.compile(rb"[^\s/>]+")
_HEAD: Final = re.compile(rb"[^\s/>:'\"=]+ xmlns='[^'&]*'")
_XMLNS: Final = re.compile(rb"\s(xmlns(?::[^\s=]+)?|[^\s=]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_PLAIN: Final = re.compile(PLAIN_NAMESPACE.encode())
_CONTENT: Final = frozenset(namespace.encode() for namespace in CONTENT_NAMESPACES)
_STANZAS: Final = frozenset(name.encode() for name in STANZA_NAMES)


def children_of(inner: bytes) -> tuple[QualifiedName, ...]:
    """The names of the child elements; `inner` is what a framer has accepted."""
    found: list[QualifiedName] = []
    depth = 0
    # Every '<' begins a tag: text and attribute values cannot hold one, and there is no CDATA.
    tags = inner.split(b"<")
    del tags[0]
    for raw in tags:
        if raw[0] == 0x2F:
            depth -= 1
            continue
        tag = _known.get(raw.partition(b">")[0]) or _read(raw)
        if depth == 0:
            found.append(tag.name)
        depth += tag.opens
    return tuple(found)


def ordinary_children(inner: bytes, limits: Limits) -> tuple[QualifiedName, ...] | None:
    """The same for bytes that nobody has accepted yet, if all in them is ordinary and within the limits, else None.

    Whether they are well-formed expat has to tell.
    """
    # A character reference could spell anything. One byte is looked for fastest.
    if len(inner) > LONGEST_NAME or (0x23 in inner and b"&#" in inner) or inner.count(b"=") > limits.attributes:
        return None
    found: list[QualifiedName] = []
    depth = 0
    elements = 1
    tags = inner.split(b"<")
    del tags[0]
    for raw in tags:
        if raw[:1] == b"/":
            depth -= 1
            continue
        tag = _known.get(raw.partition(b">")[0]) or _read(raw)
        if not tag.ordinary:
            return None
        if depth == 0:
            found.append(tag.name)
        elements += 1
        if tag.opens:
            depth += 1
            if depth >= limits.depth:
                return None
    return tuple(found) if elements <= limits.elements and limits.depth > 1 else None


def _read(raw: bytes) -> Tag:
    """Read the tag that these bytes, without their `<`, begin with."""
    inside = raw.partition(b">")[0]
    if b'"' not in inside and inside.count(b"'") % 2 == 0:
        # Often only an id is new: what stands before it is known.
        head = _HEAD.match(inside)
        if head is not None and head.end() + 1 < len(inside) and b"xmlns" not in inside[head.end() :]:
            known = _known.get(head[0]) or _keep(head[0])
            return known if inside[-1] != 0x2F else Tag(known.name, False, known.ordinary)
        return _keep(inside)
    # There is a '>' in an attribute value, or may be one.
    found = _TAG.match(raw)
    assert found is not None
    return _keep(found[0])


def _keep(tag: bytes) -> Tag:
    known = _parse(tag)
    if len(tag) <= _KNOWN_TAG_LENGTH:
        if len(_known) >= _KNOWN_TAGS:
            _known.clear()
        _known[tag] = known
    return known


def _parse(tag: bytes) -> Tag:
    found = _NAME.match(tag)
    name = found[0] if found is not None else b""
    prefix, colon, local = name.rpartition(b":")
    ordinary = bool(name) and not colon and name[0] not in b"!?" and local not in _STANZAS
    wanted = b"xmlns:" + prefix if colon else b"xmlns"
    namespace = b""
    if b"xmlns" in tag:
        for attribute, double, single in _XMLNS.findall(tag):
            if attribute.startswith(b"xmlns"):
                uri = double or single
                ordinary = ordinary and uri not in _CONTENT and _PLAIN.fullmatch(uri) is not None
                if attribute == wanted:
                    namespace = uri
    uri_text = namespace.decode(errors="replace")
    qualified = (unescape(uri_text) if "&" in uri_text else uri_text) or None, local.decode(errors="replace")
    return Tag(qualified, not tag.endswith(b"/"), ordinary)
