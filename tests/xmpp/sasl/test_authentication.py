"""Tests of chatrix.xmpp.sasl.authentication: whole log-ins, as the stream sees them."""

import re
from base64 import b64decode, b64encode
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.sasl.authentication import Authentication, Challenge, NeedKeys, NeedPasswordCheck, Step, Success
from chatrix.xmpp.sasl.channel_binding import ChannelBindings
from chatrix.xmpp.sasl.keys import HASHES, Decoys, Hash, ScramKeys, derive
from chatrix.xmpp.sasl.mechanisms import Offer, offer
from chatrix.xmpp.sasl.scram import MECHANISMS
from tests.xmpp.sasl.scram_client import ScramClient

BINDINGS = ChannelBindings({"tls-exporter": b"\x01" * 32, "tls-server-end-point": b"\x02" * 32})
TLS = offer(True, BINDINGS)
ITERATIONS = 20
DECOYS = Decoys(b"the server's own secret", ITERATIONS)


def b64(message: bytes) -> str:
    """Encode a payload as a client does; "=" when empty."""
    return b64encode(message).decode() or "="


class Accounts:
    """A few accounts, with low iterations for speed."""

    passwords: ClassVar = {"alice": "alicepw", "bob": "bobpw"}

    def __init__(self, hashes: tuple[Hash, ...] = HASHES) -> None:
        self.keys = {
            (local, name): derive(password, name, f"salt of {local:8}".encode(), ITERATIONS)
            for local, password in self.passwords.items()
            for name in hashes
        }
        self.asked: list[str] = []

    def scram_keys(self, account: JID, hashes: tuple[Hash, ...]) -> ScramKeys | None:
        """Give the first keys there are."""
        self.asked.append(account.local)
        return next((self.keys[account.local, name] for name in hashes if (account.local, name) in self.keys), None)


class AuthenticationTestCase(TestCase):
    """A stream with the loop of Authentication's docstring."""

    def setUp(self) -> None:
        self.accounts = Accounts()
        self.authentication = self.stream()

    def stream(self, offered: Offer = TLS) -> Authentication:
        """Open another stream."""
        return Authentication("example.com", offered, DECOYS)

    def settle(self, step: Step) -> Challenge | Success:
        """Fetch what a step asks for until there is something to send."""
        while isinstance(step, NeedKeys | NeedPasswordCheck):
            if isinstance(step, NeedKeys):
                step = self.authentication.keys_found(step, self.accounts.scram_keys(step.account, step.hashes))
            else:
                step = self.authentication.password_checked(step, step.check())
        return step

    def auth(self, mechanism: str, initial: str | None) -> Challenge | Success:
        """Receive <auth/>."""
        return self.settle(self.authentication.begin(mechanism, initial))

    def response(self, text: str | None) -> Challenge | Success:
        """Receive <response/>."""
        return self.settle(self.authentication.respond(text))

    def plain(self, message: bytes) -> Challenge | Success:
        """Log in with PLAIN."""
        return self.auth("PLAIN", b64(message))

    def scram(self, client: ScramClient, mechanism: str | None = None) -> Challenge | Success:
        """Log in with SCRAM."""
        challenge = self.auth(mechanism or f"SCRAM-{client.hash_name.upper()}", b64(client.first()))
        assert isinstance(challenge, Challenge)
        return self.response(b64(client.final(challenge.data)))

    def refused(self, condition: str, call: object, *arguments: object) -> SASLError:
        """Assert that a call fails with a condition."""
        error = self.assertRaises(SASLError, call, *arguments)
        assert isinstance(error, SASLError)
        self.assertEqual(error.condition, condition, arguments)
        return error


