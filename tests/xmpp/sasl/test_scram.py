"""Tests of chatrix.xmpp.sasl.scram: the vectors of the RFCs, and everything a client may get wrong."""

import hashlib
import re
from base64 import b64decode, b64encode
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.sasl.channel_binding import NO_CHANNEL_BINDINGS, ChannelBindings
from chatrix.xmpp.sasl.keys import HASHES, Hash, ScramKeys, decoy, derive
from chatrix.xmpp.sasl.scram import MECHANISMS, Advertised, ScramExchange, downgrade_hash, new_nonce
from tests.xmpp.sasl.scram_client import ScramClient

BOTH = ChannelBindings({"tls-exporter": b"\x01" * 32, "tls-server-end-point": b"\x02" * 32})
SALT = b64decode("QSXCR+Q6sek8bf92")
KEYS: dict[Hash, ScramKeys] = {name: derive("pencil", name, SALT, 100) for name in HASHES}
SHA_256 = KEYS["sha-256"]


def exchange_for(hash_name: Hash, plus: bool = False, bindings: ChannelBindings = NO_CHANNEL_BINDINGS) -> ScramExchange:
    """Start an exchange without downgrade protection."""
    return ScramExchange(f"SCRAM-{hash_name.upper()}{'-PLUS' if plus else ''}", bindings)


class ScramTestCase(TestCase):
    """What the tests below share."""

    def refused(self, condition: str, exchange: ScramExchange, message: bytes, final: bool = False) -> None:
        """Assert that the exchange refuses a message with a condition."""
        refuse = exchange.client_final if final else exchange.client_first
        error = self.assertRaises(SASLError, refuse, message)
        self.assertEqual(error.condition, condition, message)

    def log_in(
        self, exchange: ScramExchange, client: ScramClient, keys: ScramKeys, known: bool = True, **replaced: str
    ) -> bytes:
        """Run an exchange to its end."""
        exchange.client_first(client.first())
        return exchange.client_final(client.final(exchange.server_first(keys, known), **replaced))

    def cannot_log_in(
        self, exchange: ScramExchange, client: ScramClient, keys: ScramKeys, known: bool = True, **replaced: str
    ) -> None:
        """Assert that an exchange ends with not-authorized, at its last message."""
        exchange.client_first(client.first())
        message = client.final(exchange.server_first(keys, known), **replaced)
        self.refused("not-authorized", exchange, message, final=True)


