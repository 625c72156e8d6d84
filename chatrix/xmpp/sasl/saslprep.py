"""SASLprep: how a password is prepared before it is hashed (RFC 4013, as RFC 5802 section 2.2 asks).

Not OpaqueString (RFC 7613), although XEP-0438 names it: in SCRAM it is the client that hashes, and the two profiles
differ in what they do with compatibility characters. A server that prepared otherwise than RFC 5802 says would store
keys that no client could match.
"""

import stringprep
import unicodedata
from typing import Final

MAX_OCTETS: Final = 1023

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class InvalidPassword(ValueError):
    """The text cannot be a password: it is empty, too long, or holds characters that SASLprep forbids."""


def prepare_password(password: str) -> bytes:
    """Prepare a password and encode it, ready for PBKDF2.

    Characters newer than Unicode 3.2 (emoji, say) pass, which RFC 4013 allows for query strings only: its successor
    (RFC 8265) allows them for stored ones too, and clients send them.

    Raises: InvalidPassword. Its cost is bounded: anything longer than MAX_OCTETS is refused before it is looked at.
    Source: RFC 4013 section 2, RFC 3454 section 6.
    """
    if len(password) > MAX_OCTETS:
        raise InvalidPassword(f"a password has at most {MAX_OCTETS} octets")
    prepared = password if password.isascii() else _map(password)
    if not prepared:
        raise InvalidPassword("a password must not be empty")
    if any(prohibited(character) for character in prepared for prohibited in _PROHIBITED):
        raise InvalidPassword("a password must not contain control characters")
    if not prepared.isascii():
        _check_bidi(prepared)
    encoded = prepared.encode()
    if len(encoded) > MAX_OCTETS:
        raise InvalidPassword(f"a password has at most {MAX_OCTETS} octets")
    return encoded


def _map(password: str) -> str:
    """Replace odd spaces, drop what is commonly mapped to nothing, normalise (RFC 4013 sections 2.1 and 2.2)."""
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    return unicodedata.normalize("NFKC", mapped)


def _check_bidi(prepared: str) -> None:
    """Refuse right-to-left text mixed with left-to-right letters (RFC 3454 section 6)."""
    if not any(map(stringprep.in_table_d1, prepared)):
        return
    if any(map(stringprep.in_table_d2, prepared)):
        raise InvalidPassword("a password must not mix right-to-left and left-to-right letters")
    if not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])):
        raise InvalidPassword("a password with right-to-left letters must begin and end with one")
