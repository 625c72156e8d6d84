"""XEP-0115: the verification string with the XEP's own examples, and the answers that must not be believed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chatrix.xmpp.caps import Claim, IllFormed, is_shareable, ver, verification_string
from chatrix.xmpp.dataform import Field, Form
from chatrix.xmpp.disco import Identity, info
from chatrix.xmpp.element import Element, parse, serialise
from chatrix.xmpp.stanza import Presence, from_tree

DISCO = "http://jabber.org/protocol/disco"
FEATURES = ("http://jabber.org/protocol/caps", DISCO + "#info", DISCO + "#items", "http://jabber.org/protocol/muc")
EXODUS = info([Identity("client", "pc", "Exodus 0.9.1")], reversed(FEATURES))
PSI = parse(
    f"""<query xmlns='{DISCO}#info' node='http://psi-im.org#q07IKJEyjvHSyhy//CH0CxmKi8w='>
    <identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
    <identity xml:lang='el' category='client' name='\u03a8 0.11' type='pc'/>
    <feature var='http://jabber.org/protocol/caps'/><feature var='{DISCO}#info'/><feature var='{DISCO}#items'/>
    <feature var='http://jabber.org/protocol/muc'/>
    <x xmlns='jabber:x:data' type='result'>
      <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
      <field var='ip_version' type='text-multi' ><value>ipv4</value><value>ipv6</value></field>
      <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>
      <field var='software'><value>Psi</value></field><field var='software_version'><value>0.11</value></field>
    </x></query>""".encode()
)
CLIENT = [Identity("client", "pc", "x")]


def form(form_type: str, *fields: Field) -> Form:
    """A form of XEP-0128."""
    return Form("result", fields, form_type=form_type)


class Examples(SynchronousTestCase):
    """Sections 5.2 and 5.3."""

    def test_simple(self) -> None:
        """Section 5.2, whatever the order of the features."""
        self.assertEqual(
            "client/pc//Exodus 0.9.1<http://jabber.org/protocol/caps<http://jabber.org/protocol/disco#info<"
            "http://jabber.org/protocol/disco#items<http://jabber.org/protocol/muc<",
            verification_string(EXODUS),
        )
        self.assertEqual("QgayPKawpkPSDYmwT/WM94uAlu0=", ver(EXODUS))
        self.assertTrue(is_shareable(EXODUS))

    def test_complex(self) -> None:
        """Section 5.3: several languages, and a form."""
        self.assertEqual("q07IKJEyjvHSyhy//CH0CxmKi8w=", ver(PSI))
        self.assertTrue(is_shareable(PSI))

    def test_other_hash(self) -> None:
        """Other hashes make other strings; one that is unknown, or weak, is none."""
        self.assertEqual(44, len(ver(EXODUS, "sha-256")))
        for name in ("md5", "sha1", "", "sha-3"):
            self.assertRaises(KeyError, ver, EXODUS, name)

    def test_literal_entity(self) -> None:
        """The four characters `&lt;` stay four characters."""
        query = info([Identity("client", "pc", "a&lt;b")], ())
        self.assertEqual("client/pc//a&lt;b<", verification_string(parse(serialise(query))))

    def test_order(self) -> None:
        """Values, fields, forms and features are sorted by octets, capital letters first."""
        query = info(
            (), ("b", "a", "B", "\u00e9", "z"),
            (form("urn:b", Field("y", values=("2", "10")), Field("x")), form("urn:a", Field("z"))),
        )  # fmt: skip
        self.assertEqual("B<a<b<z<\u00e9<urn:a<z<urn:b<x<y<10<2<", verification_string(query))


class Refusals(SynchronousTestCase):
    """Section 5.4: answers that are ill-formed, forms that are ignored."""

    def test_twice(self) -> None:
        """An identity, a feature, or a form twice; a FORM_TYPE with two values."""
        doubtful = parse(serialise(info((), (), (form("urn:a"),))))
        value = next(iter(doubtful[0][0]))
        value.addnext(Element("jabber:x:data", "value", text="urn:b"))
        for query in (
            info([*CLIENT, *CLIENT], ()),
            info((), ("a", "b", "a")),
            info((), (), (form("urn:a"), form("urn:a", Field("x")))),
            doubtful,
        ):
            self.assertRaises(IllFormed, ver, query)

    def test_ignored_forms(self) -> None:
        """A form without FORM_TYPE, or with one that is not hidden, does not count."""
        plain = ver(EXODUS)
        for type in ("type='text-single'", ""):
            raw = serialise(EXODUS).replace(
                b"</query>",
                f"<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' {type}><value>a</value></field>"
                "<field var='b'><value>c</value></field></x></query>".encode(),
            )
            self.assertEqual(plain, ver(parse(raw)))
        self.assertEqual(plain, ver(parse(serialise(EXODUS).replace(b"</query>", b"<x xmlns='urn:x'/></query>"))))


class Poison(SynchronousTestCase):
    """Threat P4: second answers to the same string."""

    def assert_poison(self, poison: Element, honest: Element) -> None:
        """The two have one hash, and only the honest one would be shared."""
        self.assertEqual(ver(honest), ver(poison))
        self.assertTrue(is_shareable(honest))
        self.assertFalse(is_shareable(poison))

    def test_angle_bracket(self) -> None:
        """One feature, or a name, that contains the separator passes for two."""
        self.assert_poison(info(CLIENT, ("urn:a<urn:b+notify",)), info(CLIENT, ("urn:a", "urn:b+notify")))
        self.assert_poison(info([Identity("client", "pc", "x<urn:b+notify")], ()), info(CLIENT, ("urn:b+notify",)))
        self.assert_poison(
            info(CLIENT, (), (form("urn:f", Field("os", values=("a<b",))),)),
            info(CLIENT, (), (form("urn:f", Field("os", values=("a", "b"))),)),
        )

    def test_slash(self) -> None:
        """A slash moves what is name, language and type."""
        self.assert_poison(
            info([Identity("client", "pc/en", "y", "x")], ()), info([Identity("client", "pc", "x/y", "en")], ())
        )

    def test_identity_as_feature(self) -> None:
        """An identity passes for a feature."""
        self.assert_poison(info((), ("client/pc//x", "urn:a")), info(CLIENT, ("urn:a",)))

    def test_features_as_form(self) -> None:
        """The last features pass for a form, and would be lost."""
        honest = info(CLIENT, ("urn:a", "urn:b", "urn:c", "urn:d+notify"))
        self.assert_poison(info(CLIENT, ("urn:a",), (form("urn:b", Field("urn:c", values=("urn:d+notify",))),)), honest)
        self.assert_poison(info(CLIENT, ("urn:a", "urn:b"), (form("urn:c", Field("urn:d+notify")),)), honest)
        self.assert_poison(info(CLIENT, ("urn:a", "urn:b", "urn:c"), (form("urn:d+notify"),)), honest)

    def test_nameless(self) -> None:
        """Categories, types, features and fields have names."""
        for query in (info([Identity("", "pc")], ()), info([Identity("client", "")], ()), info(CLIENT, ("",)),
                      info(CLIENT, (), (form("urn:f", Field("")),))):  # fmt: skip
            self.assertFalse(is_shareable(query))


class Claims(SynchronousTestCase):
    """`<c/>`."""

    def claim(self, attributes: str) -> Claim | None:
        """What a presence claims."""
        presence = from_tree(
            parse(f"<presence><c xmlns='http://jabber.org/protocol/caps' {attributes}/></presence>".encode())
        )
        return Claim.of(presence)

    def test_claim(self) -> None:
        """Hash, node and ver, there and back."""
        claim = self.claim("hash='sha-1' node='urn:n' ver='abc='")
        self.assertEqual(Claim("sha-1", "urn:n", "abc="), claim)
        assert claim is not None
        self.assertTrue(claim.verifiable)
        self.assertEqual(
            b"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:n' ver='abc='/>",
            serialise(claim.to_element()),
        )

    def test_not_verifiable(self) -> None:
        """The legacy format, and unknown hashes."""
        for attributes in ("node='n' ver='1.0' ext='a b'", "hash='md5' node='n' ver='a'", "hash='sha1' ver='a'"):
            claim = self.claim(attributes)
            assert claim is not None
            self.assertFalse(claim.verifiable)

    def test_none(self) -> None:
        """No `<c/>`, no ver, or one without measure."""
        self.assertIsNone(Claim.of(Presence({})))
        self.assertIsNone(self.claim("hash='sha-1' node='n'"))
        self.assertIsNone(self.claim(f"hash='sha-1' node='n' ver='{'x' * 301}'"))
        self.assertIsNone(self.claim(f"hash='{'x' * 301}' node='n' ver='x'"))