class VectorTests(ScramTestCase):
    """Exchanges printed in specifications, octet for octet."""

    def conversation(self, exchange: ScramExchange, keys: ScramKeys, first: bytes, *rest: bytes) -> None:
        """Play C, S, C, S."""
        challenge, response, success = rest
        self.assertEqual(exchange.client_first(first), ("user", ""))
        self.assertEqual(exchange.server_first(keys), challenge)
        self.assertEqual(exchange.client_final(response), success)

    def test_rfc_5802(self) -> None:
        """SCRAM-SHA-1: RFC 5802 section 5."""
        self.conversation(
            ScramExchange("SCRAM-SHA-1", nonce=lambda: "3rfcNHYJY1ZVvWVs7j"),
            derive("pencil", "sha-1", b64decode("QSXCR+Q6sek8bf92"), 4096),
            b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        )

    def test_rfc_7677(self) -> None:
        """SCRAM-SHA-256: RFC 7677 section 3."""
        self.conversation(
            ScramExchange("SCRAM-SHA-256", nonce=lambda: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
            derive("pencil", "sha-256", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096),
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        )

    def test_xep_0474(self) -> None:
        """SCRAM-SHA-1-PLUS with downgrade protection: XEP-0474 section 6.3."""
        nonce = b"12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6"
        self.conversation(
            ScramExchange(
                "SCRAM-SHA-1-PLUS",
                ChannelBindings({"tls-exporter": b"THIS IS FAKE CB DATA"}),
                Advertised(("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), ("tls-server-end-point", "tls-exporter")),
                lambda: "a09117a6-ac50-4f2f-93f1-93799c2bddf6",
            ),
            derive("pencil", "sha-1", b64decode("QSXCR+Q6sek8bf92"), 4096),
            b"p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6",
            b"r=" + nonce + b",s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=",
            b"c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,r="
            + nonce
            + b",x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,p=M/SIDjT+dfcxUh89jZEypRvFxB4=",
            b"v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c=",
        )


class LogInTests(ScramTestCase):
    """Log-ins that work, against a client with computations of its own."""

    def test_every_mechanism(self) -> None:
        """All six mechanisms, the -PLUS ones with both channel-binding types."""
        for mechanism, name in MECHANISMS.items():
            for type_ in BOTH.types if mechanism.endswith("-PLUS") else ("",):
                client = ScramClient(name)
                if type_:
                    client = replace(client, gs2_header=f"p={type_},,", cb_data=BOTH.data[type_])
                answer = self.log_in(ScramExchange(mechanism, BOTH), client, KEYS[name])
                self.assertEqual(answer, client.server_final)

    def test_client_without_the_servers_binding(self) -> None:
        """The flag "y" is right when nothing can be bound to."""
        client = ScramClient("sha-256", gs2_header="y,,")
        self.assertEqual(self.log_in(exchange_for("sha-256"), client, SHA_256), client.server_final)

    def test_client_that_cannot_bind(self) -> None:
        """The flag "n" is right with a mechanism that does not bind, whatever is on offer."""
        client = ScramClient("sha-256")
        self.log_in(exchange_for("sha-256", bindings=BOTH), client, SHA_256)

    def test_names(self) -> None:
        """Names are unescaped, once, and hashed as they came."""
        for username, authcid in (("a=2Cb=3Dc", "a,b=c"), ("=3D2C", "=2C"), ("\u00fcser", "\u00fcser"), ("U", "U")):
            client = ScramClient("sha-256", username, gs2_header=f"n,a={username},")
            exchange = exchange_for("sha-256")
            self.assertEqual(exchange.client_first(client.first()), (authcid, authcid))
            exchange.client_final(client.final(exchange.server_first(SHA_256)))

    def test_unknown_extensions(self) -> None:
        """Optional extensions are hashed and ignored."""
        client = ScramClient("sha-256", first_extensions=",X=1,x=a=b", final_extensions=",t=0304,z=\u00e9")
        self.assertEqual(self.log_in(exchange_for("sha-256"), client, SHA_256), client.server_final)

    def test_passwords_of_any_script(self) -> None:
        """A password is prepared on both sides."""
        keys = derive("\u00bd\u00b4", "sha-256", SALT, 10)
        self.log_in(exchange_for("sha-256"), ScramClient("sha-256", password="1\u20442 \u0301"), keys)


class ClientFirstTests(ScramTestCase):
    """First messages that are refused."""

    def test_malformed(self) -> None:
        """What RFC 5802 section 7 does not derive is malformed-request."""
        for message in (
            b"",
            b"n",
            b"n,",
            b"n,,",
            b"n,n=user,r=abc",
            b"n,,n=user",
            b"n,,r=abc,n=user",
            b"n,,n=,r=abc",
            b"n,,n=user,r=",
            b"n,,n=user,r=a\x7fb",
            b"n,,n=user,r=a b",
            b"n,,n=user,r=\xc3\xa9",
            b"n,,n=us=er,r=abc",
            b"n,,n=us=2cer,r=abc",
            b"n,,n=user=,r=abc",
            b"n,,n=us\0er,r=abc",
            b"n,,n=us\xffer,r=abc",
            b"n,a=,n=user,r=abc",
            b"n,a=b=ob,n=user,r=abc",
            b"n,b=bob,n=user,r=abc",
            b"n,,n=user,r=abc,",
            b"n,,n=user,r=abc,x",
            b"n,,n=user,r=abc,x=",
            b"n,,n=user,r=abc,xy=1",
            b"n,,n=user,r=abc,1=1",
            b"N,,n=user,r=abc",
            b"x,,n=user,r=abc",
            b"F,n,,n=user,r=abc",
            b"p,,n=user,r=abc",
            b"p=,,n=user,r=abc",
            b"p=tls_exporter,,n=user,r=abc",
            b" n,,n=user,r=abc",
        ):
            self.refused("malformed-request", exchange_for("sha-1"), message)

    def test_mandatory_extensions(self) -> None:
        """ "m=" is a demand that nobody understands, in either place."""
        for message in (b"n,,m=x,n=user,r=abc", b"n,,n=user,r=abc,m=x"):
            error = self.assertRaises(SASLError, exchange_for("sha-1").client_first, message)
            self.assertEqual((error.condition, error.text), ("malformed-request", "extensions-not-supported"))

    def test_attributes_given_twice(self) -> None:
        """No attribute may come twice, nor a known one in an extension's place."""
        for message in (
            b"n,,n=user,n=root,r=abc",
            b"n,,n=user,r=abc,r=abc",
            b"n,,n=user,r=abc,n=root",
            b"n,,n=user,r=abc,x=1,x=2",
            b"n,,n=user,r=abc,c=biws",
            b"n,a=bob,a=eve,n=user,r=abc",
        ):
            self.refused("malformed-request", exchange_for("sha-1"), message)

    def test_flag_and_mechanism_disagree(self) -> None:
        """Only -PLUS binds, and -PLUS always binds."""
        for flag in (b"n", b"y"):
            message = flag + b",,n=user,r=abc"
            self.refused("malformed-request", exchange_for("sha-1", plus=True, bindings=BOTH), message)
        message = b"p=tls-exporter,,n=user,r=abc"
        self.refused("malformed-request", exchange_for("sha-1", bindings=BOTH), message)

    def test_downgrade(self) -> None:
        """A client that could bind, and was told that the server cannot, met somebody in the middle."""
        message = b"y,,n=user,r=abc"
        self.refused("not-authorized", exchange_for("sha-1", bindings=BOTH), message)

    def test_binding_not_on_offer(self) -> None:
        """Types that were not offered are refused, `tls-unique` always."""
        end_point = ChannelBindings({"tls-server-end-point": b"x"})
        for type_, bindings in ((b"tls-exporter", end_point), (b"tls-unique", BOTH), (b"x", BOTH)):
            exchange = exchange_for("sha-1", plus=True, bindings=bindings)
            self.refused("not-authorized", exchange, b"p=" + type_ + b",,n=user,r=abc")


class ClientFinalTests(ScramTestCase):
    """Last messages that are refused."""

    def test_wrong_password(self) -> None:
        """A wrong password is not-authorized, for each hash."""
        for name in HASHES:
            self.cannot_log_in(exchange_for(name), ScramClient(name, password="pencil "), KEYS[name])

    def test_malformed(self) -> None:
        """What RFC 5802 section 7 does not derive is malformed-request, though the proof in it were right."""
        for pattern, replacement in (
            (rb"c=biws,", b""),
            (rb"c=biws", b"c="),
            (rb"c=biws", b"c=bi-s"),
            (rb"^(c=[^,]*),(r=[^,]*)", rb"\2,\1"),
            (rb",r=[^,]*", b""),
            (rb",r=[^,]*", b",r="),
            (rb",p=.*", b""),
            (rb",p=.*", b",p="),
            (rb",p=.*", b",p=a"),
            (rb",p=.*", b",p=YR=="),
            (rb",p=.*", b",p====="),
            (rb"$", b","),
            (rb"$", b"\n"),
            (rb"$", b",x=1"),
            (rb"^", b"\xff"),
            (rb",p=", b",m=x,p="),
            (rb",p=", b",x=1,x=1,p="),
            (rb",p=", b",r=x,p="),
            (rb",p=", b",c=biws,p="),
            (rb",p=", b",p=AAAA,p="),
            (rb",p=", b",i=1,p="),
            (rb"(?s).*", b""),
        ):
            client, exchange = ScramClient("sha-256"), exchange_for("sha-256")
            exchange.client_first(client.first())
            message = client.final(exchange.server_first(SHA_256))
            bad = re.sub(pattern, replacement, message, count=1)
            self.assertNotEqual(bad, message)
            self.refused("malformed-request", exchange, bad, final=True)

    def test_mandatory_extension_with_a_right_proof(self) -> None:
        """ "m=" fails even when the client has hashed it."""
        client, exchange = ScramClient("sha-256", final_extensions=",m=x"), exchange_for("sha-256")
        exchange.client_first(client.first())
        message = client.final(exchange.server_first(SHA_256))
        self.refused("malformed-request", exchange, message, final=True)

    def test_nonce(self) -> None:
        """The nonce must be the client's and the server's, whole, in this order and unaltered, whatever was hashed."""
        for alter in (
            lambda nonce: nonce[:-1],
            lambda nonce: nonce + "x",
            lambda nonce: "x" + nonce[1:],
            lambda nonce: nonce[:-1] + ("a" if nonce[-1] != "a" else "b"),
            lambda nonce: nonce[: len(ScramClient("sha-256").nonce)],
            lambda nonce: nonce[len(ScramClient("sha-256").nonce) :],
            lambda nonce: nonce.swapcase(),
        ):
            client, exchange = ScramClient("sha-256"), exchange_for("sha-256")
            exchange.client_first(client.first())
            challenge = exchange.server_first(SHA_256)
            message = client.final(challenge, r=alter(client.read(challenge)["r"]))
            self.refused("not-authorized", exchange, message, final=True)

    def test_replay(self) -> None:
        """A recorded log-in is worth nothing: the client's nonce comes again, the server's does not."""
        client, exchange = ScramClient("sha-256"), exchange_for("sha-256")
        first = client.first()
        exchange.client_first(first)
        recorded = client.final(exchange.server_first(SHA_256))
        exchange.client_final(recorded)
        again = exchange_for("sha-256")
        again.client_first(first)
        again.server_first(SHA_256)
        self.refused("not-authorized", again, recorded, final=True)

    def test_one_guess(self) -> None:
        """After a wrong proof an exchange takes no other, nor a right one twice."""
        client, exchange = ScramClient("sha-256"), exchange_for("sha-256")
        exchange.client_first(client.first())
        message = client.final(exchange.server_first(SHA_256))
        self.refused("not-authorized", exchange, message[:-4] + b"AAA=", final=True)
        self.assertRaises(RuntimeError, exchange.client_final, message)

    def test_out_of_order(self) -> None:
        """Calls in the wrong order are the caller's mistake, and loud."""
        exchange = exchange_for("sha-256")
        self.assertRaises(RuntimeError, exchange.server_first, SHA_256)
        self.assertRaises(RuntimeError, exchange.client_final, b"c=biws,r=x,p=AAAA")
        exchange.client_first(b"n,,n=user,r=abc")
        self.assertRaises(ValueError, exchange.server_first, KEYS["sha-1"])
        exchange.server_first(SHA_256)
        self.assertRaises(RuntimeError, exchange.server_first, SHA_256)

    def test_binding_data(self) -> None:
        """Other data than this channel's fail, though the client has hashed them: it talks through somebody."""
        for type_ in BOTH.types:
            for data in (b"", b"\x03" * 32, BOTH.data[type_][:-1], BOTH.data[type_] + b"\0"):
                client = ScramClient("sha-256", gs2_header=f"p={type_},,", cb_data=data)
                self.cannot_log_in(exchange_for("sha-256", plus=True, bindings=BOTH), client, SHA_256)

    def test_binding_of_the_other_type(self) -> None:
        """The data of one type do not pass for another's."""
        client = ScramClient("sha-256", gs2_header="p=tls-exporter,,", cb_data=BOTH.data["tls-server-end-point"])
        self.cannot_log_in(exchange_for("sha-256", plus=True, bindings=BOTH), client, SHA_256)

    def test_binding_where_there_is_none(self) -> None:
        """With "n" and "y" the data must be absent."""
        for flag in ("n", "y"):
            client = ScramClient("sha-256", gs2_header=f"{flag},,", cb_data=b"\x01" * 32)
            self.cannot_log_in(exchange_for("sha-256"), client, SHA_256)

    def test_header_said_otherwise_at_the_end(self) -> None:
        """`c=` must repeat the header of the first message: flag, type and authorization identity."""
        for first, last in (
            ("n,,", "y,,"),
            ("y,,", "n,,"),
            ("n,,", "n,a=bob,"),
            ("n,a=bob,", "n,,"),
            ("n,a=bob,", "n,a=eve,"),
        ):
            client = ScramClient("sha-256", gs2_header=first)
            binding = b64encode(last.encode()).decode()
            self.cannot_log_in(exchange_for("sha-256"), client, SHA_256, c=binding)

    def test_iterations(self) -> None:
        """A proof made with another iteration count is wrong."""
        for iterations in (1, 99, 101):
            client = ScramClient("sha-256", iterations=iterations)
            self.cannot_log_in(exchange_for("sha-256"), client, SHA_256)

    def test_challenge_altered_underway(self) -> None:
        """Fewer iterations, another salt or another `h`, put in by a third party, end in a wrong proof."""
        advertised = Advertised(("SCRAM-SHA-256", "PLAIN"), ())
        for pattern, replacement in ((rb"i=100", b"i=1"), (rb"s=[^,]*", b"s=AAAA"), (rb"h=[^,]*", b"h=AAAA")):
            client, exchange = ScramClient("sha-256"), ScramExchange("SCRAM-SHA-256", advertised=advertised)
            exchange.client_first(client.first())
            challenge = exchange.server_first(SHA_256)
            altered = re.sub(pattern, replacement, challenge)
            self.assertNotEqual(altered, challenge)
            self.refused("not-authorized", exchange, client.final(altered), final=True)

    def test_proof_of_another_length(self) -> None:
        """A proof that is too short or too long is a wrong one."""
        for octets in (1, 20, 31, 33, 64):
            client = ScramClient("sha-256")
            self.cannot_log_in(exchange_for("sha-256"), client, SHA_256, p=b64encode(bytes(octets)).decode())

    def test_stolen_keys(self) -> None:
        """Who has stolen the stored keys, and not the password, cannot log in with them."""
        for stolen in (SHA_256.stored_key, SHA_256.server_key, bytes(32)):
            client = ScramClient("sha-256")
            self.cannot_log_in(exchange_for("sha-256"), client, SHA_256, p=b64encode(stolen).decode())


class UnknownAccountTests(ScramTestCase):
    """Accounts that do not exist, beside accounts that do."""

    def test_right_proof_fails(self) -> None:
        """With known=False even a right proof fails, at the last message."""
        self.cannot_log_in(exchange_for("sha-256"), ScramClient("sha-256"), SHA_256, known=False)

    def test_same_bytes(self) -> None:
        """Unknown account and wrong password: the same messages, apart from salt and nonce, and the same error."""
        advertised = Advertised(("SCRAM-SHA-256",), ())
        seen = []
        for keys, known in (
            (derive("other", "sha-256", bytes(16), 10_000), True),
            (decoy(b"secret", "user", "sha-256", 10_000), False),
        ):
            exchange = ScramExchange("SCRAM-SHA-256", advertised=advertised, nonce=lambda: "server")
            client = ScramClient("sha-256")
            exchange.client_first(client.first())
            challenge = exchange.server_first(keys, known)
            error = self.assertRaises(SASLError, exchange.client_final, client.final(challenge))
            seen.append((re.sub(rb"s=[^,]*", b"s=", challenge), len(challenge), error.condition, error.text))
        self.assertEqual(seen[0], seen[1])


class DowngradeHashTests(ScramTestCase):
    """XEP-0474: what the client holds against what it saw."""

    def test_other_hashes(self) -> None:
        """The hash is the mechanism's, over both lists sorted by octets; types that were not offered leave no trace."""
        text = b"PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-256"
        mechanisms = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")
        self.assertEqual(
            b64decode(downgrade_hash("sha-256", Advertised(mechanisms, ()))), hashlib.sha256(text).digest()
        )
        self.assertEqual(
            b64decode(downgrade_hash("sha-512", Advertised(mechanisms, BOTH.types))),
            hashlib.sha512(text + b"\x1ftls-exporter\x1etls-server-end-point").digest(),
        )

    def test_client_detects_stripping(self) -> None:
        """A client that saw fewer mechanisms or types than were sent finds another hash than the server's."""
        offered = Advertised(("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"), BOTH.types)
        exchange = ScramExchange("SCRAM-SHA-1", BOTH, offered)
        client = ScramClient("sha-1")
        exchange.client_first(client.first())
        sent = client.read(exchange.server_first(KEYS["sha-1"]))["h"]
        self.assertEqual(sent, downgrade_hash("sha-1", offered))
        for seen in (
            Advertised(("SCRAM-SHA-1",), BOTH.types),
            Advertised(offered.mechanisms, ("tls-server-end-point",)),
            Advertised(offered.mechanisms, ()),
            Advertised((*offered.mechanisms, "PLAIN"), BOTH.types),
        ):
            self.assertNotEqual(sent, downgrade_hash("sha-1", seen))


class NonceTests(ScramTestCase):
    """The server's part of the nonce."""

    def test_unique(self) -> None:
        """100 000 nonces are 100 000 different ones, printable and without a comma, of 192 bits."""
        nonces = {new_nonce() for _ in range(100_000)}
        self.assertEqual(len(nonces), 100_000)
        self.assertTrue(all(re.fullmatch(r"[A-Za-z0-9_-]{32}", nonce) for nonce in nonces))

    def test_extends_the_clients(self) -> None:
        """The challenge's nonce begins with the client's, and is new each time."""
        seen = set()
        for _ in range(10):
            exchange = exchange_for("sha-256")
            exchange.client_first(b"n,,n=user,r=abc")
            nonce = exchange.server_first(SHA_256).split(b",")[0]
            self.assertEqual((nonce[:5], len(nonce)), (b"r=abc", 37))
            seen.add(nonce)
        self.assertEqual(len(seen), 10)


class AnyBytesTests(ScramTestCase):
    """Whatever comes, only SASLError goes."""

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.binary(max_size=80), st.text(alphabet="nyp=,amrcbx2C3D\0\u00e9", max_size=30).map(str.encode)))
    def test_client_first(self, message: bytes) -> None:
        """Any first message is read or refused."""
        try:
            exchange_for("sha-256").client_first(message)
        except SASLError:
            return
        self.assertRegex(message.decode(), r"\A[ny],(a=[^,]+)?,n=[^,]+,r=[^,]+")

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.binary(max_size=80), st.text(alphabet="c=biws,rpAxm+/\0\u00e9", max_size=40).map(str.encode)))
    def test_client_final(self, message: bytes) -> None:
        """No last message made up without the password is taken."""
        exchange = ScramExchange("SCRAM-SHA-256", nonce=lambda: "x")
        exchange.client_first(b"n,,n=user,r=r")
        exchange.server_first(SHA_256)
        self.assertRaises(SASLError, exchange.client_final, message)
