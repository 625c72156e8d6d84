"""Threats T: the life of a client stream, and TLS.

Not here: of T1 and T5 what concerns streams between servers; of T2 SASL2, registration and dialback are only tried, as
none of them exists yet; of T7 what a client finds out by itself (that the server gives it the means is tested).
"""

import base64
import hashlib
import re
import ssl
import subprocess

from tests.threats.oracle import LONG, Threat
from tests.threats.raw import (
    NS_BIND,
    NS_SASL,
    PROCEED,
    STARTTLS,
    RawClient,
    condition,
    header,
    plain,
    sasl,
    sasl_failure,
    stream_error,
)
from tests.threats.scram import Scram

BIND = f"<iq type='set' id='bind'><bind xmlns='{NS_BIND}'><resource>x</resource></bind></iq>".encode()
SESSION = b"<iq type='set' id='session'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"
OLD_AUTH = (
    b"<iq type='set' id='auth'><query xmlns='jabber:iq:auth'><username>alice</username><password>secret</password>"
    b"<resource>x</resource></query></iq>"
)
TLS_FIRST = stream_error("policy-violation", "TLS is required")


class StreamThreats(Threat):
    """One server for the table."""

    limits = "handshake time = 2 s\nconnections per address = 400\nauth failures = 100"

    def secured(self, to: str = "a.test") -> RawClient:
        """A client with an open stream under TLS, not logged in."""
        client = self.connect()
        client.secure(to)
        return client

    def authenticated(self) -> RawClient:
        """A client that has logged in and not opened its stream anew."""
        client = self.secured()
        client.expect_success(client.authenticate("alice"))
        return client

    def test_t1_injection(self) -> None:
        """What comes in the clear behind <starttls/> is forgotten, and nothing of it is done after the handshake."""
        for injected in (
            plain("alice", "secret"),
            b"<message to='bob@a.test' type='chat'><body>injected</body></message>",
            header() + plain("alice", "secret") + header() + BIND,
            header() + sasl("auth", Scram().first, "SCRAM-SHA-256"),
            b"<iq type='set' id='half",
        ):
            client = self.connect()
            client.open()
            client.send(STARTTLS + injected)
            client.expect(PROCEED)
            client.start_tls()
            self.assertIn(b"<mechanism>", client.open())
            self.assertEqual(b"", client.received)
            # The stream is new: nobody has begun to log in, nobody is logged in.
            client.send(sasl("response", b"x"))
            client.expect(sasl_failure("malformed-request"))
            client.send(BIND)
            client.expect_end(stream_error("not-authorized"))

    def test_t1_injection_behind_a_crowd(self) -> None:
        """It is forgotten as well behind so many elements that they are not worked off all at once."""
        for before in range(26, 31):
            client = self.connect()
            client.send(header() + sasl("auth", "", "PLAIN") * before + STARTTLS + plain("alice", "secret"))
            client.receive(b"</stream:features>")
            client.expect(sasl_failure("encryption-required") * before)
            client.expect(PROCEED)
            client.start_tls()
            client.send(BIND)
            client.expect_refused_header(stream_error("invalid-namespace"))

    def test_t1_clear_after_proceed(self) -> None:
        """After <proceed/> only TLS is understood."""
        client = self.connect()
        client.open()
        client.send(STARTTLS)
        client.expect(PROCEED)
        client.send(header(), plain("alice", "secret"))
        self.assertNotIn(b"<", client.rest())

    def test_t2_nothing_before_tls(self) -> None:
        """Before TLS no mechanism is listed, and whoever tries another way in is told to use TLS."""
        client = self.connect()
        features = client.open()
        self.assertNotIn(b"mechanism", features)
        self.assertIn(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>", features)
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "ANONYMOUS", "EXTERNAL"):
            client.send(sasl("auth", b"\0alice\0secret", mechanism))
            client.expect(sasl_failure("encryption-required"))
        client.send(b"</stream:stream>")
        client.expect_end(b"</stream:stream>")
        for attempt in (
            sasl("response", b"x"),
            sasl("abort", ""),
            (
                b"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>AGEAYg==</initial-response>"
                b"</authenticate>"
            ),
            b"<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
            b"<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>x</username></query></iq>",
            b"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
            b"<db:result xmlns:db='jabber:server:dialback' to='a.test' from='b.test'>key</db:result>",
            b"<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>",
            b"<message to='bob@a.test'><body>x</body></message>",
            b"<presence/>",
            OLD_AUTH,
            SESSION,
            BIND,
        ):
            client = self.connect()
            client.open()
            client.send(attempt)
            self.assertEqual((attempt, TLS_FIRST), (attempt, client.rest()))

    def test_t3_versions_and_ciphers(self) -> None:
        """TLS 1.2 with forward secrecy and authenticated encryption, or TLS 1.3: nothing else shakes hands."""
        weak = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
        for door in (
            ["-starttls", "xmpp", "-xmpphost", "a.test", "-port", str(self.server.port)],
            ["-port", str(self.server.tls_port)],
        ):
            for options, alert in (
                (["-tls1", "-cipher", weak], "alert protocol version"),
                (["-tls1_1", "-cipher", weak], "alert protocol version"),
                (["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"], "alert handshake failure"),
                (["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"], "alert handshake failure"),
                (["-tls1_2", "-cipher", "AES128-SHA:AES128-GCM-SHA256"], "alert handshake failure"),
                (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"], "alert handshake failure"),
                (
                    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-CCM8"],
                    "alert handshake failure",
                ),
                (["-tls1_2", "-cipher", "DHE:PSK:SRP:@SECLEVEL=0"], "alert handshake failure"),
                (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], ""),
                (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], ""),
                (["-tls1_3"], ""),
            ):
                said = self.s_client(*door, *options)
                with_what = (options, re.findall(r"(?:alert [a-z ]+|New, .*)", said))
                if alert:
                    self.assertIn(alert, said, with_what)
                    self.assertIn("Cipher is (NONE)", said, with_what)
                else:
                    self.assertNotIn("Cipher is (NONE)", said, with_what)
                    self.assertIn("Compression: NONE", said, with_what)

    def test_t3_renegotiation(self) -> None:
        """Nobody renegotiates, however often he asks: the connection does not survive the first time."""
        said = self.s_client(
            "-port", str(self.server.tls_port), "-tls1_2", "-legacy_renegotiation", given="R\n" * 100, within=10
        )
        self.assertIn("RENEGOTIATING", said)
        self.assertIn("no renegotiation", said)
        self.assertNotIn("verify return:1", said.partition("RENEGOTIATING")[2])

    def s_client(self, *options: str, given: str = "", within: float = 10) -> str:
        """Return all that openssl says."""
        command = ["openssl", "s_client", "-host", "127.0.0.1", "-servername", "a.test", *options]
        done = subprocess.run(
            command,
            input=given,
            text=True,
            check=False,
            timeout=within,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.stdout

    def test_t4_versions(self) -> None:
        """A stream without version, or with one that is not 1.x, is refused."""
        for version in ("0.9", "", "1", "1.", "x", "1.0.0", "-1.0", "१.०"):
            client = self.connect()
            client.send(header(version=version))
            client.expect_refused_header(stream_error("unsupported-version"))
        client = self.connect()
        client.send(header().replace(b" version='1.0' xmlns", b" xmlns"))
        client.expect_refused_header(stream_error("unsupported-version"))
        for version in ("1.0", "1.9", "2.0"):
            client = self.connect()
            client.send(header(version=version))
            self.assertRegex(client.receive(b"</stream:features>"), rb" version=.1\.0.")

    def test_t4_hosts(self) -> None:
        """A stream is for one of our hosts and nobody else's."""
        for to in ("other.test", "a.test.", "alice@a.test", "a.test/x", "a..test", "conference.a.test", "x" * 2000):
            client = self.connect()
            client.send(header(to))
            if to == "a.test.":
                self.assertRegex(client.receive(b"</stream:features>"), rb"from=.a\.test.")
            else:
                client.expect_refused_header(stream_error("host-unknown"))
        client = self.connect()
        client.send(header().replace(b" to='a.test'", b""))
        client.expect_refused_header(stream_error("improper-addressing", "a stream header needs `to`"))

    def test_t4_before_binding(self) -> None:
        """Nothing is sent before a resource is bound, neither before log-in nor after it."""
        for stanza in (
            b"<message to='bob@a.test'><body>x</body></message>",
            b"<presence/>",
            b"<iq type='get' id='1' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>",
            SESSION,
        ):
            client = self.secured()
            client.send(stanza)
            client.expect_end(stream_error("not-authorized"))
            client = self.authenticated()
            client.open_again()
            client.send(stanza)
            client.expect_end(stream_error("not-authorized", "bind a resource first"))
        client = self.secured()
        client.send(BIND)
        client.expect_end(stream_error("not-authorized"))

    def test_t4_no_restart(self) -> None:
        """After log-in the stream is opened anew, and only then."""
        client = self.authenticated()
        client.send(BIND)
        client.expect_refused_header(stream_error("invalid-namespace"))
        clear, again = self.connect(), self.authenticated()
        for client in (clear, again):
            client.open()
        for client in (clear, self.secured(), again, self.connect().log_in("alice")):
            client.send(header()[21:])
        client.expect_end(stream_error("unsupported-stanza-type"))

    def test_t4_bind_twice(self) -> None:
        """A second resource is refused; a session is granted, and means nothing; log-in comes once."""
        client = self.connect().log_in("alice")
        client.send(BIND)
        self.assertEqual(("cancel", "not-allowed"), condition(client.answer("bind")))
        for _ in range(2):
            client.send(SESSION)
            self.assertEqual("result", client.answer("session").get("type"))
        for again in (plain("bob", "secret"), STARTTLS):
            client = self.connect().log_in("alice")
            client.send(again)
            client.expect_end(stream_error("unsupported-stanza-type"))

    def test_t4_wrong_bind(self) -> None:
        """A request to bind that makes no sense binds nothing, and a right one still does."""
        client = self.authenticated()
        client.open_again()
        client.send(BIND.replace(b">x<", b">" + b"x" * 1024 + b"<"))
        self.assertIn(b"<bad-request", client.receive(b"</iq>"))
        client.send(BIND.replace(b">x<", b">x&#x200E;\xe2\x80\xa8<"))
        self.assertIn(b"<bad-request", client.receive(b"</iq>"))
        client.send(BIND)
        self.assertIn(b"<jid>alice@a.test/x</jid>", client.receive(b"</iq>"))

    def test_t4_old_log_in(self) -> None:
        """XEP-0078 is neither offered nor there."""
        client = self.secured()
        ask = b"<iq type='get' id='auth'><query xmlns='jabber:iq:auth'/></iq>"
        for request in (ask, OLD_AUTH):
            client.send(request)
            answer = client.receive(b"</iq>")
            self.assertIn(b"type='error'", answer)
            self.assertIn(b"<service-unavailable ", answer)
        client.send(b"<presence/>")
        client.expect_end(stream_error("not-authorized"))
        client = self.connect()
        self.assertNotIn(b"iq-auth", client.secure())
        client.authenticate("alice")
        self.assertNotIn(b"iq-auth", client.open_again())
        client = self.connect().log_in("alice")
        client.send(OLD_AUTH)
        self.assertEqual(("cancel", "service-unavailable"), condition(client.answer("auth")))

    def test_t5_another_host_after_log_in(self) -> None:
        """Who logged in on one host stays there."""
        for to, error in (
            ("b.test", stream_error("not-authorized", "logged in on another host")),
            ("other.test", stream_error("host-unknown")),
        ):
            client = self.authenticated()
            client.send(header(to))
            client.expect_refused_header(error)

    def test_t5_another_name(self) -> None:
        """Who says in the header to be somebody else than he proves to be does not get in."""
        for name in ("bob@a.test", "alice@b.test", "a.test", "@a.test", "alice@a.test@a.test"):
            client = self.authenticated()
            client.send(header(more=f" from='{name}'"))
            client.expect_refused_header(stream_error("invalid-from"))
        client = self.connect()
        client.secure(more=" from='bob@a.test'")
        scram = Scram()
        client.send(sasl("auth", scram.first, scram.mechanism))
        client.send(sasl("response", scram.final(client.challenge())))
        client.expect_end(stream_error("invalid-from"))
        for name in ("alice@a.test", "ALICE@A.TEST.", "alice@a.test/phone"):
            client = self.authenticated()
            client.send(header(more=f" from='{name}'"))
            self.assertIn(b"<bind ", client.receive(b"</stream:features>"))

    def test_t6_handshakes_that_never_end(self) -> None:
        """Whoever begins a handshake and goes on no more is cut off, and meanwhile others log in."""
        silent = []
        count = 2000 if LONG else 300
        # What OpenSSL has for a handshake, all at once; the allocator keeps it for the next ones.
        self.growth = count * 64 * 1024
        for number in range(count):
            source = f"127.2.{number // 200}.{number % 200 + 1}"
            direct = number % 2 == 0
            client = self.connect(source, direct=direct)
            if not direct:
                client.open()
                client.send(STARTTLS)
                client.expect(PROCEED)
            client.send(b"\x16")
            silent.append(client)
        self.connect().log_in("alice").barrier()
        for client in silent:
            client.expect_end()

    def test_t7_channel_binding(self) -> None:
        """A log-in bound to this channel succeeds; one bound to another, or talked out of it, does not."""
        client = self.secured()
        end_point = hashlib.sha256(client.certificate()).digest()
        for gs2, data, mechanism, error in (
            ("p=tls-server-end-point,,", end_point[:-1] + b"\0", "SCRAM-SHA-256-PLUS", "not-authorized"),
            ("p=tls-server-end-point,,", b"", "SCRAM-SHA-256-PLUS", "not-authorized"),
            ("p=tls-exporter,,", end_point, "SCRAM-SHA-256-PLUS", "not-authorized"),
            ("p=tls-exporter,,", b"\0" * 32, "SCRAM-SHA-1-PLUS", "not-authorized"),
            ("y,,", b"", "SCRAM-SHA-256", "not-authorized"),
            ("p=tls-unique,,", b"\0" * 12, "SCRAM-SHA-256-PLUS", "not-authorized"),
            ("p=x,,", b"", "SCRAM-SHA-256-PLUS", "not-authorized"),
            ("n,,", b"", "SCRAM-SHA-256-PLUS", "malformed-request"),
            ("y,,", b"", "SCRAM-SHA-256-PLUS", "malformed-request"),
            ("p=tls-server-end-point,,", end_point, "SCRAM-SHA-256", "malformed-request"),
            ("p=tls-server-end-point,,", end_point, "SCRAM-SHA-256-PLUS", ""),
        ):
            client = self.secured()
            scram = Scram(mechanism=mechanism, gs2=gs2, binding=data)
            client.send(sasl("auth", scram.first, mechanism))
            answer = client.receive(b">") + client.receive(b">")
            if b"<challenge" in answer:
                client.send(sasl("response", scram.final(base64.b64decode(answer.split(b">")[1].split(b"<")[0]))))
                answer = client.receive(b">") + client.receive(b">")
            self.assertIn(f"<{error}/>".encode() if error else b"<success ", answer, (gs2, mechanism))

    def test_t7_what_was_offered(self) -> None:
        """The server tells in its proof what it offered, so that a list that lost a line on the way is noticed."""
        client = self.connect()
        features = client.secure().decode()
        mechanisms = re.findall("<mechanism>(.*?)</mechanism>", features)
        bindings = re.findall("<channel-binding type='(.*?)'/>", features)
        self.assertEqual(["tls-exporter", "tls-server-end-point"], sorted(bindings))
        self.assertTrue(any(name.endswith("-PLUS") for name in mechanisms))
        text = "\x1e".join(sorted(mechanisms)) + "\x1f" + "\x1e".join(sorted(bindings))
        scram = Scram()
        client.send(sasl("auth", scram.first, scram.mechanism))
        fields = scram.fields(client.challenge())
        self.assertEqual(hashlib.sha256(text.encode()).digest(), base64.b64decode(fields["h"]))

    def test_t7_binding_before_tls_1_3(self) -> None:
        """With TLS 1.2 there is no exporter and no tls-unique, only the certificate."""
        client = self.connect(direct=True)
        client.start_tls(newest=ssl.TLSVersion.TLSv1_2)
        self.assertEqual([b"tls-server-end-point"], re.findall(rb"<channel-binding type='(.*?)'/>", client.open()))

    def test_t8_names(self) -> None:
        """Under one host's certificate nobody gets to another host."""
        for name, to, shown in (
            ("a.test", "a.test", "a.test"),
            ("c.test", "c.test", "c.test"),
            (None, "a.test", "a.test"),
            ("unknown.test", "a.test", "a.test"),
        ):
            client = self.connect(direct=True)
            client.start_tls(name)
            self.assertIn(shown.encode(), client.certificate())
            self.assertRegex(client.open(to), f"from=.{to}.".encode())
        for name, to in (("a.test", "c.test"), ("c.test", "a.test"), (None, "c.test"), ("unknown.test", "c.test")):
            client = self.connect(direct=True)
            client.start_tls(name)
            client.send(header(to))
            client.expect_refused_header(stream_error("host-unknown", "the TLS connection is for another host"))
        client = self.connect()
        client.open("c.test")
        client.send(STARTTLS)
        client.expect(PROCEED)
        client.start_tls("a.test")
        client.send(header("c.test"))
        client.expect_refused_header(
            stream_error("host-unknown", "the TLS connection is for another host"), host="c.test"
        )

    def test_t8_protocols(self) -> None:
        """Who wants to speak something else by ALPN is refused in the handshake."""
        for protocols in (["http/1.1"], ["h2", "http/1.1"], ["xmpp-server"]):
            client = self.connect(direct=True)
            refusal = self.assertRaises(ssl.SSLError, client.start_tls, "a.test", protocols)
            self.assertIn("no application protocol", str(refusal))
        client = self.connect(direct=True)
        client.start_tls("a.test", ["http/1.1", "xmpp-client"])
        self.assertEqual("xmpp-client", client.protocol())

    def test_t8_other_protocols(self) -> None:
        """HTTP, SMTP and TLS where they do not belong are not read as XMPP."""
        post = b"POST / HTTP/1.1\r\nHost: a.test\r\n\r\n" + header()
        for other in (
            post,
            b"GET / HTTP/1.1\r\n\r\n",
            b"EHLO a.test\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
            b"{}\n",
        ):
            client = self.connect()
            client.send(other)
            client.expect_refused_header(stream_error("not-well-formed"))
            client = self.connect(direct=True)
            client.start_tls()
            client.send(other)
            client.expect_refused_header(stream_error("not-well-formed"))
        client = self.connect(direct=True)
        client.send(post)
        self.assertNotIn(b"<", client.rest())
        self.assertNotIn(NS_SASL.encode(), client.received)
