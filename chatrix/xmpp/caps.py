"""XEP-0115: Entity Capabilities, version 1.6: the verification string, and what a presence claims with it.

SECURITY: a string that verifies is believed for everybody who has the same, so whoever finds another answer to a
popular string speaks for all its users. XEP-0115 section 9.3 admits that such answers exist: the string does not tell
where identities, features and forms begin, and `<` separates what may itself contain `<`. `is_shareable` refuses the
answers that could be read in another way; they are still good for the one who gave them.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from chatrix.xmpp.disco import features_in, identities_in
from chatrix.xmpp.element import Element
from chatrix.xmpp.namespaces import NS_CAPS, NS_DATA_FORM
from chatrix.xmpp.stanza import Stanza

HASHES: Final = {
    "sha-1": "sha1",
    "sha-224": "sha224",
    "sha-256": "sha256",
    "sha-384": "sha384",
    "sha-512": "sha512",
}
"""The hashes that are believed, by IANA's textual name; MD5 is not among them."""
FORM_TYPE: Final = "FORM_TYPE"
LONGEST: Final = 300
"""Characters of each part of a claim; a longer one is none."""


class IllFormed(ValueError):
    """An answer that must not be believed (section 5.4)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the `<c/>` of a presence, or of stream features, says."""

    hash: str
    """Empty in the legacy format."""
    node: str
    ver: str

    @classmethod
    def of(cls, stanza: Stanza) -> Claim | None:
        """The claim of a presence, or None."""
        if (NS_CAPS, "c") not in stanza.children:
            return None
        element = stanza.child(NS_CAPS, "c")
        if element is None:
            return None
        claim = cls(element.get("hash", ""), element.get("node", ""), element.get("ver", ""))
        return claim if claim.ver and max(map(len, (claim.hash, claim.node, claim.ver))) <= LONGEST else None

    @property
    def verifiable(self) -> bool:
        """Whether an answer can be held against it."""
        return self.hash in HASHES

    def to_element(self) -> Element:
        """`<c/>`."""
        return Element(NS_CAPS, "c", {"hash": self.hash, "node": self.node, "ver": self.ver})


def ver(query: Element, hash_name: str = "sha-1") -> str:
    """The hash of an answer to disco#info.

    Raises: IllFormed; KeyError for a hash that is not one of `HASHES`.
    """
    digest = hashlib.new(HASHES[hash_name], verification_string(query).encode(), usedforsecurity=False).digest()
    return b64encode(digest).decode()


def verification_string(query: Element) -> str:
    """The string S of section 5.1; sorting by code point is i;octet collation of UTF-8.

    Raises: IllFormed.
    """
    identities = sorted((each.category, each.type, each.lang, each.name) for each in identities_in(query))
    _refuse_twice(identities, "an identity")
    features = sorted(features_in(query))
    _refuse_twice(features, "a feature")
    parts = ["/".join(identity) for identity in identities]
    parts += features
    forms = _forms(query)
    _refuse_twice([form_type for form_type, _ in forms], "a form")
    for form_type, fields in sorted(forms):
        parts.append(form_type)
        for var, values in sorted(fields):
            parts += [var, *sorted(values)]
    return "".join(part + "<" for part in parts)


def is_shareable(query: Element) -> bool:
    """Whether an answer whose hash is right can be read in one way only.

    Not provable with this XEP's string; but every known way to make another answer of the same string breaks one of
    these rules, and no client in use does.
    """
    for identity in identities_in(query):
        if not identity.category or not identity.type:
            return False
        if any("/" in part or "<" in part for part in (identity.category, identity.type, identity.lang)):
            return False
        if "<" in identity.name:
            return False
    for feature in features_in(query):
        if not feature or "<" in feature or _LIKE_IDENTITY.match(feature):
            return False
    for form_type, fields in _forms(query):
        tokens = [form_type]
        for var, values in fields:
            if _LIKE_FEATURE.match(var):
                return False
            tokens += [var, *values]
        if any("<" in token or token.endswith("+notify") for token in tokens):
            return False
    return True


_LIKE_IDENTITY: Final = re.compile("[^/]+/[^/]+/[^/]*/")
_LIKE_FEATURE: Final = re.compile("$|(?:urn|https?|jabber|vcard-temp):?")

Fields = list[tuple[str, list[str]]]


def _refuse_twice(listed: list[tuple[str, str, str, str]] | list[str], what: str) -> None:
    if len(set(listed)) != len(listed):
        raise IllFormed(f"{what} is there twice")


def _forms(query: Element) -> list[tuple[str, Fields]]:
    """The forms of an answer by FORM_TYPE; those that do not have a hidden one are ignored (section 5.4)."""
    found = []
    for form in query:
        if form.tag != f"{{{NS_DATA_FORM}}}x":
            continue
        form_type = None
        fields: Fields = []
        for field in form:
            if field.tag != f"{{{NS_DATA_FORM}}}field":
                continue
            values = [child.text or "" for child in field if child.tag == f"{{{NS_DATA_FORM}}}value"]
            if field.get("var") != FORM_TYPE:
                fields.append((field.get("var", ""), values))
            elif field.get("type") == "hidden" and values:
                if len(set(values)) > 1 or form_type is not None:
                    raise IllFormed("a form has two types")
                form_type = values[0]
        if form_type is not None:
            found.append((form_type, fields))
    return found
