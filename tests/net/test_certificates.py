"""Tests for chatrix.net.certificates, certificate_files and tls_policy: with files and the standard library's TLS."""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from chatrix.net.certificates import DIRECT_CLIENTS, POLL, TICKET_KEYS_LAST, Certificates
from tests.certificates import Leaf, leaf, self_signed
from tests.net.loopback import client_context


class Handshake:
    """A handshake in memory between a context of ours and a client of the standard library."""

    def __init__(self, context: SSL.Context, host: str | None, offered: Sequence[str] = ()) -> None:
        self.server = SSL.Connection(context, None)
        self.server.set_accept_state()
        self.error: SSL.Error | None = None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        settings = client_context()
        settings.check_hostname = False
        if offered:
            settings.set_alpn_protocols(offered)
        self.client = settings.wrap_bio(incoming, outgoing, server_hostname=host)
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            if wire := outgoing.read():
                self.server.bio_write(wire)
            try:
                self.server.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                self.error = error
            with contextlib.suppress(SSL.WantReadError):
                incoming.write(self.server.bio_read(1 << 16))

    @property
    def certificate(self) -> bytes | None:
        """What the client saw."""
        return self.client.getpeercert(binary_form=True)


class CertificatesTestCase(TestCase):
    """Has a folder for certificates."""

    def setUp(self) -> None:
        """An empty folder."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def put(self, name: str, text: bytes) -> Path:
        """Write a file as a good tool does: under another name, then moved."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        new = path.with_name("new")
        new.write_bytes(text)
        new.replace(path)
        return path

    def served(self, certificates: Certificates, host: str) -> bytes | None:
        """The certificate a client gets that asks for this host."""
        return Handshake(certificates.context(), host).certificate


class Choosing(CertificatesTestCase):
    """SNI and ALPN."""

    def setUp(self) -> None:
        """Two hosts and their certificates."""
        super().setUp()
        self.certificates = Certificates(
            {"a.test": self.put("a.pem", leaf("a.test").pem), "b.test": self.put("b.pem", leaf("b.test").pem)}
        )
        self.assertEqual(self.certificates.reload(), [])

    def test_sni(self) -> None:
        """The host a client names chooses the certificate, and is learnt from the connection."""
        for host in ("a.test", "b.test"):
            for start in ("a.test", "b.test"):
                handshake = Handshake(self.certificates.context(start), host)
                self.assertEqual(handshake.certificate, leaf(host).der)
                self.assertEqual(self.certificates.host_of(handshake.server), host)
                self.assertEqual(self.certificates.certificate_of(handshake.server).host, host)

    def test_no_or_unknown_name(self) -> None:
        """Without a name of ours the context that was given is used, and the connection names no host."""
        for name in (None, "unknown.test"):
            for start in ("a.test", "b.test"):
                handshake = Handshake(self.certificates.context(start), name)
                self.assertEqual(handshake.certificate, leaf(start).der)
                self.assertIsNone(self.certificates.host_of(handshake.server))
                self.assertEqual(self.certificates.certificate_of(handshake.server).host, start)

    def test_spelling(self) -> None:
        """Names are compared without regard to case."""
        handshake = Handshake(self.certificates.context(), "B.Test")
        self.assertEqual(handshake.certificate, leaf("b.test").der)

    def test_unknown_host(self) -> None:
        """A host without a certificate has no context."""
        self.assertRaises(KeyError, self.certificates.context, "c.test")

    def test_international(self) -> None:
        """A host is written in Unicode, its certificate and SNI in ASCII."""
        certificate = leaf("xn--bcher-kva.test")
        certificates = Certificates({"bücher.test": self.put("buecher.pem", certificate.pem)})
        self.assertEqual(certificates.reload(), [])
        handshake = Handshake(certificates.context(), "xn--bcher-kva.test")
        self.assertEqual(certificates.host_of(handshake.server), "bücher.test")

    def test_alpn(self) -> None:
        """Where a protocol is expected it is chosen, whatever host is asked for; to offer none is allowed."""
        for host in ("a.test", "b.test"):
            for offered in (["xmpp-client"], ["h2", "xmpp-client"], []):
                handshake = Handshake(self.certificates.context(protocols=DIRECT_CLIENTS), host, offered)
                self.assertIsNone(handshake.error)
                self.assertEqual(handshake.certificate, leaf(host).der)
                expected = b"xmpp-client" if offered else b""
                self.assertEqual(handshake.server.get_alpn_proto_negotiated(), expected)

    def test_alpn_refused(self) -> None:
        """Another protocol gets the alert no_application_protocol (T8)."""
        for host in ("a.test", "b.test"):
            with self.assertRaises(ssl.SSLError) as refusal:
                Handshake(self.certificates.context(protocols=DIRECT_CLIENTS), host, ["http/1.1"])
            self.assertIn("no application protocol", str(refusal.exception))

    def test_no_alpn_after_starttls(self) -> None:
        """Where none is expected, what a client offers does not matter."""
        handshake = Handshake(self.certificates.context("a.test"), "a.test", ["http/1.1"])
        self.assertIsNone(handshake.error)
        self.assertEqual(handshake.server.get_alpn_proto_negotiated(), b"")

    def test_end_point(self) -> None:
        """The channel binding is the hash that the certificate's signature uses; Ed25519 has none."""
        for name, certificate, expected in (
            ("256", leaf("a.test"), hashlib.sha256),
            ("384", leaf("a.test", digest="sha384"), hashlib.sha384),
            ("512", leaf("a.test", digest="sha512", key_type="rsa"), hashlib.sha512),
            ("none", self_signed("a.test"), None),
        ):
            certificates = Certificates({"a.test": self.put(f"{name}.pem", certificate.pem)})
            certificates.reload()
            known = certificates.certificate("a.test")
            self.assertEqual(known.end_point, expected(certificate.der).digest() if expected else None, name)
            self.assertEqual(known.der, certificate.der)


