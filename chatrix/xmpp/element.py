"""XML trees: lxml elements in XMPP's words, read from slices that expat has accepted, written with default namespaces.

SECURITY: `parse` resolves no entity, loads no DTD and opens no connection. It is not the wire's validator: framing is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from lxml import etree

from chatrix.xmpp.name_memory import forget_names
from chatrix.xmpp.namespaces import NS_XML

XML_LANG: Final = f"{{{NS_XML}}}lang"


class Element(etree.ElementBase):
    """One XML element. Elements of the content namespace have none (`namespace is None`).

    Like every lxml element it has one parent at most: appending it elsewhere moves it.
    """

    def __init__(
        self,
        namespace: str | None,
        name: str,
        attributes: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        # lxml reads this while it initialises; elements that come out of a tree never pass here.
        self.TAG = f"{{{namespace}}}{name}" if namespace else name
        super().__init__(attrib=_clark(attributes), nsmap={None: namespace} if namespace else None)  # type: ignore[call-arg]
        if text is not None:
            self.text = text

    @property
    def namespace(self) -> str | None:
        """The namespace name; None in the content namespace."""
        tag: str = self.tag
        return tag[1:].partition("}")[0] if tag[0] == "{" else None

    @property
    def name(self) -> str:
        """The local name."""
        tag: str = self.tag
        return tag.rpartition("}")[2]

    def child(self, namespace: str | None, name: str) -> Element | None:
        """Return the first child element of that name."""
        return self.find(f"{{{namespace}}}{name}" if namespace else name)  # type: ignore[return-value]

    def text_of(self, namespace: str | None, name: str) -> str | None:
        """Return the text of the first child of that name: empty when it has none, None when there is no such child."""
        child = self.child(namespace, name)
        return None if child is None else child.text or ""

    def add(
        self,
        namespace: str | None,
        name: str,
        attributes: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> Element:
        """Append a new child and return it."""
        child: Element = etree.SubElement(  # type: ignore[assignment]
            self,
            f"{{{namespace}}}{name}" if namespace else name,
            _clark(attributes),
            nsmap={None: namespace} if namespace else None,  # type: ignore[dict-item]
        )
        if text is not None:
            child.text = text
        return child

    if TYPE_CHECKING:
        TAG: str

        def __iter__(self) -> Iterator[Element]: ...  # type: ignore[override]
        def iterchildren(self, *, reversed: bool = False) -> Iterator[Element]: ...  # type: ignore[override]  # noqa: A002
        def __copy__(self) -> Element: ...


def _clark(attributes: Mapping[str, str] | None) -> dict[str, str] | None:
    if not attributes:
        return None
    return {XML_LANG if name == "xml:lang" else name: value for name, value in attributes.items()}


_FORGET_AFTER: Final = 4 << 20
"""Bytes parsed after which libxml2 forgets the names in them."""


class _Parser:
    """The parser of all trees, and how much it may have learnt."""

    __slots__ = ("learnt", "parser")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Make a new one."""
        self.learnt = 0
        self.parser = etree.XMLParser(
            encoding="utf-8",
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            remove_comments=True,
            remove_pis=True,
            collect_ids=False,
        )
        self.parser.set_element_class_lookup(etree.ElementDefaultClassLookup(element=Element))
        Element.PARSER = self.parser  # type: ignore[attr-defined]


_shared = _Parser()


def parse(raw: bytes) -> Element:
    """Return the tree of one element.

    Raises: ValueError when libxml2 refuses it; expat accepts a little more, for instance namespace names with blanks.
    """
    shared = _shared
    shared.learnt += len(raw)
    if shared.learnt > _FORGET_AFTER:
        forget_names()
        shared.renew()
    try:
        return etree.fromstring(raw, shared.parser)  # type: ignore[return-value]
    except etree.XMLSyntaxError as error:
        raise ValueError("not acceptable to libxml2") from error


_TEXT_SPECIAL: Final = re.compile("[&<>\r]")
_ATTRIBUTE_SPECIAL: Final = re.compile("[&<>'\"\t\n\r]")
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_TEXT_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


def escape_text(text: str) -> str:
    """Escape character data; a carriage return too, or the next parser would make a line feed of it."""
    return text.translate(_TEXT_ESCAPES) if _TEXT_SPECIAL.search(text) else text


def escape_attribute(value: str) -> str:
    """Escape an attribute value for either kind of quote; tabs and line ends too, or they would become blanks."""
    return value.translate(_ESCAPES) if _ATTRIBUTE_SPECIAL.search(value) else value


def serialise(element: Element, content_namespace: str | None = None) -> bytes:
    """Return the element as UTF-8 that stands alone: no prefixes on elements, a default namespace where it changes.

    With a content namespace, an element of it whose ancestors are all of it is written without a namespace.
    """
    out: list[str] = []
    _write(element, None, content_namespace, out)
    return "".join(out).encode()


def serialise_children(element: Element, content_namespace: str | None = None) -> bytes:
    """Return what is between the start tag and the end tag of an element of the content namespace."""
    out: list[str] = [escape_text(element.text)] if element.text else []
    for child in element:
        _write(child, None, content_namespace, out)
        if child.tail:
            out.append(escape_text(child.tail))
    return "".join(out).encode()


def _write(element: Element, default: str | None, content_namespace: str | None, out: list[str]) -> None:
    # Iterative, because trees of our own making may be deeper than Python's stack.
    pending: list[tuple[Element, str | None, str] | str] = [(element, default, "")]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            out.append(item)
            continue
        element, outer, tail = item
        tag: str = element.tag
        namespace: str | None = None
        name = tag
        if tag[0] == "{":
            namespace, _, name = tag[1:].partition("}")
            if outer is None and namespace == content_namespace:
                namespace = None
            elif namespace == NS_XML:
                # It may not be a default namespace, and its prefix is always there.
                namespace, name = outer, f"xml:{name}"
        out.append(f"<{name}")
        if namespace != outer:
            out.append(f" xmlns='{escape_attribute(namespace or '')}'")
        if len(element.attrib):
            _write_attributes(element, out)
        text = element.text
        if not len(element):
            out.append(f">{escape_text(text)}</{name}>{tail}" if text else f"/>{tail}")
            continue
        out.append(f">{escape_text(text)}" if text else ">")
        pending.append(f"</{name}>{tail}")
        pending.extend(
            (child, namespace, escape_text(child.tail) if child.tail else "")
            for child in element.iterchildren(reversed=True)
        )


def _write_attributes(element: Element, out: list[str]) -> None:
    for count, (name, value) in enumerate(element.attrib.items()):
        out.append(written_attribute(str(name), str(value), count))


def written_attribute(name: str, value: str, count: int) -> str:
    """Return ` name='value'`; a name in `{namespace}name` form brings its own prefix, numbered `count`."""
    if name[0] == "{":
        namespace, _, local = name[1:].partition("}")
        if namespace == NS_XML:
            name = f"xml:{local}"
        else:
            prefix = f"a{count}"
            return f" xmlns:{prefix}='{escape_attribute(namespace)}' {prefix}:{local}='{escape_attribute(value)}'"
    return f" {name}='{escape_attribute(value)}'"
