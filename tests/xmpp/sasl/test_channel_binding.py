"""Tests of chatrix.xmpp.sasl.channel_binding: RFC 5929's end point and RFC 9266's exporter."""

import contextlib
import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.trial.unittest import TestCase

from chatrix.xmpp.sasl.channel_binding import (
    NO_CHANNEL_BINDINGS,
    ChannelBindings,
    of_tls,
    tls_server_end_point,
)

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def certify(key: Key, algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None) -> x509.Certificate:
    """Make a self-signed certificate."""
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).serial_number(1)
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36500))
    return builder.public_key(key.public_key()).sign(key, algorithm)


def der(certificate: x509.Certificate) -> bytes:
    """Encode a certificate as TLS sends it."""
    return certificate.public_bytes(serialization.Encoding.DER)


class EndPointTests(TestCase):
    """Which hash is taken of the certificate."""

    def test_hash_of_the_signature(self) -> None:
        """The certificate is hashed as its signature is."""
        key = ec.generate_private_key(ec.SECP256R1())
        for algorithm, make in (
            (hashes.SHA256(), hashlib.sha256),
            (hashes.SHA384(), hashlib.sha384),
            (hashes.SHA512(), hashlib.sha512),
        ):
            certificate = der(certify(key, algorithm))
            self.assertEqual(tls_server_end_point(certificate), make(certificate).digest())

    def test_sha1_becomes_sha256(self) -> None:
        """A certificate signed with SHA-1 is hashed with SHA-256."""
        certificate = der(certify(rsa.generate_private_key(65537, 2048), hashes.SHA256()))
        # No library signs with SHA-1 any more: rewrite the algorithm (sha256WithRSAEncryption to sha1With...).
        old = certificate.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105"))
        self.assertNotEqual(old, certificate)
        self.assertEqual(tls_server_end_point(old), hashlib.sha256(old).digest())

    def test_undefined(self) -> None:
        """Ed25519 uses no separate hash function: there is no binding."""
        self.assertIsNone(tls_server_end_point(der(certify(ed25519.Ed25519PrivateKey.generate(), None))))


class ChannelBindingsTests(TestCase):
    """What may be offered."""

    def test_nothing_else(self) -> None:
        """`tls-unique`, unknown types and empty data are refused at once."""
        for data in ({"tls-unique": b"x"}, {"tls-exporter": b""}, {"": b"x"}):
            self.assertRaises(ValueError, ChannelBindings, data)

    def test_order(self) -> None:
        """The stronger type comes first."""
        bindings = ChannelBindings({"tls-server-end-point": b"s", "tls-exporter": b"e"})
        self.assertEqual(bindings.types, ("tls-exporter", "tls-server-end-point"))
        self.assertTrue(bindings)
        self.assertFalse(NO_CHANNEL_BINDINGS)
        self.assertEqual(NO_CHANNEL_BINDINGS.types, ())


class OfTLSTests(TestCase):
    """From a TLS connection to its bindings."""

    def handshake(self, version: int) -> tuple[SSL.Connection, SSL.Connection, bytes]:
        """Shake hands in memory; give both ends and the certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = certify(key, hashes.SHA256())
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(version)
        context.use_privatekey(PKey.from_cryptography_key(key))
        context.use_certificate(X509.from_cryptography(certificate))
        server, client = SSL.Connection(context, None), SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        server.set_accept_state()
        client.set_connect_state()
        for _ in range(4):
            for end, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    end.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(end.bio_read(65536))
        return server, client, der(certificate)

    def test_tls_1_3(self) -> None:
        """Both ends find the same exporter, and both types are offered."""
        server, client, certificate = self.handshake(SSL.TLS1_3_VERSION)
        end_point = tls_server_end_point(certificate)
        bindings = of_tls(server.get_protocol_version_name(), end_point, server.export_keying_material)
        self.assertEqual(bindings.types, ("tls-exporter", "tls-server-end-point"))
        exported = client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        self.assertEqual((bindings.data["tls-exporter"], len(exported)), (exported, 32))
        self.assertEqual(bindings.data["tls-server-end-point"], hashlib.sha256(certificate).digest())

    def test_tls_1_2(self) -> None:
        """Before TLS 1.3 only the end point is offered; without one, nothing."""
        server, _, certificate = self.handshake(SSL.TLS1_2_VERSION)
        version = server.get_protocol_version_name()
        bindings = of_tls(version, tls_server_end_point(certificate), server.export_keying_material)
        self.assertEqual(bindings.types, ("tls-server-end-point",))
        self.assertFalse(of_tls(version, None, server.export_keying_material))