class LogInTests(AuthenticationTestCase):
    """Log-ins that work."""

    def test_plain(self) -> None:
        """PLAIN with its initial response: one round trip, no additional data."""
        success = self.plain(b"\0alice\0alicepw")
        self.assertEqual(success, Success(JID.parse("alice@example.com"), None))
        assert isinstance(success, Success)
        self.assertIsNone(success.text)

    def test_every_scram(self) -> None:
        """Each SCRAM mechanism on offer, with the server's signature as additional data."""
        for mechanism, name in MECHANISMS.items():
            header, data = ("p=tls-exporter,,", b"\x01" * 32) if mechanism.endswith("-PLUS") else ("n,,", b"")
            client = ScramClient(name, "alice", "alicepw", header, data)
            self.authentication = self.stream()
            success = self.scram(client, mechanism)
            self.assertEqual(success, Success(JID.parse("alice@example.com"), client.server_final))
            assert isinstance(success, Success)
            self.assertEqual(success.text, b64(client.server_final))

    def test_without_initial_response(self) -> None:
        """Without initial response an empty challenge asks for it, with every kind of mechanism."""
        for nothing in (None, ""):
            self.authentication = self.stream()
            challenge = self.auth("PLAIN", nothing)
            self.assertEqual(challenge, Challenge(b""))
            self.assertEqual(challenge.text, "")
            self.assertIsInstance(self.response(b64(b"\0alice\0alicepw")), Success)
            self.authentication = self.stream()
            self.assertEqual(self.auth("SCRAM-SHA-1", nothing), Challenge(b""))
            client = ScramClient("sha-1", "bob", "bobpw")
            challenge = self.response(b64(client.first()))
            assert isinstance(challenge, Challenge)
            self.assertIsInstance(self.response(b64(client.final(challenge.data))), Success)

    def test_any_spelling_of_the_name(self) -> None:
        """Alice, ALICE and full-width alice are one account; the client hashes the name as it wrote it."""
        for name in ("Alice", "ALICE", "\uff41lice"):
            for log_in in (
                lambda name=name: self.plain(f"\0{name}\0alicepw".encode()),
                lambda name=name: self.scram(ScramClient("sha-256", name, "alicepw")),
            ):
                self.authentication = self.stream()
                success = log_in()
                assert isinstance(success, Success)
                self.assertEqual(success.account.local, "alice")

    def test_own_authzid(self) -> None:
        """The own bare JID, in any spelling, may be given as authorization identity."""
        self.assertIsInstance(self.plain(b"Alice@Example.COM\0alice\0alicepw"), Success)
        self.authentication = self.stream()
        self.assertIsInstance(self.scram(ScramClient("sha-256", "alice", "alicepw", "n,a=alice@example.com,")), Success)

    def test_downgrade_protection(self) -> None:
        """Every challenge carries the hash of this stream's own features."""
        challenge = self.auth("SCRAM-SHA-1", b64(b"n,,n=alice,r=abc"))
        assert isinstance(challenge, Challenge)
        sent = challenge.data.decode().rpartition(",h=")[2]
        self.assertEqual(len(b64decode(sent)), 20)
        self.authentication = self.stream(offer(True, BINDINGS, only=tuple(MECHANISMS)))
        challenge = self.auth("SCRAM-SHA-1", b64(b"n,,n=alice,r=abc"))
        assert isinstance(challenge, Challenge)
        self.assertNotEqual(sent, challenge.data.decode().rpartition(",h=")[2])

    def test_plain_takes_any_hash(self) -> None:
        """An account that has keys for one of the hashes only can still use PLAIN."""
        for name in HASHES:
            self.accounts = Accounts((name,))
            self.authentication = self.stream()
            self.assertIsInstance(self.plain(b"\0alice\0alicepw"), Success)

    def test_success_after_failures(self) -> None:
        """A mistyped password can be typed again on the same stream."""
        self.refused("not-authorized", self.plain, b"\0alice\0wrong")
        self.refused("not-authorized", self.scram, ScramClient("sha-1", "alice", "wrong"))
        self.assertFalse(self.authentication.exhausted)
        self.assertIsInstance(self.scram(ScramClient("sha-1", "alice", "alicepw")), Success)

    def test_no_secrets_in_logs(self) -> None:
        """No step shows a password or a proof when it is printed."""
        step = self.authentication.begin("PLAIN", b64(b"\0alice\0alicepw"))
        assert isinstance(step, NeedKeys)
        check = self.authentication.keys_found(step, self.accounts.scram_keys(step.account, step.hashes))
        self.assertIsInstance(check, NeedPasswordCheck)
        self.assertNotIn("alicepw", repr(check))
        self.assertNotIn("stored_key", repr(check))


