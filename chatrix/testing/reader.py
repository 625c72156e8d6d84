"""Read an XML stream from the client's side: bytes in, first-level elements out. Deliberately not the server's framer.

The stream header comes out as an element without children; `closed` tells that the end tag has come.
"""

from collections.abc import Mapping
from xml.parsers import expat

from lxml import etree


class StreamReader:
    """One XML document, from its declaration to </stream:stream>."""

    def __init__(self) -> None:
        self.declared = False
        """Whether the document began with an XML declaration."""
        self.closed = False
        self._elements: list[etree._Element] = []
        self._open: list[etree._Element] = []
        self._depth = 0
        self._text: list[str] = []
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        if hasattr(parser, "SetReparseDeferralEnabled"):
            # expat 2.6 keeps the end of a long start tag to itself until more bytes come, which may be never.
            parser.SetReparseDeferralEnabled(False)
        self._parser = parser

    def feed(self, data: bytes) -> list[etree._Element]:
        """Return what became complete. Raises: expat.ExpatError."""
        self._parser.Parse(data, False)
        elements, self._elements = self._elements, []
        return elements

    def _declaration(self, _version: str, _encoding: str | None, _standalone: int) -> None:
        self.declared = True

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._flush()
        tag = _clark(name)
        named = {_clark(key): value for key, value in attributes.items()}
        if self._open:
            self._open.append(etree.SubElement(self._open[-1], tag, named))
        elif self._depth:
            self._open.append(etree.Element(tag, named))
        else:
            self._elements.append(etree.Element(tag, named))
        self._depth += 1

    def _end(self, _name: str) -> None:
        self._flush()
        self._depth -= 1
        if not self._depth:
            self.closed = True
        else:
            element = self._open.pop()
            if not self._open:
                self._elements.append(element)

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if not text or not self._open:
            return
        element = self._open[-1]
        if len(element):
            element[-1].tail = text
        else:
            element.text = text


def _clark(name: str) -> str:
    """Turn expat's 'namespace name' into lxml's '{namespace}name'."""
    namespace, _, local = name.rpartition(" ")
    return f"{{{namespace}}}{local}" if namespace else local
