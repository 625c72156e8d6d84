"""The three kinds of XMPP error, each carrying what goes on the wire (RFC 6120 sections 4.9, 6.5 and 8.3).

What a peer may read is the condition and a short text of ours; details of a failure belong to the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chatrix.xmpp.element import Element, serialise
from chatrix.xmpp.namespaces import NS_SASL, NS_STANZAS, NS_STREAM, NS_STREAMS

if TYPE_CHECKING:
    from chatrix.xmpp.stanza import Stanza

STANZA_CONDITIONS: Final[dict[str, tuple[str, int]]] = {
    "bad-request": ("modify", 400),
    "conflict": ("cancel", 409),
    "feature-not-implemented": ("cancel", 501),
    "forbidden": ("auth", 403),
    "gone": ("cancel", 302),
    "internal-server-error": ("cancel", 500),
    "item-not-found": ("cancel", 404),
    "jid-malformed": ("modify", 400),
    "not-acceptable": ("modify", 406),
    "not-allowed": ("cancel", 405),
    "not-authorized": ("auth", 401),
    "payment-required": ("auth", 402),
    "policy-violation": ("modify", 500),
    "recipient-unavailable": ("wait", 404),
    "redirect": ("modify", 302),
    "registration-required": ("auth", 407),
    "remote-server-not-found": ("cancel", 404),
    "remote-server-timeout": ("wait", 504),
    "resource-constraint": ("wait", 500),
    "service-unavailable": ("cancel", 503),
    "subscription-required": ("auth", 407),
    "undefined-condition": ("cancel", 500),
    "unexpected-request": ("wait", 400),
}
"""The condition's default type (RFC 6120 section 8.3.3) and its legacy code (XEP-0086)."""

STANZA_ERROR_TYPES: Final = frozenset({"auth", "cancel", "continue", "modify", "wait"})

STREAM_CONDITIONS: Final = frozenset(
    {
        "bad-format",
        "bad-namespace-prefix",
        "conflict",
        "connection-timeout",
        "host-gone",
        "host-unknown",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-namespace",
        "invalid-xml",
        "not-authorized",
        "not-well-formed",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "restricted-xml",
        "see-other-host",
        "system-shutdown",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "unsupported-version",
    }
)

SASL_CONDITIONS: Final = frozenset(
    {
        "aborted",
        "account-disabled",
        "credentials-expired",
        "encryption-required",
        "incorrect-encoding",
        "invalid-authzid",
        "invalid-mechanism",
        "malformed-request",
        "mechanism-too-weak",
        "not-authorized",
        "temporary-auth-failure",
    }
)


class StanzaError(Exception):
    """The answer to one stanza that could not be dealt with; the stream goes on.

    A `type` of None is the condition's default. `text` is read by strangers. `extra` is the application-specific
    condition. For `gone` and `redirect`, `address` is the new address, the condition's own text.

    Raises: ValueError for a type or a condition that RFC 6120 does not know.
    Source: RFC 6120 section 8.3; XEP-0086 for the legacy code.
    """

    def __init__(
        self, type: str | None, condition: str, text: str | None = None, extra: Element | None = None, address: str = ""
    ) -> None:
        if condition not in STANZA_CONDITIONS:
            raise ValueError(f"not a stanza error condition: {condition!r}")
        self.type = STANZA_CONDITIONS[condition][0] if type is None else type
        if self.type not in STANZA_ERROR_TYPES:
            raise ValueError(f"not a stanza error type: {type!r}")
        self.condition = condition
        self.text = text
        self.extra = extra
        self.address = address
        super().__init__(self.type, condition, text)

    def __str__(self) -> str:
        return _described(self.condition, self.text)

    def to_element(self) -> Element:
        """Return the `<error/>` child, with the legacy code that old clients still look at."""
        # COMPAT: Profanity decides on `code` (XEP-0086) when it fetches OMEMO devices.
        error = Element(None, "error", {"type": self.type, "code": str(STANZA_CONDITIONS[self.condition][1])})
        error.add(NS_STANZAS, self.condition, text=self.address or None)
        if self.text is not None:
            error.add(NS_STANZAS, "text", text=self.text)
        if self.extra is not None:
            error.append(_detached(self.extra))
        return error

    @classmethod
    def from_stanza(cls, stanza: Stanza) -> StanzaError:
        """Read the error a peer sent; what is unknown in it becomes `undefined-condition` of type `cancel`."""
        error = stanza.child(None, "error")
        type, condition, text, extra, address = "cancel", "undefined-condition", None, None, ""
        if error is not None:
            type = error.get("type", "")
            for child in error:
                if child.namespace != NS_STANZAS:
                    extra = child
                elif child.name == "text":
                    text = child.text
                elif child.name in STANZA_CONDITIONS:
                    condition, address = child.name, child.text or ""
        return cls(type if type in STANZA_ERROR_TYPES else "cancel", condition, text, extra, address)


class StreamError(Exception):
    """The end of a stream: what the peer is told before it is closed.

    `frames` is what the framing had found complete before the error.

    Raises: ValueError for a condition that RFC 6120 does not know.
    Source: RFC 6120 section 4.9.
    """

    def __init__(self, condition: str, text: str | None = None, extra: Element | None = None) -> None:
        if condition not in STREAM_CONDITIONS:
            raise ValueError(f"not a stream error condition: {condition!r}")
        self.condition = condition
        self.text = text
        self.extra = extra
        self.frames: list[object] = []
        super().__init__(condition, text)

    def __str__(self) -> str:
        return _described(self.condition, self.text)

    def to_element(self) -> Element:
        """Return `<error/>` in the stream namespace."""
        error = Element(NS_STREAM, "error")
        error.add(NS_STREAMS, self.condition)
        if self.text is not None:
            error.add(NS_STREAMS, "text", text=self.text)
        if self.extra is not None:
            error.append(_detached(self.extra))
        return error

    def to_bytes(self) -> bytes:
        """Return the error as written on a stream whose header declared the prefix `stream`."""
        inner = b"".join(serialise(child) for child in self.to_element())
        return b"<stream:error>" + inner + b"</stream:error>"


class SASLError(Exception):
    """One failed authentication attempt.

    Raises: ValueError for a condition that RFC 6120 does not know.
    Source: RFC 6120 section 6.5.
    """

    def __init__(self, condition: str, text: str | None = None) -> None:
        if condition not in SASL_CONDITIONS:
            raise ValueError(f"not a SASL error condition: {condition!r}")
        self.condition = condition
        self.text = text
        super().__init__(condition, text)

    def __str__(self) -> str:
        return _described(self.condition, self.text)

    def to_element(self, namespace: str = NS_SASL) -> Element:
        """Return `<failure/>`; SASL2 (XEP-0388) passes its own namespace and keeps RFC 6120's for the condition."""
        failure = Element(namespace, "failure")
        failure.add(NS_SASL, self.condition)
        if self.text is not None:
            failure.add(namespace, "text", text=self.text)
        return failure


def _described(condition: str, text: str | None) -> str:
    return condition if text is None else f"{condition}: {text}"


def _detached(element: Element) -> Element:
    """Copy, because an lxml element appended elsewhere leaves the tree it was in."""
    return element.__copy__()
