"""Framing, the common path: a whole ordinary stanza, checked by expat without a single callback.

What is in any way unusual is left to `chatrix.xmpp.slices`, which gives the verdict; both agree on what both accept.
A stanza that passes leaves no state in the parser, so one parser serves all connections.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.slices import Limits, new_parser
from chatrix.xmpp.stanza import IQ, Message, Presence, Stanza

_WORN_OUT: Final = 4 << 20
_ROOT: Final = b"<_>"

_KEYS: Final = {f" {name}=": name for name in ("to", "from", "id", "type", "xml:lang", "xmlns")}
_ODD: Final = re.compile("[&<\t\r\n]")
_NAMES: Final[dict[int, tuple[type[Stanza], bytes, bytes, int]]] = {
    ord(class_.name[0]): (class_, f"<{class_.name}".encode(), f"</{class_.name}>".encode(), len(class_.name) + 1)
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


_shared = _SharedParser()


def whole_stanza(
    data: bytes, start: int, content_namespace: str, content: bytes, limits: Limits
) -> tuple[Stanza, int] | None:
    """Return the ordinary stanza that starts at this `<` and the index after it; None when it is not one, or not whole."""
    known = _NAMES.get(data[start + 1]) if start + 1 < len(data) else None
    if known is None:
        return None
    class_, start_name, end_tag, name_length = known
    after_name = start + name_length
    if not data.startswith(start_name, start) or data[after_name : after_name + 1] not in b" >":
        return None
    tag_end = data.find(b">", after_name) + 1
    if not tag_end:
        return None
    empty = data[tag_end - 2] == 0x2F
    if empty:
        end = tag_end
    else:
        end = data.find(end_tag, tag_end)
        # A namesake inside might be the one that this end tag closes.
        if end < 0 or data.find(start_name, tag_end, end) >= 0:
            return None
        end += len(end_tag)
    raw = data[start:end]
    if len(raw) > limits.stanza_bytes or b"<!" in raw or b"&#" in raw or raw.find(content, tag_end - start) >= 0:
        return None
    # There are fewer elements than '<' and fewer attributes than '='.
    most = min(limits.depth, limits.elements)
    if raw.count(b"=") > limits.attributes or (raw.count(b"<") > most and raw.count(b"<") - raw.count(b"</") > most):
        return None
    shared = _shared
    try:
        shared.parser.Parse(raw, False)
    except (expat.ExpatError, StreamError):
        shared.renew()
        return None
    shared.fed += len(raw)
    if shared.parser.CurrentByteIndex != shared.fed:
        shared.renew()
        return None
    if shared.fed > _WORN_OUT:
        shared.renew()
    attributes = _attributes(data[after_name : tag_end - 1 - empty].decode())
    if attributes is None:
        return None
    namespace = attributes.pop("xmlns", None)
    if namespace is not None and namespace != content_namespace:
        return None
    return class_(attributes, b"" if empty else data[tag_end:end]), end


def _attributes(text: str) -> dict[str, str] | None:
    """Return the attributes of a start tag that is written in the plainest way, else None."""
    if _ODD.search(text):
        return None
    parts = text.split("'")
    if len(parts) == 1:
        parts = text.split('"')
    if parts.pop().strip(" "):
        return None
    try:
        return dict(zip([_KEYS[key] for key in parts[::2]], parts[1::2], strict=True))
    except (KeyError, ValueError):
        return None