class Files(CertificatesTestCase):
    """Where certificates are found."""

    def find(self, host: str = "a.test", source: str = "") -> tuple[Certificates, list[str]]:
        """Load, and say what is wrong."""
        certificates = Certificates({host: self.folder / source})
        return certificates, [str(problem) for problem in certificates.reload()]

    def test_layouts(self) -> None:
        """One file, certbot's folder, and a pair of files are found by host name, or by what they say."""
        good = leaf("a.test")
        layouts: dict[str, dict[str, bytes]] = {
            "one": {"a.test.pem": good.pem},
            "certbot": {"a.test/fullchain.pem": good.chain_pem, "a.test/privkey.pem": good.key_pem},
            "pair": {"a.test.crt": good.chain_pem, "a.test.key": good.key_pem},
            "named otherwise": {"mine.pem": good.pem},
            "key apart": {"mine.pem": good.chain_pem, "mine.key": good.key_pem},
            "the folder itself": {"fullchain.pem": good.chain_pem, "privkey.pem": good.key_pem, "cert.pem": b""},
        }
        for label, files in layouts.items():
            self.setUp()
            for name, text in files.items():
                self.put(name, text)
            certificates, problems = self.find()
            self.assertEqual(problems, [], label)
            self.assertEqual(self.served(certificates, "a.test"), good.der, label)

    def test_symbolic_links(self) -> None:
        """Certbot's `live` folder is links into its `archive`."""
        self.put("archive/fullchain1.pem", leaf("a.test").chain_pem)
        self.put("archive/privkey1.pem", leaf("a.test").key_pem)
        live = self.folder / "live" / "a.test"
        live.mkdir(parents=True)
        for name in ("fullchain", "privkey"):
            (live / f"{name}.pem").symlink_to(f"../../archive/{name}1.pem")
        self.assertEqual(self.find(source="live")[1], [])

    def test_wildcard(self) -> None:
        """A wildcard stands for one label, no more and no less."""
        self.put("any.pem", leaf("*.a.test").pem)
        self.assertEqual(self.find("chat.a.test")[1], [])
        for host in ("a.test", "x.chat.a.test"):
            self.assertIn("no certificate to use", self.find(host)[1][0])

    def test_last_to_expire(self) -> None:
        """Of several that are fit the one that expires last is taken, and a valid one before any other."""
        self.put("a.test.pem", leaf("a.test", expires=10).pem)
        self.put("z.pem", leaf("a.test", expires=80).pem)
        self.put("y.pem", leaf("a.test", expires=20).pem)
        self.put("future.pem", leaf("a.test", starts=30, expires=400).pem)
        self.put("other.pem", leaf("b.test", expires=500).pem)
        certificates, problems = self.find()
        self.assertEqual(problems, [])
        self.assertEqual(certificates.certificate("a.test").path.name, "z.pem")
        self.assertEqual(certificates.expires("a.test"), leaf("a.test", expires=80).certificate.not_valid_after_utc)

    def test_usable_with_a_warning(self) -> None:
        """A certificate that has expired or has another name is better than none, and is complained of."""
        for certificate, complaint in (
            (leaf("a.test", starts=-20, expires=-10), "has expired"),
            (leaf("a.test", starts=10, expires=20), "is not valid yet"),
            (leaf("b.test"), "a.test is not among its names"),
        ):
            self.put("a.pem", certificate.pem)
            certificates, problems = self.find(source="a.pem")
            self.assertEqual(len(problems), 1)
            self.assertIn(complaint, problems[0])
            self.assertEqual(certificates.certificate("a.test").der, certificate.der)
            self.assertIsInstance(certificates.context("a.test"), SSL.Context)

    def test_unusable(self) -> None:
        """What cannot be used is refused with the file and the reason, and the host has no certificate."""
        good = leaf("a.test")
        encrypted = good.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        damaged = good.key_pem.replace(b"M", b"!", 1)
        for text, complaint in (
            (b"", "without a certificate in PEM format"),
            (b"\xff" * 1000, "without a certificate in PEM format"),
            (good.chain_pem, "no private key in PEM format"),
            (leaf("b.test").key_pem + good.chain_pem, "does not belong"),
            (encrypted + good.chain_pem, "is encrypted"),
            (damaged + good.chain_pem, "damaged"),
        ):
            path = self.put("a.pem", text)
            certificates = Certificates({"a.test": path})
            problems = certificates.reload()
            self.assertIn(complaint, problems[0].text)
            self.assertIn(str(path), problems[0].text)
            self.assertEqual([problem.fatal for problem in problems], [False, True])
            self.assertRaises(KeyError, certificates.context, "a.test")

    def test_damaged_key_apart(self) -> None:
        """A key in a file of its own is named when it is damaged."""
        self.put("a.test.crt", leaf("a.test").chain_pem)
        self.put("a.test.key", leaf("a.test").key_pem.replace(b"M", b"!", 1))
        problems = self.find()[1]
        self.assertIn("a.test.key: the private key is damaged", problems[0])

    def test_missing(self) -> None:
        """A file or a folder that is not there is named."""
        problems = self.find(source="nothing.pem")[1]
        self.assertIn("nothing.pem: No such file or directory", problems[0])

    def test_chain(self) -> None:
        """The chain is sent with the certificate, wherever in the file the certificate is."""
        good = leaf("a.test")
        self.put("a.pem", good.authority_pem + good.certificate_pem + good.key_pem)
        certificates, problems = self.find(source="a.pem")
        self.assertEqual(problems, [])
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_connect_state()
        server = SSL.Connection(certificates.context(), None)
        server.set_accept_state()
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            other.bio_write(one.bio_read(1 << 16))
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        chain = client.get_peer_cert_chain(as_cryptography=True)
        self.assertEqual(chain, [good.certificate, good.authority])


