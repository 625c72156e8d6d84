"""PLAIN: name and password in one message (RFC 4616). Only ever used inside TLS."""

from typing import Final, NamedTuple

from chatrix.xmpp.errors import SASLError

PLAIN: Final = "PLAIN"


class PlainMessage(NamedTuple):
    """What a PLAIN message says; the authzid is empty when the client gave none."""

    authzid: str
    authcid: str
    password: str

    def __repr__(self) -> str:
        return f"PlainMessage(authzid={self.authzid!r}, authcid={self.authcid!r})"


def parse(message: bytes) -> PlainMessage:
    """Take a PLAIN message apart.

    Raises: SASLError malformed-request unless it is `[authzid] NUL authcid NUL passwd` in UTF-8 with nothing empty but
    the authzid.
    Source: RFC 4616 section 2.
    """
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SASLError("malformed-request")
    try:
        authzid, authcid, password = (part.decode() for part in parts)
    except UnicodeDecodeError:
        raise SASLError("malformed-request") from None
    if not authcid or not password:
        raise SASLError("malformed-request")
    return PlainMessage(authzid, authcid, password)
