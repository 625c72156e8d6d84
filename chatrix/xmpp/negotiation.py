"""The opening of a stream: headers, features, and what a stream header must say.

Source: RFC 6120 sections 4.7 (attributes), 4.3.2 (features) and 4.9.3 (errors).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from chatrix.xmpp.element import Element, escape_attribute, serialise
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.namespaces import NS_STREAM, NS_STREAM_LIMITS, NS_TLS

DECLARATION = b"<?xml version='1.0'?>"
FOOTER = b"</stream:stream>"

_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")


def new_stream_id() -> str:
    """An id for a stream: 144 bits that nobody can guess (RFC 6120 section 4.7.3)."""
    return secrets.token_urlsafe(18)


def header(content_namespace: str, attributes: dict[str, str]) -> bytes:
    """The XML declaration and the start tag of a stream; its first bytes are always the declaration."""
    written = "".join(f" {name}='{escape_attribute(value)}'" for name, value in attributes.items())
    return DECLARATION + (f"<stream:stream xmlns='{content_namespace}' xmlns:stream='{NS_STREAM}'{written}>".encode())


def features(elements: Iterable[Element]) -> bytes:
    """The features of a stream, in the order given."""
    return b"<stream:features>" + b"".join(serialise(element) for element in elements) + b"</stream:features>"


def leaf(namespace: str, name: str, text: str | None = None) -> bytes:
    """An element of negotiation with nothing but base64 inside: most of what a log-in answers, without a tree."""
    return (
        f"<{name} xmlns='{namespace}'>{text}</{name}>".encode() if text else f"<{name} xmlns='{namespace}'/>".encode()
    )


def starttls_feature() -> Element:
    """STARTTLS, which is always required (RFC 6120 section 5.4.1)."""
    element = Element(NS_TLS, "starttls")
    element.add(NS_TLS, "required")
    return element


def limits_feature(stanza_bytes: int, idle_seconds: int) -> Element:
    """What a stream accepts at this point (XEP-0478); 0 idle seconds: never closed for being idle."""
    element = Element(NS_STREAM_LIMITS, "limits")
    element.add(NS_STREAM_LIMITS, "max-bytes", text=str(stanza_bytes))
    if idle_seconds:
        element.add(NS_STREAM_LIMITS, "idle-seconds", text=str(idle_seconds))
    return element


def check_version(version: str | None) -> None:
    """Refuse what is not XMPP 1.x or later.

    Raises:
        StreamError: unsupported-version.

    Source: RFC 6120 section 4.7.5: a version without a 1 before the dot is XMPP before 1.0; numbers, not decimals.
    """
    found = _VERSION.fullmatch(version or "")
    if found is None or int(found[1]) < 1:
        raise StreamError("unsupported-version")
