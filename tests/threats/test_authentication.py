"""Threats A: log-in.

Elsewhere: A8 and A12 are lints over all of chatrix, in tests/test_lint.py. Not here, as it does not exist yet: A4's
upgrade of a hash (XEP-0480), A6's X-Forwarded-For, A7 in registration and HTTP, A9 (SASL2, FAST), A10 (stream
management), of A11 what is not a session, A13 on registration, A14 (EXTERNAL, which is not offered and refused).
"""

import base64
import hashlib
import re
import statistics
import time
from pathlib import Path

from lxml import etree
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from chatrix.server.limits import Failures, origin
from chatrix.testing.client import Client
from chatrix.testing.host import MemoryHost
from chatrix.testing.login import open_stream
from chatrix.xmpp.sasl import keys
from chatrix.xmpp.sasl.scram import new_nonce
from tests.certificates import leaf
from tests.threats.oracle import LONG, Threat
from tests.threats.raw import RawClient, plain, sasl, sasl_failure, stream_error
from tests.threats.scram import Scram

WRONG = sasl_failure("not-authorized")
TOO_MANY = stream_error("policy-violation", "too many failed log-ins")
HOUR = 3600.0


class AuthenticationThreats(Threat):
    """One server for the table; an address is banned after five failures, as by default."""

    def secured(self, source: str = "") -> RawClient:
        """A client with an open stream under TLS, not logged in."""
        client = self.connect(source)
        client.secure()
        return client

    def begin(self, scram: Scram, source: str = "") -> tuple[RawClient, bytes]:
        """Begin an exchange on a new connection; return the challenge."""
        client = self.secured(source)
        client.send(sasl("auth", scram.first, scram.mechanism))
        return client, client.challenge()

    def outcome(self, client: RawClient) -> bytes:
        """What the next failure or success is."""
        if b"<success" in client.receive(b">"):
            return b"success"
        return client.receive(b">").strip(b"</>")

    def account(self) -> str:
        """The name of an account that no other test fails to log in to: the more failures, the slower the answers."""
        type(self)._accounts += 1
        return f"u{self._accounts}"

    _accounts = 0

    def another(self) -> str:
        """One more address that no other test comes from."""
        self._source = ""
        return self.source

    def test_a1_plain(self) -> None:
        """Nobody acts as somebody else: the authorization identity is one's own bare JID, or is not given."""
        for authzid in (
            "bob",
            "bob@a.test",
            "alice",
            "alice@b.test",
            "a.test",
            "alice@a.test/x",
            "@a.test",
            "a b@a.test",
        ):
            client = self.secured(self.another())
            client.send(plain("alice", "secret", authzid))
            client.expect(sasl_failure("invalid-authzid"))
        for authzid in ("", "alice@a.test", "ALICE@A.Test."):
            client = self.secured()
            client.send(plain("alice", "secret", authzid))
            client.expect(sasl("success", "").replace(b"></success>", b"/>"))

    def test_a1_scram(self) -> None:
        """So it is with SCRAM."""
        for authzid in ("bob", "bob@a.test", "alice", "bob=2Calice"):
            client = self.secured(self.another())
            scram = Scram(gs2=f"n,a={authzid},")
            client.send(sasl("auth", scram.first, scram.mechanism))
            client.expect(sasl_failure("invalid-authzid"))
        scram = Scram(gs2="n,a=alice@a.test,")
        client, challenge = self.begin(scram)
        client.send(sasl("response", scram.final(challenge)))
        self.assertEqual(b"success", self.outcome(client))

    def test_a2_malformed(self) -> None:
        """Each kind of nonsense has its failure, and after it a right log-in still works."""
        for nonsense, failure in (
            (sasl("auth", b"alice", "PLAIN"), "malformed-request"),
            (sasl("auth", b"\0alice", "PLAIN"), "malformed-request"),
            (sasl("auth", b"\0alice\0sec\0ret", "PLAIN"), "malformed-request"),
            (sasl("auth", b"\0\0secret", "PLAIN"), "malformed-request"),
            (sasl("auth", b"\0alice\0", "PLAIN"), "malformed-request"),
            (sasl("auth", b"\0alice\0\xff", "PLAIN"), "malformed-request"),
            (sasl("auth", "=", "PLAIN"), "malformed-request"),
            (sasl("auth", "AGFsaWNl*", "PLAIN"), "incorrect-encoding"),
            (sasl("auth", "AGFsaWNl\nAHNlY3JldA==", "PLAIN"), "incorrect-encoding"),
            (sasl("auth", "AGFsaWNlAHNlY3JldA", "PLAIN"), "incorrect-encoding"),
            (sasl("auth", "AGFsaWNlAHNlY3JldB==", "PLAIN"), "incorrect-encoding"),
            (sasl("auth", "é", "PLAIN"), "incorrect-encoding"),
            (sasl("auth", b"", "SCRAM-SHA-1"), "malformed-request"),
            (sasl("auth", b"\0" * 1000, "SCRAM-SHA-1"), "malformed-request"),
            (sasl("auth", b"", ""), "invalid-mechanism"),
            (sasl("auth", b"x", "scram-sha-1"), "invalid-mechanism"),
            (sasl("auth", b"x", "EXTERNAL"), "invalid-mechanism"),
            (sasl("auth", b"x", "ANONYMOUS"), "invalid-mechanism"),
            (sasl("auth", b"x", "DIGEST-MD5"), "invalid-mechanism"),
            (sasl("response", b"x"), "malformed-request"),
            (sasl("abort", "").replace(b"></abort>", b"/>"), "aborted"),
        ):
            client = self.secured()
            client.send(nonsense)
            self.assertEqual((nonsense, failure.encode()), (nonsense, self.outcome(client)))
            client.receive(b"</failure>")
            client.expect_success(client.authenticate("alice"))

    def test_a2_too_long(self) -> None:
        """A payload that no mechanism needs is not even collected."""
        client = self.secured()
        client.send(sasl("auth", b"\0alice\0" + b"s" * 65_536, "PLAIN"))
        client.expect_end(stream_error("policy-violation", "stanza too big"))

    def test_a2_order(self) -> None:
        """An exchange that begins anew forgets the first; one that was aborted is over."""
        first = Scram(self.account())
        client, challenge = self.begin(first)
        final = first.final(challenge)
        second = Scram("alice")
        client.send(sasl("auth", second.first, second.mechanism))
        client.challenge()
        client.send(sasl("response", final))
        client.expect(WRONG)
        client, challenge = self.begin(first)
        client.send(sasl("abort", ""))
        client.expect(sasl_failure("aborted"))
        client.send(sasl("response", first.final(challenge)))
        client.expect(sasl_failure("malformed-request"))
        client.send(sasl("auth", "", "PLAIN"))
        client.expect(sasl("challenge", "").replace(b"></challenge>", b"/>"))
        client.send(sasl("response", b"\0alice\0secret"))
        self.assertEqual(b"success", self.outcome(client))

    def test_a2_tries(self) -> None:
        """Five tries, then the stream is closed, whatever was wrong with them."""
        for attempt, failure in (
            (sasl("auth", b"x", "EXTERNAL"), sasl_failure("invalid-mechanism")),
            (sasl("auth", b"x", "PLAIN"), sasl_failure("malformed-request")),
            (sasl("abort", ""), sasl_failure("aborted")),
        ):
            client = self.secured()
            client.send(attempt * 6)
            client.expect_end(failure * 5, TOO_MANY)

    def test_a3_final_message(self) -> None:
        """A proof is for one exchange: other nonces, bindings and extensions make it worthless."""
        for more, nonce, failure in (
            ("", "altered", "not-authorized"),
            ("", "{nonce}", "not-authorized"),
            ("", "{server}x", "not-authorized"),
            (",m=1", "", "malformed-request"),
            (",r=1", "", "malformed-request"),
            (",x=1,x=2", "", "malformed-request"),
            (",c=biws", "", "malformed-request"),
            (",x=1", "", "success"),
        ):
            scram = Scram(self.account())
            client, challenge = self.begin(scram, self.another())
            wrong = nonce.format(nonce=scram.nonce, server=scram.fields(challenge)["r"])
            client.send(sasl("response", scram.final(challenge, nonce=wrong, more=more)))
            self.assertEqual((more, nonce, failure.encode()), (more, nonce, self.outcome(client)))
        scram = Scram()
        client, challenge = self.begin(scram, self.another())
        scram.gs2 = "n,a=alice@a.test,"
        client.send(sasl("response", scram.final(challenge)))
        client.expect(WRONG)

    def test_a3_first_message(self) -> None:
        """Mandatory extensions, attributes given twice and names without sense are refused at once."""
        for first in (
            "n,,m=x,n=alice,r=abc",
            "n,,n=alice,n=bob,r=abc",
            "n,,n=alice,r=abc,r=def",
            "n,,n=alice,r=",
            "n,,n=,r=abc",
            "n,,n=ali=ce,r=abc",
            "n,,n=alice,r=a b",
            "n,,r=abc,n=alice",
            "n,n=alice,r=abc",
            "x,,n=alice,r=abc",
            "n,,n=alice,r=abc,x=1,x=1",
        ):
            client = self.secured(self.another())
            client.send(sasl("auth", first.encode(), "SCRAM-SHA-256"))
            self.assertEqual((first, b"malformed-request"), (first, self.outcome(client)))

    def test_a3_replay(self) -> None:
        """With the same nonce of the client's, what once was right is wrong the next time."""
        scram = Scram(nonce="again")
        client, challenge = self.begin(scram)
        final = scram.final(challenge)
        client.send(sasl("response", final))
        self.assertEqual(b"success", self.outcome(client))
        client, another = self.begin(Scram(nonce="again"))
        self.assertNotEqual(challenge, another)
        client.send(sasl("response", final))
        client.expect(WRONG)

    def test_a3_nonces(self) -> None:
        """The server's nonces have 192 bits, and none comes twice."""
        count = 100_000
        nonces = {new_nonce() for _ in range(count)}
        self.assertEqual(count, len(nonces))
        self.assertEqual({24}, {len(base64.urlsafe_b64decode(nonce)) for nonce in nonces})

    def test_a4_iterations(self) -> None:
        """At least 10 000, for those who exist and those who do not; and a proof with fewer is wrong."""
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            for user in (self.account(), mechanism):
                scram = Scram(user, mechanism=mechanism)
                client, challenge = self.begin(scram, self.another())
                self.assertGreaterEqual(int(scram.fields(challenge)["i"]), 10_000)
                client.send(sasl("response", scram.final(challenge, iterations=4096)))
                client.expect(WRONG)

    def test_a5_mechanisms(self) -> None:
        """What is listed is what we want to be used; what a host has switched off is neither listed nor accepted."""
        client = self.connect()
        self.assertNotIn(b"<mechanism>", client.open())
        listed = re.findall(rb"<mechanism>(.*?)</mechanism>", self.connect().secure())
        self.assertEqual(
            [
                b"SCRAM-SHA-512-PLUS",
                b"SCRAM-SHA-256-PLUS",
                b"SCRAM-SHA-1-PLUS",
                b"SCRAM-SHA-512",
                b"SCRAM-SHA-256",
                b"SCRAM-SHA-1",
                b"PLAIN",
            ],
            listed,
        )
        client = self.connect()
        listed = re.findall(rb"<mechanism>(.*?)</mechanism>", client.secure("c.test"))
        self.assertEqual([b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"], listed)
        for mechanism in ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-512-PLUS"):
            client.send(sasl("auth", b"\0alice\0secret", mechanism))
            client.expect(sasl_failure("invalid-mechanism"))

    def test_a6_ban(self) -> None:
        """After five failures an address is out, on every connection; the account is not, from elsewhere."""
        client, other, user = self.secured(), self.secured(), self.account()
        client.send(plain(user, "wrong") * 5)
        client.expect_end(WRONG * 5, TOO_MANY)
        for connection in (self.connect(), self.connect(direct=True)):
            connection.expect_end()
        other.send(plain(user, "wrong again"))
        other.expect_end(WRONG, TOO_MANY)
        self.assertEqual(f"{user}@a.test/raw", self.connect(self.another()).log_in(user).jid)

    def test_a6_no_lock(self) -> None:
        """An account under attack from everywhere still lets in who has its password, at once."""
        user = self.account()
        for _ in range(7):
            client = self.secured(self.another())
            client.send(plain(user, "wrong"))
            client.expect(WRONG)
        self.assertEqual(f"{user}@a.test/raw", self.connect(self.another()).log_in(user).jid)

    def test_a6_counting(self) -> None:
        """How long a ban lasts, how slow an attacked account is answered, and that the count is forgotten."""
        failures = Failures(5, 6 * HOUR)
        for number in range(5):
            self.assertFalse(failures.banned("192.0.2.1", number))
            failures.failed("192.0.2.1", "alice@a.test", number)
        self.assertTrue(failures.banned("192.0.2.1", 6 * HOUR))
        self.assertFalse(failures.banned("192.0.2.1", 6 * HOUR + 5))
        self.assertFalse(failures.banned("192.0.2.2", 5))
        waits = [failures.failed(f"192.0.2.{number}", "alice@a.test", 5) for number in range(2, 10)]
        self.assertEqual(sorted(waits), waits)
        self.assertGreater(waits[0], 0)
        self.assertEqual(8, waits[-1])
        self.assertEqual(0, failures.failed("192.0.2.99", "bob@a.test", 5))

    def test_a6_bounded(self) -> None:
        """A million names and addresses cost no more memory than the table has places, and nothing is kept in clear."""
        failures = Failures(5, HOUR)
        self.patch(__import__("chatrix.server.limits").server.limits, "FAILURES_KEPT", 100)
        for number in range(1000):
            failures.failed(f"192.0.2.{number}", f"name{number}@a.test", number)
        self.assertEqual(100, len(failures._failures))
        self.assertNotIn("name", repr(failures._failures))

    def test_a6_networks(self) -> None:
        """IPv6 is counted by /64, of which a customer has one; IPv4 in IPv6 is IPv4."""
        self.assertEqual(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff:ffff:ffff:ffff"))
        self.assertEqual(origin("fe80::1%eth0"), origin("fe80::2%eth0"))
        self.assertNotEqual(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"))
        self.assertEqual(origin("192.0.2.1"), origin("::ffff:192.0.2.1"))
        self.assertNotEqual(origin("192.0.2.1"), origin("192.0.2.2"))

    def test_a7_same_answers(self) -> None:
        """An unknown account and a wrong password: the same steps, the same bytes, but for what is random."""
        seen = []
        for user in (self.account(), "nothing", "no body", "nobody@a.test", "ß" * 600):
            client = self.secured(self.another())
            client.send(plain(user, "wrong"))
            client.expect(WRONG)
            steps = []
            for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
                scram = Scram(user, "wrong", mechanism)
                client.send(sasl("auth", scram.first, mechanism))
                challenge = client.challenge()
                fields = scram.fields(challenge)
                steps.append(
                    (list(fields), len(fields["r"]) - len(scram.nonce), len(fields["s"]), fields["i"], fields["h"])
                )
                client.send(sasl("response", scram.final(challenge)))
                client.expect(WRONG)
            seen.append(steps)
            client.send(plain(user, "wrong"))
            client.expect_end(WRONG, TOO_MANY)
        self.assertEqual([seen[0]] * len(seen), seen)

    def test_a7_stable_salt(self) -> None:
        """Who does not exist has the same salt each time, whatever his name is spelt like, and another one by hash."""
        salts = {}
        for user in ("nobody", "alice"):
            for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
                found = set()
                for spelling in (user, user, user.upper(), user.capitalize()):
                    scram = Scram(spelling, mechanism=mechanism)
                    found.add(scram.fields(self.begin(scram)[1])["s"])
                self.assertEqual(1, len(found))
                salts[user, mechanism] = found.pop()
        self.assertEqual(4, len(set(salts.values())))

    def test_a7_stanzas(self) -> None:
        """Requests to an account that is offline, unknown, or unknown to us: the same answer."""
        bob = self.connect().log_in("bob")
        bob.send(b"<presence/>")
        bob.barrier()
        client = self.connect().log_in("alice")
        for kind, payload in (
            ("get", "<ping xmlns='urn:xmpp:ping'/>"),
            ("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
            ("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>"),
            ("get", "<query xmlns='jabber:iq:version'/>"),
            ("get", "<query xmlns='jabber:iq:last'/>"),
            ("get", "<vCard xmlns='vcard-temp'/>"),
            ("get", "<query xmlns='jabber:iq:roster'/>"),
            ("set", "<query xmlns='jabber:iq:roster'><item jid='eve@a.test'/></query>"),
        ):
            for resource in ("", "/raw", "/none"):
                answers = []
                for name in ("bob", "bystander", "nobody"):
                    if (name, resource) == ("bystander", "/raw"):
                        continue
                    client.send(f"<iq type='{kind}' id='{name}' to='{name}@a.test{resource}'>{payload}</iq>")
                    answer = etree.tostring(client.answer(name)).decode()
                    answers.append(answer.replace(name, "NAME"))
                self.assertEqual(1, len(set(answers)), answers)

    def test_a11_password_and_account(self) -> None:
        """A changed password and a deleted account end the sessions there are, and the old password opens no more."""
        self.server.control("user", "add", "victim@a.test", "--stdin", given="first\n")
        for change, given, text in (
            (("password",), "second\n", "the password was changed"),
            (("delete",), "", "the account was deleted"),
        ):
            password = "first" if given else "second"
            sessions = [self.connect().log_in("victim", password, f"r{number}") for number in range(2)]
            self.server.control("user", *change, "victim@a.test", *(("--stdin",) if given else ()), given=given)
            for session in sessions:
                self.assertTrue(session.rest().endswith(stream_error("not-authorized", text)))
            self.assertNotIn(b"<success", self.secured().authenticate("victim", password))

    def test_a13_spellings(self) -> None:
        """Every spelling of a name that is prepared to it opens its account; what cannot be a name opens none."""
        for spelling in ("ALICE", "Alice", "ａｌｉｃｅ"):
            client = self.secured()
            client.expect_success(client.authenticate(spelling))
            client.bind("x")
            self.assertEqual("alice@a.test/x", client.jid)
        for wrong in (
            "alice\u200b",
            "аlice",
            "alice ",
            "alice@a.test",
            "alice/x",
            "a" * 1023,
            "a" * 1024,
            "ALICE\u0301",
        ):
            client = self.secured(self.another())
            self.assertEqual(WRONG, client.authenticate(wrong))

    def test_a15_length(self) -> None:
        """A password that cannot be one is refused before it is hashed."""
        known = keys.derive("secret", "sha-256", b"salt", 10_000)
        self.patch(hashlib, "pbkdf2_hmac", lambda *_: self.fail("hashed"))
        for password in ("s" * (1 << 20), "é" * (1 << 20), "", "\0"):
            self.assertFalse(keys.verify(known, password))
        client = self.secured()
        client.send(sasl("auth", b"\0alice\0" + b"s" * (1 << 20), "PLAIN"))
        client.expect_end(stream_error("policy-violation", "stanza too big"))
        client = self.secured()
        client.send(plain("alice", "s" * 5000))
        client.expect(WRONG)

    def test_a15_hashing(self) -> None:
        """Passwords are hashed beside the reactor: a wave of log-ins with PLAIN lets others be served."""
        clients = [self.secured(self.another()) for _ in range(100 if LONG else 30)]
        for number, client in enumerate(clients):
            client.send(plain(f"nobody{number}", "wrong") * 4)
        for client in clients:
            client.expect(WRONG * 4)

    def test_passwords_are_not_logged(self) -> None:
        """Neither a right password nor a wrong one, nor what carries it, comes into the log."""
        for password in ("secret", "mistyped-but-close"):
            client = self.secured()
            client.send(plain("alice", password))
            client.receive(b">")
            payload = base64.b64encode(f"\0alice\0{password}".encode()).decode()
            for line in self.server.program.log[self._seen :]:
                self.assertNotIn(payload, line)
                self.assertNotIn(f"'{password}'", line)
                self.assertNotIn("mistyped", line)


class InTime(TestCase):
    """A7: whether an account exists cannot be told from how long an answer takes."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]
        """A server in memory that bans nobody."""
        certificate = leaf("localhost")
        self.host = MemoryHost(
            "localhost", certificate.pem, certificate.authority_pem, Path(self.mktemp()), reactor, options=""
        )
        await self.host.start()
        self.addCleanup(self.host.stop)
        server = self.host.worker.server
        assert server is not None
        server.failures.most = 0
        for number in range(20):
            await self.host.add_account(f"user{number}@localhost", "secret")

    async def connect(self) -> Client:
        """A client with an open stream under TLS."""
        client = Client("eve", "eve@localhost", "", self.host.clock, 30)
        await self.host.connect(client, tls=True)
        await open_stream(client)
        self.addCleanup(client.abort)
        return client

    async def attempt(self, client: Client, user: str) -> tuple[float, float]:
        """Fail once by SCRAM; return the seconds until the challenge and until the failure."""
        scram = Scram(user, mechanism="SCRAM-SHA-256")
        start = time.perf_counter()
        client.send(sasl("auth", scram.first, scram.mechanism))
        challenge = await client.next()
        challenged = time.perf_counter()
        nonce = scram.fields(base64.b64decode(challenge.text or ""))["r"]
        response = sasl("response", f"c=biws,r={nonce},p={base64.b64encode(bytes(32)).decode()}".encode())
        again = time.perf_counter()
        client.send(response)
        failure = await client.next()
        end = time.perf_counter()
        self.assertIn("not-authorized", etree.tostring(failure).decode())
        return challenged - start, end - again

    async def test_a7_scram(self) -> None:
        """The medians for known and unknown names are less than half a millisecond apart, at both steps."""
        times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for number in range(1000 if LONG else 150):
            client = await self.connect()
            for order in range(4):
                known = (number + order) % 2 == 0
                name = f"user{number % 20}" if known else f"nobody{number % 20}"
                times[known].append(await self.attempt(client, name))
            client.abort()
            await client.disconnected()
        for step in range(2):
            of_known, of_unknown = (statistics.median(each[step] for each in times[kind]) for kind in (True, False))
            self.assertLess(abs(of_known - of_unknown), 0.0005, f"step {step + 1}: {of_known} and {of_unknown}")
