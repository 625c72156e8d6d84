"""Certificates and their keys as files: where an admin's tools put them, and whether they are fit for use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import idna
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

SIGNING_KEYS = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
"""What a TLS server can use (DSA and X25519 keys exist, too)."""

CERTBOT = ("fullchain.pem", "privkey.pem")
"""Certbot's names, in a folder for each certificate."""

PARTS = {*CERTBOT, "cert.pem", "chain.pem"}
"""Files of certbot's that are no certificate with its key by themselves."""


class CertificateError(ValueError):
    """Files that cannot be used as a certificate; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a certificate is, or would be."""

    certificate: Path
    key: Path
    """The same file, when it holds both."""

    @property
    def signature(self) -> tuple[object, ...]:
        """Changes whenever one of the files does."""
        return (*_stat(self.certificate), *_stat(self.key))

    def is_named(self, host: str) -> bool:
        """If the file or its folder has the name of this host."""
        return not {host, ascii_name(host)}.isdisjoint((self.certificate.stem, self.certificate.parent.name))


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain and its private key."""

    place: Place
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def expires(self) -> datetime:
        """The end of its last second, in UTC."""
        return self.certificate.not_valid_after_utc

    def is_valid_at(self, now: datetime) -> bool:
        """If it has begun and has not expired."""
        return self.certificate.not_valid_before_utc <= now <= self.certificate.not_valid_after_utc

    def covers(self, host: str) -> bool:
        """If one of its names (subject alternative names of type DNS) is this host, or a wildcard one level above."""
        try:
            names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, ValueError):
            return False
        wanted = ascii_name(host)
        parent = wanted.partition(".")[2]
        for name in names.get_values_for_type(x509.DNSName):
            if ascii_name(name) == wanted or (parent and name.lower() == f"*.{parent}"):
                return True
        return wanted in (str(address) for address in names.get_values_for_type(x509.IPAddress))


def ascii_name(host: str) -> str:
    """A host's name as certificates and SNI have it (A-labels, lower case)."""
    host = host.lower().rstrip(".")
    if not host.isascii():
        with suppress(idna.IDNAError):
            return idna.encode(host).decode("ascii")
    return host


def places(source: Path) -> Iterator[Place]:
    """Every place under this file or folder that may have a certificate with its key, existing or not.

    Raises: CertificateError when the folder cannot be read.
    """
    if not source.is_dir():
        yield Place(source, source)
        return
    try:
        entries = sorted(source.iterdir())
    except OSError as error:
        raise CertificateError(f"{source}: {error.strerror}") from None
    for folder in (source, *entries):
        if (folder / CERTBOT[0]).exists():
            yield Place(folder / CERTBOT[0], folder / CERTBOT[1])
    for entry in entries:
        key = entry.with_suffix(".key")
        if entry.suffix == ".crt" or (entry.suffix == ".pem" and key.exists()):
            yield Place(entry, key)
        elif entry.suffix == ".pem" and entry.name not in PARTS:
            yield Place(entry, entry)


def read(place: Place) -> Pair:
    """Read and check what does not depend on host or time: it is complete, and the key belongs to the certificate.

    Raises: CertificateError.
    """
    text = _text(place.certificate)
    key_text = text if place.key == place.certificate else _text(place.key)
    try:
        certificates = x509.load_pem_x509_certificates(text)
    except ValueError:
        raise CertificateError(f"{place.certificate}: damaged, or without a certificate in PEM format") from None
    if b"PRIVATE KEY-----" not in key_text:
        raise CertificateError(f"{place.key}: no private key in PEM format")
    try:
        key = serialization.load_pem_private_key(key_text, None)
    except TypeError:
        raise CertificateError(f"{place.key}: the private key is encrypted, and nobody is here to decrypt it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{place.key}: the private key is damaged") from None
    if not isinstance(key, SIGNING_KEYS):
        raise CertificateError(f"{place.key}: a private key of a type that TLS does not use")
    # Authorities put the host's certificate first, people do not always.
    for certificate in certificates:
        if certificate.public_key() == key.public_key():
            chain = tuple(other for other in certificates if other is not certificate)
            return Pair(place, certificate, chain, key)
    raise CertificateError(f"{place.key}: the private key does not belong to the certificate in {place.certificate}")


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None


def _stat(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except OSError:
        return (path, None)
    return (path, found.st_mtime_ns, found.st_size, found.st_ino)
