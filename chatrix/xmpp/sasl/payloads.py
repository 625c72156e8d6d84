"""SASL payloads as they travel in XML: strict base64 (RFC 6120 sections 6.4 and 13.9.1)."""

import base64
import binascii
from typing import Final

from chatrix.xmpp.errors import SASLError

MAX_CHARACTERS: Final = 8192
"""The longest payload that is looked at: far more than any mechanism here needs."""


def decode_initial(text: str | None) -> bytes | None:
    """Decode the content of <auth/>: None when there is no initial response, b"" when it is there and empty ("=").

    Raises: SASLError incorrect-encoding; malformed-request when it is too long.
    """
    return decode(text) if text else None


def decode(text: str | None) -> bytes:
    """Decode the content of <response/>.

    Whitespace, missing padding and padding bits other than zero are refused: "An implementation MUST reject (not
    ignore) any characters that are not explicitly allowed by the base 64 alphabet".

    Raises: SASLError incorrect-encoding; malformed-request when it is too long.
    """
    if not text or text == "=":
        return b""
    if len(text) > MAX_CHARACTERS:
        raise SASLError("malformed-request", "too long")
    try:
        return decode_canonical(text.encode("ascii"))
    except ValueError:
        raise SASLError("incorrect-encoding") from None


def decode_canonical(encoded: bytes) -> bytes:
    """Decode base64 that is written in the one way it can be.

    Raises: ValueError (binascii.Error is one).
    """
    decoded = base64.b64decode(encoded, validate=True)
    if base64.b64encode(decoded) != encoded:
        raise binascii.Error("not canonical")
    return decoded


def encode(data: bytes) -> str:
    """Encode the content of <challenge/> (empty data is an empty element)."""
    return base64.b64encode(data).decode("ascii")


def encode_additional(data: bytes | None) -> str | None:
    """Encode the content of <success/>: None when there is none, "=" when it is there and empty."""
    if data is None:
        return None
    return encode(data) or "="
