"""Channel bindings: what ties a log-in to the TLS channel it came through (RFC 5929, RFC 9266, XEP-0440).

Security: a man in the middle who holds a valid certificate has another channel on each of his sides, so the proof that
a client makes for one of them is worth nothing on the other. `tls-unique` is not here: TLS 1.3 has none, and before it
only the extended master secret makes it safe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

TLS_EXPORTER: Final = "tls-exporter"
TLS_SERVER_END_POINT: Final = "tls-server-end-point"
TYPES: Final = (TLS_EXPORTER, TLS_SERVER_END_POINT)
"""Every type there is here, the stronger first."""

EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"
EXPORTER_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class ChannelBindings:
    """The channel-binding types offered on one stream, each with its data; empty when there are none."""

    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for type_, data in self.data.items():
            if type_ not in TYPES:
                raise ValueError(f"not a channel-binding type that is offered here: {type_}")
            if not data:
                raise ValueError(f"channel binding {type_} without data")

    @property
    def types(self) -> tuple[str, ...]:
        """The types on offer, the stronger first."""
        return tuple(type_ for type_ in TYPES if type_ in self.data)

    def __bool__(self) -> bool:
        return bool(self.data)


NO_CHANNEL_BINDINGS: Final = ChannelBindings()


def of_tls(version: str, end_point: bytes | None, export: Callable[[bytes, int, bytes], bytes]) -> ChannelBindings:
    """Gather what a TLS connection can be bound to.

    `version` is OpenSSL's name for the protocol ("TLSv1.3"), `end_point` the `tls_server_end_point` of the certificate
    this connection was served (made once per certificate), `export` the connection's `export_keying_material`.

    Before TLS 1.3 the exporter is safe only with the extended master secret too, which pyOpenSSL cannot tell of; there
    `tls-server-end-point` stands alone.

    Source: RFC 9266 sections 2 and 3.
    """
    data: dict[str, bytes] = {}
    if version == "TLSv1.3":
        data[TLS_EXPORTER] = export(EXPORTER_LABEL, EXPORTER_OCTETS, b"")
    if end_point is not None:
        data[TLS_SERVER_END_POINT] = end_point
    return ChannelBindings(data)


def tls_server_end_point(certificate: bytes) -> bytes | None:
    """Hash a certificate (DER, as it is sent) as its own signature does, but never with MD5 or SHA-1.

    None when the signature has no single hash function (Ed25519): then the binding is undefined.

    Source: RFC 5929 section 4.1.
    """
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate)
    return digest.finalize()
