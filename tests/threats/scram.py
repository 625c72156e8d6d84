"""SCRAM that can be made to say anything: channel bindings, nonces, extensions (RFC 5802)."""

import base64
import hashlib
import hmac
import secrets

DIGESTS = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}


class Scram:
    """One exchange, message by message."""

    def __init__(
        self,
        user: str = "alice",
        password: str = "secret",
        mechanism: str = "SCRAM-SHA-256",
        gs2: str = "n,,",
        binding: bytes = b"",
        nonce: str = "",
    ) -> None:
        self.mechanism = mechanism
        self.digest = DIGESTS[mechanism.removeprefix("SCRAM-").removesuffix("-PLUS")]
        self.password = password
        self.gs2 = gs2
        self.binding = binding
        self.nonce = nonce or secrets.token_urlsafe(12)
        self.bare = f"n={user},r={self.nonce}"
        self.challenge = ""

    @property
    def first(self) -> bytes:
        """The client's first message."""
        return (self.gs2 + self.bare).encode()

    def fields(self, challenge: bytes) -> dict[str, str]:
        """What the server said."""
        self.challenge = challenge.decode()
        return dict(field.split("=", 1) for field in self.challenge.split(","))

    def final(self, challenge: bytes, *, iterations: int = 0, nonce: str = "", more: str = "") -> bytes:
        """The client's final message, with other iterations or another nonce if they are given."""
        fields = self.fields(challenge)
        binding = base64.b64encode(self.gs2.encode() + self.binding).decode()
        without_proof = f"c={binding},r={nonce or fields['r']}{more}"
        count = iterations or int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self.digest, self.password.encode(), base64.b64decode(fields["s"]), count)
        client_key = hmac.digest(salted, b"Client Key", self.digest)
        stored_key = hashlib.new(self.digest, client_key).digest()
        message = f"{self.bare},{self.challenge},{without_proof}".encode()
        signature = hmac.digest(stored_key, message, self.digest)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