class AuthorizationTests(AuthenticationTestCase):
    """Nobody acts as somebody else."""

    def test_plain(self) -> None:
        """A right password for alice does not make her bob."""
        for authzid in (
            b"bob",
            b"bob@example.com",
            b"alice",
            b"alice@example.com/x",
            b"example.com",
            b"@",
            b"\xc3\xbf",
        ):
            self.authentication = self.stream()
            self.refused("invalid-authzid", self.plain, authzid + b"\0alice\0alicepw")

    def test_scram(self) -> None:
        """The same with SCRAM."""
        for authzid in ("bob", "bob@example.com", "alice", "alice@example.com/x", "a=2Cb"):
            self.authentication = self.stream()
            self.refused("invalid-authzid", self.scram, ScramClient("sha-1", "alice", "alicepw", f"n,a={authzid},"))


class MechanismTests(AuthenticationTestCase):
    """Mechanisms that were not offered."""

    def test_invalid(self) -> None:
        """Anything that is not in the features is invalid-mechanism."""
        for mechanism in ("", "plain", "DIGEST-MD5", "CRAM-MD5", "SCRAM-SHA-224", "EXTERNAL", "ANONYMOUS", "X" * 999):
            self.authentication = self.stream()
            self.refused("invalid-mechanism", self.auth, mechanism, None)

    def test_switched_off(self) -> None:
        """PLAIN when it is off, hashes that are not stored, -PLUS without a binding."""
        self.authentication = self.stream(offer(True, hashes=("sha-256",), only=tuple(MECHANISMS)))
        for mechanism in ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"):
            self.refused("invalid-mechanism", self.auth, mechanism, b64(b"\0alice\0alicepw"))

    def test_plain_without_tls(self) -> None:
        """PLAIN outside TLS is encryption-required, and the password in it is not looked at."""
        self.authentication = self.stream(offer(False))
        self.refused("encryption-required", self.plain, b"\0alice\0alicepw")
        self.assertEqual(self.accounts.asked, [])

    def test_downgrade(self) -> None:
        """A client that believes the server cannot bind, which it can, is refused."""
        client = ScramClient("sha-256", "alice", "alicepw", "y,,")
        self.refused("not-authorized", self.scram, client)
        self.authentication = self.stream(offer(True))
        self.assertIsInstance(self.scram(client), Success)

    def test_wrong_binding(self) -> None:
        """A right password through somebody else's channel is refused."""
        for type_ in BINDINGS.types:
            client = ScramClient("sha-256", "alice", "alicepw", f"p={type_},,", b"\x03" * 32)
            self.authentication = self.stream()
            self.refused("not-authorized", self.scram, client, "SCRAM-SHA-256-PLUS")

    def test_never_tls_unique(self) -> None:
        """`tls-unique` is refused, whatever the client hashed."""
        client = ScramClient("sha-256", "alice", "alicepw", "p=tls-unique,,", b"\x01" * 12)
        self.refused("not-authorized", self.scram, client, "SCRAM-SHA-256-PLUS")


