"""A SCRAM client for the tests: its computations share nothing with the server's (RFC 5802 section 3)."""

from base64 import b64decode, b64encode
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ALGORITHMS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha-1": hashes.SHA1,
    "sha-256": hashes.SHA256,
    "sha-512": hashes.SHA512,
}


def mac(hash_name: str, key: bytes, message: bytes) -> bytes:
    """HMAC(key, message)."""
    context = HMAC(key, ALGORITHMS[hash_name]())
    context.update(message)
    return context.finalize()


def digest(hash_name: str, message: bytes) -> bytes:
    """H(message)."""
    context = hashes.Hash(ALGORITHMS[hash_name]())
    context.update(message)
    return context.finalize()


def salted_password(hash_name: str, password: str, salt: bytes, iterations: int) -> bytes:
    """Hi(password, salt, iterations)."""
    algorithm = ALGORITHMS[hash_name]()
    return PBKDF2HMAC(algorithm, algorithm.digest_size, salt, iterations).derive(password.encode())


@dataclass
class ScramClient:
    """One log-in; the fields may be set wrong on purpose."""

    hash_name: str
    username: str = "user"
    password: str = "pencil"
    gs2_header: str = "n,,"
    cb_data: bytes = b""
    nonce: str = "fyko+d2lbbFgONRv9qkxdawL"
    first_extensions: str = ""
    final_extensions: str = ""
    iterations: int | None = None

    def first(self) -> bytes:
        """The client-first-message."""
        self.bare = f"n={self.username},r={self.nonce}{self.first_extensions}"
        return (self.gs2_header + self.bare).encode()

    def read(self, server_first: bytes) -> dict[str, str]:
        """Take the server-first-message apart."""
        self.server_first = server_first.decode()
        return {part[0]: part[2:] for part in self.server_first.split(",")}

    def final(self, server_first: bytes, **replaced: str) -> bytes:
        """The client-final-message; `c`, `r` and `p` can be replaced after (p) or before (c, r) the proof is made."""
        fields = self.read(server_first)
        binding = replaced.get("c", b64encode(self.gs2_header.encode() + self.cb_data).decode())
        without_proof = f"c={binding},r={replaced.get('r', fields['r'])}{self.final_extensions}"
        salted = salted_password(
            self.hash_name, self.password, b64decode(fields["s"]), self.iterations or int(fields["i"])
        )
        client_key = mac(self.hash_name, salted, b"Client Key")
        auth_message = f"{self.bare},{self.server_first},{without_proof}".encode()
        signature = mac(self.hash_name, digest(self.hash_name, client_key), auth_message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.server_final = b"v=" + b64encode(
            mac(self.hash_name, mac(self.hash_name, salted, b"Server Key"), auth_message)
        )
        return f"{without_proof},p={replaced.get('p', b64encode(proof).decode())}".encode()
