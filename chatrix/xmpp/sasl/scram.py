"""SCRAM, the server's side: RFC 5802, RFC 7677, and the downgrade protection of XEP-0474.

Security: faces a stranger. It trusts nothing he sends, keeps one nonce per exchange, says about an unknown account
exactly what it says about a wrong password, and compares everything secret in constant time.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.sasl.channel_binding import NO_CHANNEL_BINDINGS, ChannelBindings
from chatrix.xmpp.sasl.keys import DIGESTS, HASHES, Hash, ScramKeys
from chatrix.xmpp.sasl.payloads import decode_canonical

PLUS: Final = "-PLUS"
MECHANISMS: Final[dict[str, Hash]] = {f"SCRAM-{name.upper()}{suffix}": name for suffix in (PLUS, "") for name in HASHES}
"""Every SCRAM mechanism and its hash, in order of preference: a bound channel first, then the stronger hash."""

NONCE_OCTETS: Final = 24

# RFC 5802 section 7. The sets exclude each other, so no input makes these backtrack.
_SASLNAME: Final = r"(?:[^,=\0]|=2C|=3D)+"
_NONCE: Final = r"[!-+\--~]+"
_EXTENSIONS: Final = r"(?:,[A-Za-z]=[^,\0]+)*"
_GS2_HEADER: Final = re.compile(rf"(?:n|y|p=(?P<type>[A-Za-z0-9.\-]+)),(?:a=(?P<authzid>{_SASLNAME}))?,")
_CLIENT_FIRST_BARE: Final = re.compile(
    rf"n=(?P<username>{_SASLNAME}),r=(?P<nonce>{_NONCE})(?P<extensions>{_EXTENSIONS})"
)
_CLIENT_FINAL: Final = re.compile(
    rf"(?P<without_proof>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>{_NONCE})(?P<extensions>{_EXTENSIONS}))"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_RESERVED: Final = frozenset("anmrcsipve")


class Identity(NamedTuple):
    """Whom the client wants to be; the authzid is empty when it gave none."""

    authcid: str
    authzid: str


class Advertised(NamedTuple):
    """What the stream's features said, for the client to hold against what it saw (XEP-0474)."""

    mechanisms: Sequence[str]
    channel_binding_types: Sequence[str]


def downgrade_hash(hash_name: Hash, advertised: Advertised) -> str:
    """Hash the advertised lists into the value of SCRAM's attribute `h`. Source: XEP-0474 section 6.1."""
    text = "\x1e".join(sorted(advertised.mechanisms))
    if advertised.channel_binding_types:
        text += "\x1f" + "\x1e".join(sorted(advertised.channel_binding_types))
    return b64encode(hashlib.new(DIGESTS[hash_name], text.encode()).digest()).decode("ascii")


def new_nonce() -> str:
    """Make the server's part of a nonce: 192 random bits, printable, no comma."""
    return secrets.token_urlsafe(NONCE_OCTETS)


