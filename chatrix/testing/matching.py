"""Compare a stanza that came with the one a transcript expects: XML equality with wildcards and captures.

Pure: no reactor, no connection. The expected XML (a *template*) may hold, in attribute values and text, `{any}`
(anything) and `{name}` (anything at first sight, the same from then on); in a start tag `...` (more attributes may
come); and among the children `...` (more children may come, in any order) or `{in any order}`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

NS_XML = "http://www.w3.org/XML/1998/namespace"
NS_CLIENT = "jabber:client"
NS_STREAM = "http://etherx.jabber.org/streams"

Captures = Mapping[str, str]

MORE = "..."
ANY_ORDER = "{in any order}"
_MORE_ATTRIBUTES = "{urn:chatrix:transcript}more"

_WRAPPER_START = f"<t:t xmlns:t='urn:chatrix:transcript' xmlns:stream='{NS_STREAM}' xmlns='{NS_CLIENT}'>"
_WRAPPER_END = "</t:t>"
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_START_TAG = re.compile(r"""<[^/!?](?:[^<>"']|"[^"]*"|'[^']*')*>""")
_MORE_IN_TAG = re.compile(r"""("[^"]*"|'[^']*')|\s\.\.\.(?=[\s/>])""")


class Mismatch(Exception):
    """What came is not what was expected; the text says where and how."""


class NotXML(ValueError):
    """A block of a transcript is not well-formed; `line` counts from 1 within the block."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read_templates(block: str) -> tuple[etree._Element, ...]:
    """Read the first-level elements of `block`: stanzas (jabber:client), or anything with its own namespace.

    The prefix `stream` is declared. Raises: NotXML.
    """
    marked = _START_TAG.sub(lambda tag: _MORE_IN_TAG.sub(_mark_more, tag.group()), block)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
    try:
        wrapper = etree.fromstring((_WRAPPER_START + marked + _WRAPPER_END).encode(), parser)
    except etree.XMLSyntaxError as error:
        raise NotXML(error.lineno or 1, (error.msg or "not well-formed").split(", line")[0]) from error
    if (wrapper.text or "").strip() or any((child.tail or "").strip() for child in wrapper):
        raise NotXML(1, "text between the stanzas")
    return tuple(wrapper)


def _mark_more(found: re.Match[str]) -> str:
    return found.group(1) or " t:more='yes'"


def fill_in(text: str, captured: Captures, quote: Callable[[str], str] = escape) -> str:
    """Replace each `{name}` that has been captured by its value; what was never captured stays as written."""
    return _PLACEHOLDER.sub(lambda found: quote(captured[found[1]]) if found[1] in captured else found[0], text)


def match(expected: etree._Element, came: etree._Element, captured: Captures) -> dict[str, str]:
    """Return the captures after `came` has been matched with `expected`. Raises: Mismatch."""
    return _match_element(expected, came, captured, _name(expected, None))


def match_in_any_order(
    expected: Sequence[etree._Element], came: Sequence[etree._Element], captured: Captures
) -> dict[str, str]:
    """Pair each of `expected` with another one of `came`. Raises: Mismatch."""
    return _pair(expected, came, captured, "", len(came) > len(expected))


def _match_element(expected: etree._Element, came: etree._Element, captured: Captures, path: str) -> dict[str, str]:
    if expected.tag != came.tag:
        raise Mismatch(f"expected {path}, got {_name(came, expected.getparent())}")
    found = _match_attributes(expected, came, captured, path)
    return _match_content(expected, came, found, path)


def _match_attributes(expected: etree._Element, came: etree._Element, captured: Captures, path: str) -> dict[str, str]:
    wanted = {str(name): str(value) for name, value in expected.attrib.items()}
    more = wanted.pop(_MORE_ATTRIBUTES, None) is not None
    found = dict(captured)
    # In alphabetical order, so that which attribute captures and which one compares does not depend on who wrote them.
    for name in sorted(wanted):
        value = came.get(name)
        if value is None:
            raise Mismatch(f"{path} has no attribute {_attribute(name)}")
        found = _match_text(wanted[name], value, found, f"{path} {_attribute(name)}")
    extra = sorted(_attribute(str(name)) for name in came.attrib if name not in wanted)
    if extra and not more:
        raise Mismatch(f"{path} has more attributes: {', '.join(extra)}")
    return found


def _match_content(expected: etree._Element, came: etree._Element, captured: Captures, path: str) -> dict[str, str]:
    wanted, children = list(expected), list(came)
    pieces = _texts(expected)
    markers = {piece.strip() for piece in pieces} & {MORE, ANY_ORDER}
    if wanted or markers:
        # Between elements, white space is layout.
        text = "".join(piece.strip() for piece in pieces if piece.strip() not in markers)
        got = "".join(piece.strip() for piece in _texts(came))
    else:
        text, got = "".join(pieces), "".join(_texts(came))
    found = dict(captured)
    if text or MORE not in markers:
        found = _match_text(text, got, found, f"the text of {path}")
    if markers:
        return _pair(wanted, children, found, path, MORE in markers)
    for child, other in zip(wanted, children, strict=False):
        found = _match_element(child, other, found, f"{path}/{_name(child, expected)}")
    if len(children) < len(wanted):
        raise Mismatch(f"{path} has no child {_name(wanted[len(children)], expected)}")
    if len(children) > len(wanted):
        raise Mismatch(f"{path} has one more child: {_name(children[len(wanted)], came)}")
    return found


def _texts(element: etree._Element) -> list[str]:
    return [element.text or "", *(child.tail or "" for child in element)]


def _pair(
    wanted: Sequence[etree._Element],
    children: Sequence[etree._Element],
    captured: Captures,
    path: str,
    more: bool,
) -> dict[str, str]:
    """Pair each of `wanted` with another one of `children`, going back when an early choice turns out wrong."""
    inside = f"{path}/" if path else ""
    if not wanted:
        if children and not more:
            raise Mismatch(f"one more: {inside}{_name(children[0], None)}")
        return dict(captured)
    first, reasons, later = wanted[0], list[str](), None
    for index, child in enumerate(children):
        try:
            found = _match_element(first, child, captured, inside + _name(first, first.getparent()))
        except Mismatch as mismatch:
            if child.tag == first.tag:
                reasons.append(f"\n    {mismatch}")
            continue
        try:
            return _pair(wanted[1:], [*children[:index], *children[index + 1 :]], found, path, more)
        except Mismatch as mismatch:
            later = later or mismatch
    raise later or Mismatch(f"nothing matches {as_text(first)}{''.join(dict.fromkeys(reasons))}")


def _match_text(template: str, came: str, captured: Captures, where: str) -> dict[str, str]:
    found = dict(captured)
    pattern, fresh, last = "", list[str](), 0
    for placeholder in _PLACEHOLDER.finditer(template):
        pattern += re.escape(template[last : placeholder.start()])
        name, last = placeholder[1], placeholder.end()
        if name == "any":
            pattern += ".*"
        elif name in captured:
            pattern += re.escape(captured[name])
        elif name in fresh:
            pattern += f"(?P={name})"
        else:
            fresh.append(name)
            pattern += f"(?P<{name}>.+)"
    result = re.fullmatch(pattern + re.escape(template[last:]), came, re.DOTALL)
    if result is None:
        raise Mismatch(f"{where}: expected {fill_in(template, captured, str)!r}, got {came!r}")
    found.update({name: result[name] for name in fresh})
    return found


def _name(element: etree._Element, parent: etree._Element | None) -> str:
    """Name an element the way a reader would: the namespace only when it is not the one around it."""
    name = etree.QName(element)
    around = NS_CLIENT if parent is None else etree.QName(parent).namespace
    if name.namespace == NS_STREAM:
        return f"<stream:{name.localname}>"
    space = "" if name.namespace in (around, NS_CLIENT) else f" xmlns='{name.namespace or ''}'"
    return f"<{name.localname}{space}>"


def _attribute(name: str) -> str:
    return name.replace(f"{{{NS_XML}}}", "xml:")


def as_text(element: etree._Element, around: str | None = NS_CLIENT) -> str:
    """Write an element for people: no prefixes, xmlns only where it changes, attributes as they came."""
    name = etree.QName(element)
    tag = f"stream:{name.localname}" if name.namespace == NS_STREAM else name.localname
    start = f"<{tag}"
    if name.namespace not in (around, NS_STREAM):
        start += f" xmlns={quoteattr(name.namespace or '')}"
    for attribute, value in element.attrib.items():
        if attribute == _MORE_ATTRIBUTES:
            start += " " + MORE
        else:
            start += f" {_attribute(str(attribute))}={quoteattr(str(value))}"
    inner = _layout(element.text)
    for child in element:
        inner += as_text(child, around if name.namespace == NS_STREAM else name.namespace) + _layout(child.tail)
    return f"{start}>{inner}</{tag}>" if inner else f"{start}/>"


def _layout(text: str | None) -> str:
    """Write text, without the line breaks that lay out a template."""
    return escape(text.strip() if text and "\n" in text and text.strip() in {"", MORE, ANY_ORDER} else text or "")
