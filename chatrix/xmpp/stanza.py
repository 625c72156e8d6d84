"""Stanzas: the bytes that arrived, and a tree only when somebody asks (RFC 6120 section 8, RFC 6121).

`inner` comes from framing, so it is well-formed, stands alone, and holds no CDATA, comment or processing instruction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final, Self

from chatrix.xmpp.element import Element, parse, serialise, serialise_children, written_attribute
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID, InvalidJID
from chatrix.xmpp.namespaces import NS_XML
from chatrix.xmpp.tags import QualifiedName, children_of

_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Stanza:
    """A message, presence or iq. Use `make`, or `build` of the subclass."""

    __slots__ = ("_children", "_tree", "attributes", "inner")

    name: ClassVar[str] = ""
    _start: ClassVar[str]
    _end: ClassVar[bytes]

    attributes: dict[str, str]
    """The start tag's, unescaped; `xml:lang` by that name, other foreign ones as `{namespace}name`."""
    inner: bytes
    """Everything after the start tag, the end tag included; empty for an empty element."""

    def __init__(self, attributes: dict[str, str], inner: bytes = b"") -> None:
        self.attributes = attributes
        self.inner = inner
        self._children: tuple[QualifiedName, ...] | None = None
        self._tree: Element | None = None

    def __init_subclass__(cls) -> None:
        cls._start = f"<{cls.name}"
        cls._end = f"</{cls.name}>".encode()

    @classmethod
    def build(cls, attributes: Mapping[str, str], *children: Element) -> Self:
        """Make a stanza of ours."""
        inner = b"".join([serialise(child) for child in children])
        return cls(dict(attributes), inner + cls._end if inner else b"")

    @property
    def id(self) -> str:
        """The `id`, empty when absent."""
        return self.attributes.get("id", "")

    @id.setter
    def id(self, value: str) -> None:
        self.attributes["id"] = value

    @property
    def type(self) -> str:
        """The `type` as written, empty when absent."""
        return self.attributes.get("type", "")

    @type.setter
    def type(self, value: str) -> None:
        if value:
            self.attributes["type"] = value
        else:
            self.attributes.pop("type", None)

    @property
    def to(self) -> JID | None:
        """The addressee.

        Raises: StanzaError jid-malformed.
        """
        text = self.attributes.get("to")
        return None if text is None else _address(text)

    @to.setter
    def to(self, jid: JID | None) -> None:
        self._set_address("to", jid)

    @property
    def from_(self) -> JID | None:
        """The sender.

        Raises: StanzaError jid-malformed.
        """
        text = self.attributes.get("from")
        return None if text is None else _address(text)

    @from_.setter
    def from_(self, jid: JID | None) -> None:
        self._set_address("from", jid)

    def _set_address(self, attribute: str, jid: JID | None) -> None:
        if jid is None:
            self.attributes.pop(attribute, None)
        else:
            self.attributes[attribute] = str(jid)

    @property
    def children(self) -> tuple[QualifiedName, ...]:
        """The qualified names of the child elements, in order."""
        found = self._children
        if found is None:
            found = self._children = children_of(self.inner) if self.inner else ()
        return found

    def keep_children(self, children: tuple[QualifiedName, ...]) -> None:
        """Take the names of the child elements from the framer, which had to look at them."""
        self._children = children

    @property
    def tree(self) -> Element:
        """The whole stanza as a tree, for reading only: change the stanza with its own methods.

        Raises: StanzaError bad-request for the little that expat accepts and libxml2 does not.
        """
        tree = self._tree
        if tree is None:
            try:
                tree = self._tree = parse(self.to_bytes())
            except ValueError as error:
                raise StanzaError("modify", "bad-request") from error
        return tree

    def child(self, namespace: str | None, name: str) -> Element | None:
        """Return the first child of that name, for reading only; no tree is built when there is none."""
        return self.tree.child(namespace, name) if (namespace, name) in self.children else None

    def append(self, child: Element | bytes, name: QualifiedName | None = None) -> None:
        """Put a child before the end tag; `name` is that of a child in bytes, so that nobody needs to look for it."""
        raw = child if isinstance(child, bytes) else serialise(child)
        inner = self.inner
        self.inner = inner[: inner.rindex(b"<")] + raw + self._end if inner else raw + self._end
        found = self._children
        self._children = (*found, name) if name is not None and found is not None else None
        self._tree = None

    def replace_children(self, children: Iterable[Element]) -> None:
        """Put these in the place of everything inside."""
        inner = b"".join([serialise(child) for child in children])
        self.inner = inner + self._end if inner else b""
        self._children = self._tree = None

    def remove_children(self, predicate: Callable[[Element], bool]) -> bool:
        """Remove every child for which the predicate holds; tell whether there was one."""
        children: list[Element] = [*iter(self.tree)]
        kept = [child for child in children if not predicate(child)]
        if len(kept) == len(children):
            return False
        self.replace_children(kept)
        return True

    def to_bytes(self, content_namespace: bytes | None = None) -> bytes:
        """Return the stanza with its start tag written anew, in the content namespace when one is given."""
        attributes = self.attributes
        start = self._start + "".join([f" {name}='{value}'" for name, value in attributes.items()])
        # Each attribute has brought two quotes; control characters and what is no character are not printable.
        if (
            "&" in start
            or start.rfind("<")
            or "{" in start
            or start.count("'") != 2 * len(attributes)
            or not start.isprintable()
        ):
            start = self._start + "".join(
                [written_attribute(name, _clean(value), n) for n, (name, value) in enumerate(attributes.items())]
            )
        if content_namespace is None:
            return start.encode() + (b">" + self.inner if self.inner else b"/>")
        if self.inner:
            return b"%b xmlns='%b'>%b" % (start.encode(), content_namespace, self.inner)
        return b"%b xmlns='%b'/>" % (start.encode(), content_namespace)

    def copy(self) -> Self:
        """Return a stanza with attributes of its own and the same inside."""
        twin = type(self)(self.attributes.copy(), self.inner)
        twin._children = self._children
        return twin

    def _answer(self, type_: str, *children: Element) -> dict[str, str]:
        attributes = {"type": type_} if type_ else {}
        for ours, theirs in (("to", "from"), ("from", "to"), ("id", "id")):
            value = self.attributes.get(theirs)
            if value is not None:
                attributes[ours] = value
        return attributes

    def error(self, error: StanzaError) -> Self:
        """Return the error answer: addresses swapped, the id, the error and nothing else of what came."""
        return self.build(self._answer("error"), error.to_element())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.attributes!r} of {len(self.inner)} bytes>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stanza):
            return NotImplemented
        return self.name == other.name and self.attributes == other.attributes and self.inner == other.inner

    __hash__ = None  # type: ignore[assignment]


