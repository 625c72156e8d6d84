"""A self-signed certificate for a domain that has none yet: enough for trying out, warned about by every client."""

import contextlib
import os
import secrets
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chatrix.admin.errors import AdminError

_VALID_FOR = timedelta(days=3650)
_CLOCKS_MAY_DIFFER_BY = timedelta(days=1)


def make_certificate(path: Path, domain: str, now: datetime | None = None) -> bool:
    """Write key and certificate of a domain as one PEM file with mode 0600; False, and nothing done, if it is there.

    The file appears whole or not at all. Raises: AdminError when it cannot be written.
    """
    if os.path.lexists(path):
        return False
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        file = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(file, "wb") as writing:
            writing.write(self_signed(domain, now or datetime.now(UTC)))
            writing.flush()
            os.fsync(file)
        # A link, as a rename would replace what somebody else has put there meanwhile.
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise AdminError(f"{path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return True


def self_signed(domain: str, now: datetime) -> bytes:
    """The PEM text of a fresh EC key and of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ascii(domain)[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_MAY_DIFFER_BY)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([_alternative_name(domain)]), critical=False)
        # No CA: who tells a client to trust it trusts one server, not whatever this key may sign.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _alternative_name(domain: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(domain.strip("[]")))
    except ValueError:
        return x509.DNSName(_ascii(domain))


def _ascii(domain: str) -> str:
    import idna  # at the first certificate only: its tables take a while to load

    try:
        return domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        raise AdminError(f"{domain} cannot stand in a certificate") from None