class MalformedTests(AuthenticationTestCase):
    """Requests that are wrong in form."""

    def test_plain(self) -> None:
        """Missing NULs, too many, an empty response."""
        for initial in ("=", b64(b"alice"), b64(b"alice\0alicepw"), b64(b"a\0alice\0alicepw\0"), b64(b"\0\0\0")):
            self.authentication = self.stream()
            self.refused("malformed-request", self.auth, "PLAIN", initial)

    def test_scram(self) -> None:
        """An empty or broken first message; an empty or broken last one."""
        for initial in ("=", b64(b"\0alice\0alicepw"), b64(b"n,,n=al=ice,r=x")):
            self.authentication = self.stream()
            self.refused("malformed-request", self.auth, "SCRAM-SHA-1", initial)
        for final in (None, "=", b64(b"c=biws"), b64(b"\xff")):
            self.authentication = self.stream()
            self.auth("SCRAM-SHA-1", b64(b"n,,n=alice,r=abc"))
            self.refused("malformed-request", self.response, final)

    def test_base64(self) -> None:
        """Bad base64 is incorrect-encoding, in <auth/> and in <response/>, and ends the attempt."""
        self.refused("incorrect-encoding", self.auth, "PLAIN", "AGFsaWNlAGFsaWNlcHc")
        self.auth("PLAIN", None)
        self.refused("incorrect-encoding", self.response, "AGFsaWNl AGFsaWNlcHc=")
        self.refused("malformed-request", self.response, b64(b"\0alice\0alicepw"))

    def test_too_long(self) -> None:
        """A payload of 64 KiB is malformed-request."""
        self.refused("malformed-request", self.auth, "PLAIN", "A" * 65536)
        self.auth("PLAIN", None)
        self.refused("malformed-request", self.response, "A" * 65536)

    def test_long_password(self) -> None:
        """A password longer than any can be is a wrong one."""
        self.refused("not-authorized", self.plain, b"\0alice\0" + b"x" * 5000)

    def test_response_without_auth(self) -> None:
        """A response to nothing is malformed-request: before, after a failure, and after PLAIN's only message."""
        self.refused("malformed-request", self.response, "=")
        self.refused("not-authorized", self.plain, b"\0alice\0wrong")
        self.refused("malformed-request", self.response, b64(b"\0alice\0alicepw"))

    def test_response_too_early(self) -> None:
        """A response while the account is looked up, or the password checked, ends the attempt for good."""
        for mechanism, initial in (("PLAIN", b"\0alice\0alicepw"), ("SCRAM-SHA-1", b"n,,n=alice,r=abc")):
            self.authentication = self.stream()
            step = self.authentication.begin(mechanism, b64(initial))
            self.refused("malformed-request", self.response, "=")
            self.refused("aborted", self.settle, step)

    def test_abort(self) -> None:
        """<abort/> is answered with aborted, and the attempt is gone."""
        self.auth("SCRAM-SHA-1", b64(b"n,,n=alice,r=abc"))
        self.refused("aborted", self.authentication.abort)
        self.refused("malformed-request", self.response, "=")
        self.assertIsInstance(self.plain(b"\0alice\0alicepw"), Success)