class Message(Stanza):
    """RFC 6121 section 5."""

    __slots__ = ()
    name = "message"

    @property
    def body(self) -> str | None:
        """The text of the first body; None without one."""
        return self.tree.text_of(None, "body") if (None, "body") in self.children else None

    def reply(self, body: str) -> Message:
        """Return a message of the same type back to the sender; to the room itself for groupchat."""
        attributes = self._answer(self.type)
        attributes.pop("id", None)
        if self.type == "groupchat" and "to" in attributes:
            attributes["to"] = attributes["to"].partition("/")[0]
        return Message.build(attributes, Element(None, "body", text=body))


class Presence(Stanza):
    """RFC 6121 section 4."""

    __slots__ = ()
    name = "presence"

    @property
    def priority(self) -> int:
        """Between -128 and 127; 0 when absent or unreadable."""
        text = self._text_of("priority") or ""
        return max(-128, min(127, int(text))) if _PRIORITY.fullmatch(text) else 0

    @property
    def show(self) -> str:
        """One of away, chat, dnd, xa; empty when absent."""
        return self._text_of("show") or ""

    @property
    def status(self) -> str | None:
        """The text of the first status; None without one."""
        return self._text_of("status")

    def _text_of(self, name: str) -> str | None:
        return self.tree.text_of(None, name) if (None, name) in self.children else None


class IQ(Stanza):
    """RFC 6120 section 8.2.3."""

    __slots__ = ()
    name = "iq"

    @property
    def payload_name(self) -> QualifiedName | None:
        """The qualified name of the first child, without a tree; None without one."""
        children = self.children
        return children[0] if children else None

    @property
    def payload(self) -> Element:
        """The first child.

        Raises: StanzaError bad-request without one.
        """
        for child in iter(self.tree):
            return child
        raise StanzaError("modify", "bad-request")

    def reply(self, payload: Element | None = None) -> IQ:
        """Return the result."""
        return IQ.build(self._answer("result"), *(() if payload is None else (payload,)))


_IN_XML: Final = f"{{{NS_XML}}}"
_PRIORITY: Final = re.compile(r"\s*[+-]?[0-9]{1,3}\s*")
_CLASSES: Final[dict[str, type[Stanza]]] = {"message": Message, "presence": Presence, "iq": IQ}


def make(name: str, attributes: dict[str, str], inner: bytes = b"") -> Stanza:
    """Return the Message, Presence or IQ with these parts.

    Raises: KeyError for another name.
    """
    return _CLASSES[name](attributes, inner)


def from_tree(element: Element, content_namespace: str | None = None) -> Stanza:
    """Return the stanza that the tree spells; elements of the content namespace, when given, lose it.

    Raises: KeyError when the tree is no stanza.
    """
    class_ = _CLASSES[element.name]
    attributes = {str(name).replace(_IN_XML, "xml:"): str(value) for name, value in element.attrib.items()}
    inner = serialise_children(element, content_namespace)
    return class_(attributes, inner + class_._end if inner else b"")


def _address(text: str) -> JID:
    try:
        return JID.parse(text)
    except InvalidJID as error:
        raise StanzaError("modify", "jid-malformed") from error


def _clean(value: str) -> str:
    """What is no XML character would end the stream of whoever receives it."""
    return _NOT_XML.sub("\ufffd", value)
