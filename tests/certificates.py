"""Certificates for tests: a certificate authority of our own and leaves signed by it, made once per process."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

DAY = datetime.timedelta(days=1)
DIGESTS: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class Leaf(NamedTuple):
    """A certificate, its key and the authority that signed it."""

    certificate: x509.Certificate
    key: Key
    authority: x509.Certificate

    @property
    def chain_pem(self) -> bytes:
        """The certificate and its authority, as in `fullchain.pem`."""
        return _pem(self.certificate) + _pem(self.authority)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return _pem(self.certificate)

    @property
    def authority_pem(self) -> bytes:
        """What a client trusts."""
        return _pem(self.authority)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS #8, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def pem(self) -> bytes:
        """Key and chain in one file."""
        return self.key_pem + self.chain_pem

    @property
    def der(self) -> bytes:
        """The certificate as the wire has it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


@lru_cache(maxsize=4)
def authority(name: str = "chatrix test authority") -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate authority of this name, the same one for the whole run."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key, -DAY, 3650 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


@lru_cache(maxsize=256)
def leaf(
    *names: str,
    starts: float = -1,
    expires: float = 90,
    key_type: str = "ec",
    digest: str = "sha256",
    serial: int = 0,
) -> Leaf:
    """A certificate for these DNS names, valid from `starts` to `expires` (days from now).

    `key_type` is ec, rsa, ed25519 or weak; `digest` (of the signature) is a name in DIGESTS; another `serial`
    makes another certificate.
    """
    issuer, issuer_key = authority()
    key = _new_key(key_type)
    certificate = (
        _builder(_name(names[0]), issuer.subject, key, starts * DAY, expires * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .sign(issuer_key, DIGESTS[digest])
    )
    return Leaf(certificate, key, issuer)


def self_signed(*names: str) -> Leaf:
    """A certificate signed by itself, of an Ed25519 key: one whose signature has no hash of its own."""
    key = ed25519.Ed25519PrivateKey.generate()
    subject = _name(names[0])
    certificate = (
        _builder(subject, subject, key, -DAY, 90 * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, None)
    )
    return Leaf(certificate, key, certificate)


def _new_key(key_type: str) -> Key:
    if key_type == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if key_type == "weak":
        return rsa.generate_private_key(65537, 1024)
    if key_type == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, starts: datetime.timedelta, expires: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + expires)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
