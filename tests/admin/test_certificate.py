"""The first certificate of a domain: what is in it, and that it never replaces another."""

import os
import stat
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.trial.unittest import TestCase

from chatrix.admin.certificate import make_certificate, self_signed
from chatrix.admin.errors import AdminError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class SelfSigned(TestCase):
    """The PEM text."""

    def test_contents(self) -> None:
        """An EC key with its certificate, valid now, for servers, for exactly this name, and no authority."""
        pem = self_signed("localhost", NOW)
        key = load_pem_private_key(pem, None)
        certificate = x509.load_pem_x509_certificate(pem)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.assertEqual(certificate.public_key(), key.public_key())
        certificate.verify_directly_issued_by(certificate)
        self.assertTrue(certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(list(names), [x509.DNSName("localhost")])
        self.assertFalse(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)

    def test_names(self) -> None:
        """Domains beyond ASCII stand as A-labels, addresses as addresses; long ones fit."""
        long = ".".join(["a" * 60] * 4)
        for domain, name in (
            ("пример.example", x509.DNSName("xn--e1afmkfd.example")),
            ("127.0.0.1", x509.IPAddress(ip_address("127.0.0.1"))),
            ("[::1]", x509.IPAddress(ip_address("::1"))),
            (long, x509.DNSName(long)),
        ):
            certificate = x509.load_pem_x509_certificate(self_signed(domain, NOW))
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            self.assertEqual(list(names), [name])


class Making(TestCase):
    """The file."""

    def setUp(self) -> None:
        """A folder for it."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "localhost.pem"

    def test_mode(self) -> None:
        """Only its owner can read it, whatever the umask is, and nothing else stays in the folder."""
        self.addCleanup(os.umask, os.umask(0))
        self.assertTrue(make_certificate(self.path, "localhost"))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.folder), ["localhost.pem"])

    def test_never_overwrites(self) -> None:
        """A file stays as it is, and so does a link that leads nowhere."""
        self.path.write_text("mine")
        self.assertFalse(make_certificate(self.path, "localhost"))
        self.assertEqual(self.path.read_text(), "mine")
        self.path.unlink()
        self.path.symlink_to("nowhere")
        self.assertFalse(make_certificate(self.path, "localhost"))
        self.assertTrue(self.path.is_symlink())

    def test_file_that_comes_meanwhile(self) -> None:
        """A file that somebody puts there while ours is being made is not replaced."""
        self.patch(os.path, "lexists", lambda path: False)
        self.path.write_text("mine")
        self.assertFalse(make_certificate(self.path, "localhost"))
        self.assertEqual(self.path.read_text(), "mine")
        self.assertEqual(os.listdir(self.folder), ["localhost.pem"])

    def test_failure(self) -> None:
        """What the system refuses is said in a line, and leaves nothing behind."""
        missing = self.folder / "missing" / "localhost.pem"
        self.assertIn(str(missing), str(self.assertRaises(AdminError, make_certificate, missing, "localhost")))
        self.assertRaises(AdminError, make_certificate, self.path, "a..b\ud800")
        self.assertEqual(os.listdir(self.folder), [])