class ScramExchange:
    """One exchange: client_first(), server_first(), client_final(), each called once and in this order.

    The first error ends it. `advertised` None leaves out the downgrade protection; `nonce` is for tests with known
    answers.
    """

    __slots__ = (
        "_advertised",
        "_auth_message_start",
        "_bare",
        "_binding",
        "_bindings",
        "_keys",
        "_known",
        "_make_nonce",
        "_nonce",
        "hash",
        "mechanism",
    )

    def __init__(
        self,
        mechanism: str,
        bindings: ChannelBindings = NO_CHANNEL_BINDINGS,
        advertised: Advertised | None = None,
        nonce: Callable[[], str] = new_nonce,
    ) -> None:
        self.mechanism = mechanism
        self.hash: Hash = MECHANISMS[mechanism]
        self._bindings = bindings
        self._advertised = advertised
        self._make_nonce = nonce
        self._bare = ""
        self._nonce = ""
        self._binding = b""
        self._keys: ScramKeys | None = None
        self._known = False
        self._auth_message_start = ""

    def client_first(self, message: bytes) -> Identity:
        """Read the client's first message.

        Raises: SASLError malformed-request for what the grammar or the mechanism's name does not allow; not-authorized
        when the channel binding asked for is not the one on offer, or was talked out of the client by a third party.
        Source: RFC 5802 sections 5.1, 6 and 7.
        """
        text = _decode(message)
        header = _GS2_HEADER.match(text)
        if header is None:
            raise SASLError("malformed-request")
        bare = text[header.end() :]
        if bare.startswith("m="):
            raise SASLError("malformed-request", "extensions-not-supported")
        fields = _CLIENT_FIRST_BARE.fullmatch(bare)
        if fields is None:
            raise SASLError("malformed-request")
        _check_extensions(fields["extensions"])
        self._binding = b64encode(header[0].encode() + self._bound_data(header[0][0], header["type"]))
        self._bare = bare
        self._nonce = fields["nonce"]
        return Identity(_unescape(fields["username"]), _unescape(header["authzid"] or ""))

    def _bound_data(self, flag: str, type_: str | None) -> bytes:
        """Judge the channel-binding flag; give the data that the client must have hashed."""
        if self.mechanism.endswith(PLUS) != (flag == "p"):
            raise SASLError("malformed-request", "channel binding flag and mechanism disagree")
        if flag == "y" and self._bindings:
            # "if the server did in fact support channel binding, then this is an indication that there has been a
            # downgrade attack"
            raise SASLError("not-authorized", "server-does-support-channel-binding")
        if type_ is None:
            return b""
        if type_ not in self._bindings.data:
            raise SASLError("not-authorized", "unsupported-channel-binding-type")
        return self._bindings.data[type_]

    def server_first(self, keys: ScramKeys, known: bool = True) -> bytes:
        """Answer with the salt and the iterations of the account's keys.

        For an unknown account give its decoy and known=False: then even a right proof fails, at the very end.
        """
        if not self._nonce or self._keys is not None:
            raise RuntimeError("server_first() follows client_first(), once")
        if keys.hash != self.hash:
            raise ValueError(f"keys for {keys.hash} in {self.mechanism}")
        self._keys, self._known = keys, known
        self._nonce += self._make_nonce()
        answer = f"r={self._nonce},s={b64encode(keys.salt).decode('ascii')},i={keys.iterations}"
        if self._advertised is not None:
            answer += f",h={downgrade_hash(self.hash, self._advertised)}"
        self._auth_message_start = f"{self._bare},{answer},"
        return answer.encode()

    def client_final(self, message: bytes) -> bytes:
        """Check the client's proof; give the server's own.

        Raises: SASLError malformed-request for what the grammar does not allow; not-authorized for a nonce, a channel
        binding or a proof that is wrong.
        Source: RFC 5802 sections 3 and 5.1.
        """
        keys, self._keys = self._keys, None  # one guess per nonce
        if keys is None:
            raise RuntimeError("client_final() follows server_first(), once")
        fields = _CLIENT_FINAL.fullmatch(_decode(message))
        if fields is None:
            raise SASLError("malformed-request")
        _check_extensions(fields["extensions"])
        try:
            proof = decode_canonical(fields["proof"].encode())
        except ValueError:
            raise SASLError("malformed-request") from None
        if not hmac.compare_digest(fields["nonce"].encode(), self._nonce.encode()):
            raise SASLError("not-authorized")
        if not hmac.compare_digest(fields["binding"].encode(), self._binding):
            raise SASLError("not-authorized")
        auth_message = (self._auth_message_start + fields["without_proof"]).encode()
        if not _proves(keys, auth_message, proof) & self._known:
            raise SASLError("not-authorized")
        return b"v=" + b64encode(hmac.digest(keys.server_key, auth_message, DIGESTS[keys.hash]))


def _proves(keys: ScramKeys, auth_message: bytes, proof: bytes) -> bool:
    """Tell whether the proof was made by somebody who has the client key."""
    digest = DIGESTS[keys.hash]
    signature = hmac.digest(keys.stored_key, auth_message, digest)
    if len(proof) != len(signature):
        return False
    client_key = (int.from_bytes(proof, "big") ^ int.from_bytes(signature, "big")).to_bytes(len(proof), "big")
    return hmac.compare_digest(hashlib.new(digest, client_key).digest(), keys.stored_key)


def _decode(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise SASLError("malformed-request") from None


def _check_extensions(extensions: str) -> None:
    """Refuse a mandatory extension, a known attribute out of its place, and any attribute given twice."""
    names = [extension[0] for extension in extensions.split(",")[1:]]
    if "m" in names:
        raise SASLError("malformed-request", "extensions-not-supported")
    if len(set(names)) != len(names) or not _RESERVED.isdisjoint(names):
        raise SASLError("malformed-request")


def _unescape(saslname: str) -> str:
    return saslname.replace("=2C", ",").replace("=3D", "=")
