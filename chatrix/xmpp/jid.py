"""XMPP addresses, prepared once and shared (RFC 7622).

SECURITY: the text comes from strangers. Every comparison, key and limit uses the prepared form; raw text is kept only
in a cache of bounded size.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Any, Final, NoReturn

import idna
from precis_i18n import get_profile

MAX_OCTETS: Final = 1023
"""Of each part, after preparation (RFC 7622 section 3.1)."""

_MAX_TEXT: Final = 3 * MAX_OCTETS + 2
"""Preparing maps a character to no fewer than a third of its octets, so longer text cannot become a valid JID."""

_CACHE_ENTRIES: Final = 8192
_CACHED_TEXT: Final = 128

_LABEL: Final = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ASCII_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_ASCII_LOCAL: Final = re.compile(r"[!#-%(-.0-9;=?A-Z\[-~]+")
_ASCII_RESOURCE: Final = re.compile(r"[ -~]+")
_NOT_IN_LOCAL: Final = re.compile(r"[\"&'/:<>@\s]")
_DOTS: Final = re.compile("[\u3002\uff0e\uff61]")

_LOCAL_PROFILE: Final = get_profile("UsernameCaseMapped")
_RESOURCE_PROFILE: Final = get_profile("OpaqueString")


class InvalidJID(ValueError):
    """The text is no XMPP address. The message never repeats the text."""


class JID:
    """One XMPP address, immutable; equal when the prepared text is equal."""

    __slots__ = ("_bare", "_text", "domain", "local", "resource")

    local: str
    """Prepared localpart, empty for a domain JID."""
    domain: str
    """Prepared domainpart, with U-labels, never empty."""
    resource: str
    """Prepared resourcepart, empty for a bare JID."""

    def __init__(self) -> None:
        raise TypeError("use JID.parse() or JID.of()")

    @classmethod
    def parse(cls, text: str) -> JID:
        """Return the JID written as `text`.

        Raises: InvalidJID.
        Source: RFC 7622 section 3.1 for where the parts end.
        """
        jid = _young.get(text)
        return jid if jid is not None else _parse(text)

    @classmethod
    def of(cls, local: str, domain: str, resource: str = "") -> JID:
        """Prepare and join the parts.

        Raises: InvalidJID.
        """
        prepared_domain = _prepare_domain(domain)
        prepared_local = _prepare_local(local) if local else ""
        bare = _make(prepared_local, prepared_domain, "", None)
        return _make(prepared_local, prepared_domain, _prepare_resource(resource), bare) if resource else bare

    @property
    def bare(self) -> JID:
        """This address without its resource."""
        return self._bare or self

    @property
    def is_bare(self) -> bool:
        """Whether there is no resource."""
        return not self.resource

    @property
    def is_full(self) -> bool:
        """Whether there is a resource."""
        return bool(self.resource)

    def with_resource(self, resource: str) -> JID:
        """Return this address at another resource; the bare one for an empty text.

        Raises: InvalidJID.
        """
        bare = self._bare or self
        return _make(self.local, self.domain, _prepare_resource(resource), bare) if resource else bare

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"JID({self._text!r})"

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, JID) and self._text == other._text)

    def __lt__(self, other: JID) -> bool:
        return self._text < other._text

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a JID does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a JID does not change")

    def __copy__(self) -> JID:
        return self

    def __deepcopy__(self, memo: object) -> JID:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _parse, (self._text,)

    _bare: JID | None
    _text: str


# Two generations: what is not asked for while the young one fills is forgotten. Short texts only, so both together stay
# below a dozen megabytes whatever strangers send.
_young: dict[str, JID] = {}
_old: dict[str, JID] = {}


def _parse(text: str) -> JID:
    jid = _old.get(text)
    if jid is None:
        jid = _split_and_prepare(text)
    if len(text) <= _CACHED_TEXT:
        if len(_young) >= _CACHE_ENTRIES:
            _old.clear()
            _old.update(_young)
            _young.clear()
        _young[text] = jid
    return jid


def _split_and_prepare(text: str) -> JID:
    if len(text) > _MAX_TEXT:
        raise InvalidJID("longer than any JID")
    rest, slash, resource = text.partition("/")
    if slash:
        if not resource:
            raise InvalidJID("empty resource")
        return JID.parse(rest).with_resource(resource)
    local, at, domain = rest.rpartition("@")
    if at and not local:
        raise InvalidJID("empty localpart")
    return JID.of(local, domain)


def _make(local: str, domain: str, resource: str, bare: JID | None) -> JID:
    jid = object.__new__(JID)
    text = f"{local}@{domain}" if local else domain
    set_slot = object.__setattr__
    set_slot(jid, "local", local)
    set_slot(jid, "domain", domain)
    set_slot(jid, "resource", resource)
    set_slot(jid, "_bare", bare)
    set_slot(jid, "_text", f"{text}/{resource}" if resource else text)
    return jid


def _prepare_local(text: str) -> str:
    if _ASCII_LOCAL.fullmatch(text):
        return _within_octets(text.lower())
    prepared = _enforced(_LOCAL_PROFILE, text)
    if _NOT_IN_LOCAL.search(prepared):
        raise InvalidJID("character not allowed in a localpart")
    return _within_octets(prepared)


def _prepare_resource(text: str) -> str:
    return _within_octets(text if _ASCII_RESOURCE.fullmatch(text) else _enforced(_RESOURCE_PROFILE, text))


def _enforced(profile: Any, text: str) -> str:
    # RFC 8264 section 7: a string may need the rules up to three more times until it is stable.
    if len(text) > MAX_OCTETS:
        raise InvalidJID("part longer than 1023 octets")
    try:
        for _ in range(4):
            before, text = text, profile.enforce(text)
            if text == before:
                return text
    except UnicodeError as error:
        raise InvalidJID("character or direction not allowed") from error
    raise InvalidJID("no stable form")


def _within_octets(text: str) -> str:
    if len(text) > MAX_OCTETS or (not text.isascii() and len(text.encode()) > MAX_OCTETS):
        raise InvalidJID("part longer than 1023 octets")
    return text


def _prepare_domain(text: str) -> str:
    """Return the domain in lower case, without a final dot, with U-labels; an IP address in its shortest form.

    Source: RFC 7622 section 3.2, RFC 5895 for the mappings.
    """
    if len(text) > MAX_OCTETS + 1:
        raise InvalidJID("part longer than 1023 octets")
    if text.startswith("["):
        return _prepare_ipv6(text)
    text = text.removesuffix(".")
    if _ASCII_DOMAIN.fullmatch(text):
        return _within_octets(text.lower())
    mapped = "".join(_widened(character) for character in text.lower())
    mapped = unicodedata.normalize("NFC", _DOTS.sub(".", mapped)).removesuffix(".")
    try:
        prepared = ".".join(_u_label(label) for label in mapped.split("."))
    except UnicodeError as error:
        raise InvalidJID("not a domain") from error
    return _within_octets(prepared)


def _widened(character: str) -> str:
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith(("<wide>", "<narrow>")):
        return unicodedata.normalize("NFKC", character)
    return character


def _u_label(label: str) -> str:
    if _ASCII_DOMAIN.fullmatch(label):
        return label
    unicode_label = idna.ulabel(label)
    # An A-label may hide what would have been written differently as text: one domain, one spelling.
    if idna.ulabel(idna.alabel(unicode_label)) != unicode_label:
        raise InvalidJID("not a domain")
    return unicode_label


def _prepare_ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text[1:-1] if text.endswith("]") else "")
    except ValueError as error:
        raise InvalidJID("not an IPv6 address") from error
    if address.scope_id:
        raise InvalidJID("an address with a zone means nothing elsewhere")
    return f"[{address.compressed}]"