class AgainTests(AuthenticationTestCase):
    """More than one <auth/>."""

    def test_discards_the_first(self) -> None:
        """A second <auth/> discards the first: the first one's proof no longer counts."""
        client = ScramClient("sha-1", "alice", "alicepw")
        challenge = self.auth("SCRAM-SHA-1", b64(client.first()))
        assert isinstance(challenge, Challenge)
        self.auth("SCRAM-SHA-1", b64(client.first()))
        self.refused("not-authorized", self.response, b64(client.final(challenge.data)))

    def test_answers_do_not_cross(self) -> None:
        """Keys looked up for alice are not used for bob, who was named while the look-up ran."""
        alice = self.authentication.begin("SCRAM-SHA-1", b64(b"n,,n=alice,r=abc"))
        bob = self.authentication.begin("SCRAM-SHA-1", b64(b"n,,n=bob,r=abc"))
        assert isinstance(alice, NeedKeys)
        keys = self.accounts.scram_keys(alice.account, alice.hashes)
        self.refused("aborted", self.authentication.keys_found, alice, keys)
        self.refused("aborted", self.settle, bob)

    def test_checks_do_not_cross(self) -> None:
        """Nor is alice's right password bob's."""
        steps = []
        for name in (b"alice", b"bob"):
            step = self.authentication.begin("PLAIN", b64(b"\0" + name + b"\0alicepw"))
            assert isinstance(step, NeedKeys)
            steps.append(self.authentication.keys_found(step, self.accounts.scram_keys(step.account, step.hashes)))
        alice, _ = steps
        assert isinstance(alice, NeedPasswordCheck)
        self.refused("aborted", self.authentication.password_checked, alice, alice.check())

    def test_answered_once(self) -> None:
        """A step takes one answer."""
        step = self.authentication.begin("PLAIN", b64(b"\0alice\0alicepw"))
        assert isinstance(step, NeedKeys)
        keys = self.accounts.scram_keys(step.account, step.hashes)
        self.authentication.keys_found(step, keys)
        self.refused("aborted", self.authentication.keys_found, step, keys)

    def test_after_success(self) -> None:
        """Who is logged in does not log in again."""
        self.plain(b"\0alice\0alicepw")
        self.refused("not-authorized", self.plain, b"\0bob\0bobpw")
        self.refused("malformed-request", self.response, "=")

    def test_five_tries(self) -> None:
        """After five failures of any kind the stream has had its tries, and a right password comes too late."""
        failures = (
            lambda: self.plain(b"\0alice\0wrong"),
            lambda: self.auth("X", None),
            lambda: self.response("="),
            self.authentication.abort,
            lambda: self.auth("PLAIN", "?"),
        )
        for failure in failures:
            self.assertFalse(self.authentication.exhausted)
            self.assertRaises(SASLError, failure)
        self.assertTrue(self.authentication.exhausted)
        self.refused("not-authorized", self.plain, b"\0alice\0alicepw")

    def test_discarding_counts(self) -> None:
        """Beginning over and over is no way around the limit, nor to endless look-ups."""
        for _ in range(5):
            self.auth("SCRAM-SHA-1", b64(b"n,,n=alice,r=abc"))
        self.refused("not-authorized", self.auth, "SCRAM-SHA-1", b64(b"n,,n=alice,r=abc"))
        self.assertTrue(self.authentication.exhausted)
        self.assertEqual(len(self.accounts.asked), 5)


