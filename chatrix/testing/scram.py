"""The client's side of SCRAM (RFC 5802, RFC 7677), without channel binding. Deliberately not the server's code."""

import base64
import hashlib
import hmac
import secrets

HASHES = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
"""Mechanism -> hash, the best one first."""


class ScramFailed(Exception):
    """The server's messages do not fit, or it does not know the password."""


class ScramClient:
    """One log-in: `first()`, then `final(challenge)`, then `check(success)`."""

    def __init__(self, mechanism: str, username: str, password: str, nonce: str = "") -> None:
        self._hash = HASHES[mechanism]
        self._password = password.encode()
        self._nonce = nonce or secrets.token_urlsafe(18)
        self._first_bare = f"n={username.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        """Return the client's first message."""
        return b"n,," + self._first_bare.encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the client's final message with its proof. Raises: ScramFailed."""
        server_first = challenge.decode()
        fields = dict(field.split("=", 1) for field in server_first.split(","))
        if not fields.get("r", "").startswith(self._nonce) or fields["r"] == self._nonce:
            raise ScramFailed("the server's nonce does not continue ours")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = self._hmac(salted, b"Client Key")
        without_proof = f"c={base64.b64encode(b'n,,').decode()},r={fields['r']}"
        message = f"{self._first_bare},{server_first},{without_proof}".encode()
        signature = self._hmac(hashlib.new(self._hash, client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, success: bytes) -> None:
        """Check that the server knows the password as well. Raises: ScramFailed."""
        expected = b"v=" + base64.b64encode(self._server_signature)
        if not self._server_signature or not hmac.compare_digest(success.split(b",")[0], expected):
            raise ScramFailed("the server's signature is wrong")

    def _hmac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self._hash).digest()
