"""The keys that are stored instead of a password (RFC 5802 section 3, RFC 7677, XEP-0438).

Security: a thief of these keys can neither log in with them nor read the password; he can try out passwords, which is
what the iterations make dear. Everything that runs PBKDF2 says so: call it in a thread (it releases the GIL).
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from chatrix.xmpp.sasl.saslprep import InvalidPassword, prepare_password

Hash = Literal["sha-1", "sha-256", "sha-512"]

HASHES: Final[tuple[Hash, ...]] = ("sha-512", "sha-256", "sha-1")
"""In order of preference."""
DIGESTS: Final[dict[Hash, str]] = {"sha-1": "sha1", "sha-256": "sha256", "sha-512": "sha512"}
"""The names hashlib has for them."""
DIGEST_OCTETS: Final[dict[Hash, int]] = {"sha-1": 20, "sha-256": 32, "sha-512": 64}
SALT_OCTETS: Final = 16
MIN_ITERATIONS: Final = 10_000
"""Source: XEP-0438 sections 6.2 (salt) and 7 (iterations)."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What the server keeps of one password for one hash function."""

    hash: Hash
    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def derive(password: str, hash_name: Hash, salt: bytes, iterations: int) -> ScramKeys:
    """Make the keys of a password. Blocking: milliseconds of PBKDF2.

    Raises: InvalidPassword before any PBKDF2, when the password is empty, too long or unpreparable.
    """
    prepared = prepare_password(password)
    salted_password = hashlib.pbkdf2_hmac(DIGESTS[hash_name], prepared, salt, iterations)
    return from_salted_password(hash_name, salt, iterations, salted_password)


def derive_all(
    password: str, iterations: int = MIN_ITERATIONS, hashes: Sequence[Hash] = HASHES
) -> tuple[ScramKeys, ...]:
    """Make the keys of a new password for each hash, each with a fresh salt. Blocking.

    Raises: InvalidPassword; ValueError when the iterations are fewer than XEP-0438 allows.
    """
    if iterations < MIN_ITERATIONS:
        raise ValueError(f"at least {MIN_ITERATIONS} iterations")
    return tuple(derive(password, name, secrets.token_bytes(SALT_OCTETS), iterations) for name in hashes)


def from_salted_password(hash_name: Hash, salt: bytes, iterations: int, salted_password: bytes) -> ScramKeys:
    """Make the keys from what PBKDF2 gave, here or at a client that upgrades its hash (XEP-0480).

    Raises: ValueError when the salted password has not the length of the hash.
    """
    if len(salted_password) != DIGEST_OCTETS[hash_name]:
        raise ValueError(f"a salted password for {hash_name} has {DIGEST_OCTETS[hash_name]} octets")
    digest = DIGESTS[hash_name]
    client_key = hmac.digest(salted_password, b"Client Key", digest)
    server_key = hmac.digest(salted_password, b"Server Key", digest)
    return ScramKeys(hash_name, salt, iterations, hashlib.new(digest, client_key).digest(), server_key)


def verify(keys: ScramKeys, password: str) -> bool:
    """Tell whether the keys are those of the password. Blocking.

    A password that could never have been set is wrong, at once: how long that takes tells nothing about the account.
    """
    try:
        candidate = derive(password, keys.hash, keys.salt, keys.iterations)
    except InvalidPassword:
        return False
    return hmac.compare_digest(candidate.stored_key, keys.stored_key)


def decoy(secret: bytes, account: str, hash_name: Hash, iterations: int) -> ScramKeys:
    """Invent keys for an account that does not exist: always the same for a name, and like real ones to look at.

    `secret` is the server's own and must outlive restarts, or a second look gives the decoy away. `account` is the
    prepared name, so that two spellings of it get the same salt, as they do for a real account. Nobody knows a password
    for these keys; still the exchange must be told that the account is unknown.
    """

    def invent(part: str) -> bytes:
        return hmac.digest(secret, f"{part}\0{hash_name}\0{account}".encode("utf-8", "surrogatepass"), "sha512")

    octets = DIGEST_OCTETS[hash_name]
    return ScramKeys(
        hash_name,
        invent("salt")[:SALT_OCTETS],
        iterations,
        invent("stored key")[:octets],
        invent("server key")[:octets],
    )


@dataclass(frozen=True, slots=True)
class Decoys:
    """What a host makes its decoys from: a secret of the server's, and the iterations that its new passwords get."""

    secret: bytes = field(repr=False)
    iterations: int

    def keys(self, account: str, hash_name: Hash) -> ScramKeys:
        """Invent keys for an account that does not exist."""
        return decoy(self.secret, account, hash_name, self.iterations)