class UnknownAccountTests(AuthenticationTestCase):
    """Unknown accounts, impossible names and wrong passwords look the same."""

    def challenge(self, name: str, mechanism: str = "SCRAM-SHA-256") -> bytes:
        """Start as somebody; give the challenge without the nonce's server part."""
        self.authentication = self.stream()
        challenge = self.auth(mechanism, b64(f"n,,n={name},r=abc".encode()))
        assert isinstance(challenge, Challenge)
        return re.sub(rb"r=abc[^,]{32},", b"", challenge.data)

    def test_scram(self) -> None:
        """The same round trips, the same bytes apart from nonce and salt, the same error."""
        for name in HASHES:
            seen = []
            for username in ("alice", "nobody", "no=body".replace("=", "=3D"), "no body", "nobody@example.com"):
                self.authentication = self.stream()
                client = ScramClient(name, username, "wrong")
                challenge = self.auth(f"SCRAM-{name.upper()}", b64(client.first()))
                assert isinstance(challenge, Challenge)
                error = self.refused("not-authorized", self.response, b64(client.final(challenge.data)))
                shape = re.sub(rb"^(r=.{24})[^,]{32},s=[^,]{22}==,", rb"\1", challenge.data)
                seen.append((shape, len(challenge.data), error.text, error.to_element().tag))
            self.assertEqual(len(set(seen)), 1, seen)

    def test_stable(self) -> None:
        """A second look at an unknown account shows the same salt, in any spelling of its name."""
        self.assertEqual(self.challenge("nobody"), self.challenge("nobody"))
        self.assertEqual(self.challenge("nobody"), self.challenge("NoBody"))
        self.assertEqual(self.challenge("alice"), self.challenge("ALICE"))
        self.assertEqual(self.challenge("no body"), self.challenge("no body"))

    def test_salts_differ(self) -> None:
        """Unknown accounts do not share a salt, nor do the hashes of one."""
        challenges = {self.challenge(name) for name in ("nobody", "somebody", "anybody")}
        challenges.add(self.challenge("nobody", "SCRAM-SHA-512"))
        self.assertEqual(len({re.search(rb"s=([^,]*)", challenge)[1] for challenge in challenges}), 4)  # type: ignore[index]

    def test_other_host(self) -> None:
        """Every authentication with the host's decoys invents the same."""
        first = self.challenge("nobody")
        keys = DECOYS.keys("nobody", "sha-256")
        self.assertIn(b"s=" + b64encode(keys.salt) + b",i=20,", first)

    def test_plain(self) -> None:
        """PLAIN takes the same steps, hashes a password each time, and ends in the same error."""
        seen = set()
        for message in (b"\0alice\0wrong", b"\0nobody\0wrong", b"\0no body\0wrong"):
            self.authentication = self.stream()
            step = self.authentication.begin("PLAIN", b64(message))
            if isinstance(step, NeedKeys):
                step = self.authentication.keys_found(step, self.accounts.scram_keys(step.account, step.hashes))
            assert isinstance(step, NeedPasswordCheck)
            self.assertEqual((step.keys.hash, step.keys.iterations), ("sha-512", ITERATIONS))
            error = self.refused("not-authorized", self.authentication.password_checked, step, step.check())
            seen.add(error.text)
        self.assertEqual(seen, {None})

    def test_right_check_of_a_decoy(self) -> None:
        """Were a password ever right for a decoy, it would not log in."""
        for message in (b"\0nobody\0pw", b"\0no body\0pw"):
            self.authentication = self.stream()
            step = self.authentication.begin("PLAIN", b64(message))
            if isinstance(step, NeedKeys):
                step = self.authentication.keys_found(step, None)
            assert isinstance(step, NeedPasswordCheck)
            self.refused("not-authorized", self.authentication.password_checked, step, True)

    def test_known_account_without_keys_for_the_hash(self) -> None:
        """An account that lacks the hash asked for looks like one that does not exist."""
        self.accounts = Accounts(("sha-1",))
        decoyed = self.challenge("alice", "SCRAM-SHA-512")
        self.assertIn(b"s=" + b64encode(DECOYS.keys("alice", "sha-512").salt), decoyed)


class AnyBytesTests(AuthenticationTestCase):
    """Whatever comes, only SASLError goes."""

    elements = st.one_of(
        st.tuples(
            st.sampled_from(("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "X")),
            st.one_of(
                st.none(),
                st.text(max_size=8),
                st.binary(max_size=40).map(b64),
                st.tuples(st.text(max_size=4), st.text(max_size=9), st.text(max_size=4)).map(
                    lambda parts: b64("\0".join(parts).encode())
                ),
                st.text(max_size=9).map(lambda name: b64(f"n,,n={name},r=abc".encode())),
                st.text(max_size=9).map(lambda name: b64(f"p=tls-exporter,a={name},n=alice,r=abc".encode())),
            ),
        ),
        st.tuples(st.none(), st.one_of(st.none(), st.text(max_size=8), st.binary(max_size=40).map(b64))),
    )

    @settings(max_examples=300, deadline=None)
    @given(st.lists(elements, max_size=7))
    def test_any_conversation(self, conversation: list[tuple[str | None, str | None]]) -> None:
        """Any elements in any order lead to challenges and SASLErrors, and never to success."""
        self.authentication = self.stream()
        for mechanism, text in conversation:
            try:
                step = self.response(text) if mechanism is None else self.auth(mechanism, text)
            except SASLError:
                continue
            self.assertIsInstance(step, Challenge)
