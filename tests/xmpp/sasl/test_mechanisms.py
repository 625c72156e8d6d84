"""Tests of chatrix.xmpp.sasl.mechanisms: what is offered when."""

from itertools import combinations, product

from twisted.trial.unittest import TestCase

from chatrix.xmpp.namespaces import NS_SASL
from chatrix.xmpp.sasl.channel_binding import NO_CHANNEL_BINDINGS, ChannelBindings
from chatrix.xmpp.sasl.keys import HASHES
from chatrix.xmpp.sasl.mechanisms import offer
from chatrix.xmpp.sasl.scram import MECHANISMS

BOTH = ChannelBindings({"tls-exporter": b"e", "tls-server-end-point": b"s"})


class OfferTests(TestCase):
    """The list of mechanisms."""

    def test_everything(self) -> None:
        """Inside TLS: bound ones first, strong hashes first, PLAIN last."""
        self.assertEqual(
            offer(True, BOTH).mechanisms,
            (
                "SCRAM-SHA-512-PLUS",
                "SCRAM-SHA-256-PLUS",
                "SCRAM-SHA-1-PLUS",
                "SCRAM-SHA-512",
                "SCRAM-SHA-256",
                "SCRAM-SHA-1",
                "PLAIN",
            ),
        )

    def test_without_tls(self) -> None:
        """Outside TLS neither PLAIN nor anything bound."""
        for bindings in (BOTH, NO_CHANNEL_BINDINGS):
            self.assertEqual(offer(False, bindings).mechanisms, ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"))
            self.assertIsNone(offer(False, bindings).channel_binding_element())

    def test_plain_disabled(self) -> None:
        """A host with SCRAM-SHA-256 keys alone, and PLAIN off, offers SCRAM-SHA-256 alone."""
        self.assertEqual(offer(True, hashes=("sha-256",), only=tuple(MECHANISMS)).mechanisms, ("SCRAM-SHA-256",))

    def test_nothing_stored(self) -> None:
        """A host that stores no keys offers nothing, not even a channel binding."""
        nothing = offer(True, BOTH, ())
        self.assertEqual((nothing.mechanisms, nothing.bindings.types), ((), ()))

    def test_invariants(self) -> None:
        """Never PLAIN without TLS, never a mechanism of the MD5 era, never -PLUS without types or the reverse."""
        stored = [names for count in range(4) for names in combinations(HASHES, count)]
        for secured, bindings, hashes, plain in product(
            (False, True), (NO_CHANNEL_BINDINGS, BOTH), stored, (False, True)
        ):
            made = offer(secured, bindings, hashes, () if plain else tuple(MECHANISMS))
            self.assertTrue(secured or "PLAIN" not in made.mechanisms)
            self.assertTrue(plain or "PLAIN" not in made.mechanisms)
            self.assertFalse([name for name in made.mechanisms if "MD5" in name or len(name) > 20])
            bound = any(name.endswith("-PLUS") for name in made.mechanisms)
            self.assertEqual(bound, made.channel_binding_element() is not None)
            self.assertEqual(bound, bool(made.advertised.channel_binding_types))


class ElementTests(TestCase):
    """The stream features."""

    def test_mechanisms(self) -> None:
        """The mechanisms in their order."""
        made = offer(True, hashes=("sha-1",))
        element = made.mechanisms_element()
        self.assertEqual((element.namespace, element.name), (NS_SASL, "mechanisms"))
        self.assertEqual([child.text for child in element], ["SCRAM-SHA-1", "PLAIN"])
        self.assertEqual({child.tag for child in element}, {f"{{{NS_SASL}}}mechanism"})

    def test_channel_bindings(self) -> None:
        """The types, as XEP-0440 lists them."""
        element = offer(True, BOTH).channel_binding_element()
        assert element is not None
        self.assertEqual((element.namespace, element.name), ("urn:xmpp:sasl-cb:0", "sasl-channel-binding"))
        self.assertEqual([child.get("type") for child in element], ["tls-exporter", "tls-server-end-point"])
        self.assertEqual({child.tag for child in element}, {"{urn:xmpp:sasl-cb:0}channel-binding"})