class Swapping(CertificatesTestCase):
    """Reloads."""

    def setUp(self) -> None:
        """A host with a good certificate, watched."""
        super().setUp()
        self.old = leaf("a.test", serial=1)
        self.new = leaf("a.test", serial=2)
        self.source = self.put("a.pem", self.old.pem)
        self.clock = Clock()
        self.certificates = Certificates({"a.test": self.source})
        self.assertEqual(self.certificates.reload(), [])
        self.certificates.watch(self.clock)
        self.addCleanup(self.certificates.stop_watching)

    def replace(self, text: bytes, mtime: int = 1) -> None:
        """Another content, and surely another time."""
        self.put("a.pem", text)
        os.utime(self.source, (mtime, mtime))

    def poll(self) -> bytes | None:
        """Let it look, and see what is served."""
        self.clock.advance(POLL)
        return self.served(self.certificates, "a.test")

    def test_swap(self) -> None:
        """A new certificate is served to new connections, old ones live on and keep theirs."""
        before = Handshake(self.certificates.context(), "a.test")
        direct = Handshake(self.certificates.context(protocols=DIRECT_CLIENTS), "a.test")
        self.replace(self.new.pem)
        self.assertEqual(self.served(self.certificates, "a.test"), self.old.der)
        self.assertEqual(self.poll(), self.new.der)
        after = Handshake(self.certificates.context(protocols=DIRECT_CLIENTS), "a.test")
        self.assertEqual(after.certificate, self.new.der)
        for connection in (before.server, direct.server):
            self.assertEqual(self.certificates.certificate_of(connection).der, self.old.der)
        before.client.write(b"still here")
        self.assertEqual(self.certificates.certificate("a.test").der, self.new.der)

    def test_untouched(self) -> None:
        """While no file changes nothing is made anew."""
        context = self.certificates.context()
        self.poll()
        self.assertIs(self.certificates.context(), context)

    def test_bad_replacement(self) -> None:
        """Nothing bad replaces a good certificate; once it is mended it does."""
        other = leaf("b.test")
        for mtime, text in enumerate(
            (
                b"",
                self.new.chain_pem,
                other.key_pem + self.new.chain_pem,
                leaf("a.test", starts=-9, expires=-1).pem,
                leaf("a.test", starts=1, expires=9).pem,
            ),
            start=1,
        ):
            self.replace(text, mtime)
            self.assertEqual(self.poll(), self.old.der)
            problems = self.certificates.reload()
            self.assertTrue(problems)
            self.assertFalse(any(problem.fatal for problem in problems))
        self.replace(self.new.pem, 1000)
        self.assertEqual(self.poll(), self.new.der)

    def test_gone(self) -> None:
        """A file that vanishes leaves the certificate in use."""
        self.source.unlink()
        self.assertEqual(self.poll(), self.old.der)

    def test_other_hosts(self) -> None:
        """Hosts come and go with the ini."""
        second = self.put("b.pem", leaf("b.test").pem)
        self.assertEqual(self.certificates.reload({"b.test": second}), [])
        self.assertEqual(self.served(self.certificates, "b.test"), leaf("b.test").der)
        self.assertRaises(KeyError, self.certificates.context, "a.test")
        self.assertRaises(KeyError, self.certificates.expires, "a.test")

    def test_ticket_keys(self) -> None:
        """Contexts, and with them the keys of session tickets, do not live longer than a day."""
        context = self.certificates.context()
        self.clock.pump([POLL] * (int(TICKET_KEYS_LAST / POLL) + 2))
        self.assertIsNot(self.certificates.context(), context)
        self.assertEqual(self.poll(), self.old.der)

    def test_folder(self) -> None:
        """A certificate that appears in a folder is found, if it lasts longer."""
        certificates = Certificates({"a.test": self.folder})
        certificates.reload()
        clock = Clock()
        certificates.watch(clock)
        self.addCleanup(certificates.stop_watching)
        later: Leaf = leaf("a.test", expires=200)
        self.put("renewed.pem", later.pem)
        clock.advance(POLL)
        self.assertEqual(self.served(certificates, "a.test"), later.der)


class Policy(CertificatesTestCase):
    """What every context has in common."""

    def test_weak_key(self) -> None:
        """A certificate that OpenSSL refuses for its weakness is a problem, not a traceback."""
        weak: Any = leaf("a.test", key_type="weak")
        certificates = Certificates({"a.test": self.put("a.pem", weak.pem)})
        problems = certificates.reload()
        self.assertIn("OpenSSL does not take it", problems[0].text)
        self.assertTrue(problems[-1].fatal)
