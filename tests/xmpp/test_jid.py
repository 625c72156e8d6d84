"""XMPP addresses: RFC 7622, and threats Z7 and A13 (one address, one spelling)."""

from __future__ import annotations

import copy
import pickle

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp import jid as jid_module
from chatrix.xmpp.jid import JID, InvalidJID


class JIDTests(TestCase):
    """Parsing and preparing."""

    def test_parts(self) -> None:
        """The first slash begins the resource, whatever is in it."""
        jid = JID.parse("juliet@example.com/foo@bar/baz")
        self.assertEqual((jid.local, jid.domain, jid.resource), ("juliet", "example.com", "foo@bar/baz"))
        self.assertEqual(str(jid), "juliet@example.com/foo@bar/baz")
        self.assertTrue(jid.is_full)
        self.assertFalse(jid.is_bare)

    def test_valid(self) -> None:
        """The valid examples of RFC 7622 section 3.5, and addresses without a DNS."""
        for text in (
            "juliet@example.com",
            "juliet@example.com/foo",
            "juliet@example.com/foo bar",
            "juliet@example.com/foo@bar",
            "foo\\20bar@example.com",
            "fussball@example.com",
            "fu\u00dfball@example.com",
            "\u03c0@example.com",
            "\u03c3@example.com/foo",
            "\u03c2@example.com/foo",
            "king@example.com/\u265a",
            "example.com",
            "example.com/foobar",
            "a.example.com/b@example.net",
            "a@localhost",
            "a@127.0.0.1",
            "a@[::1]/x",
            "a@xn--e1afmkfd",
        ):
            JID.parse(text)

    def test_invalid(self) -> None:
        """The invalid examples of RFC 7622 section 3.5, and what else no address is."""
        for text in (
            '"juliet"@example.com',
            "foo bar@example.com",
            "juliet@example.com/",
            "@example.com/",
            "@example.com",
            "henry\u2163@example.com",
            "\u265a@example.com",
            "juliet@",
            "/foobar",
            "",
            "a@b@c",
            "a@b..c",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a@b/\x00",
            "a@b/\x7f",
            "a&b@c",
            "a'b@c",
            "a:b@c",
            "a<b@c",
            "\uff20@c",
            "a\u200bb@c",
            "a@b\u200bc",
            "a@[::1",
            "a@[::1%eth0]",
            "a@[127.0.0.1]",
            "a@.",
            "\ud800@c",
            "a@\ud800",
            "a@b/\ud800",
            "a@xn--",
            "a@xn--zzzzzzzz99",
        ):
            with self.assertRaises(InvalidJID, msg=repr(text)):
                JID.parse(text)

    def test_one_spelling(self) -> None:
        """Spellings that mean one address become one (Z7)."""
        for texts in (
            ("juliet@example.com", "Juliet@EXAMPLE.com", "juliet@example.com.", "JULIET@example\u3002com"),
            (
                "a@xn--e1afmkfd.com",
                "a@\u043f\u0440\u0438\u043c\u0435\u0440.com",
                "A@\u041f\u0440\u0438\u043c\u0435\u0440.COM",
            ),
            ("admin@example.com", "\uff41\uff44\uff4d\uff49\uff4e@example.com", "admin@\uff45xample.com"),
            ("a@[::1]", "a@[0:0:0:0:0:0:0:1]"),
            ("a@b/x y", "a@b/x\u00a0y"),
        ):
            self.assertEqual(len({JID.parse(text) for text in texts}), 1, texts)

    def test_different(self) -> None:
        """Resources keep their case; look-alikes stay different."""
        self.assertNotEqual(JID.parse("a@b/X"), JID.parse("a@b/x"))
        self.assertNotEqual(JID.parse("admin@b"), JID.parse("\u0430dmin@b"))
        self.assertNotEqual(JID.parse("a@b"), "a@b")

    def test_octet_limits(self) -> None:
        """1023 octets a part pass, 1024 do not, counted in octets."""
        domain = ".".join(["a" * 63] * 15 + ["a" * 62, "a"])
        cases = ((1023, "a"), (1022, "\u00e9"), (1023, "\u4e2d"))
        for octets, letter in cases:
            part = letter * (octets // len(letter.encode()))
            JID.parse(f"{part}@b/{part}")
            for text in (f"{part + letter}@b", f"a@b/{part + letter}"):
                with self.assertRaises(InvalidJID):
                    JID.parse(text)
        self.assertEqual(len(domain), 1024)
        with self.assertRaises(InvalidJID):
            JID.parse(domain)
        JID.parse(domain[1:])
        with self.assertRaises(InvalidJID):
            JID.parse("a@b/" + "\uff41" * 100000)

    def test_bare(self) -> None:
        """A bare JID is its own bare JID; a full one shares it."""
        bare = JID.parse("a@b")
        self.assertIs(bare.bare, bare)
        self.assertIs(JID.parse("a@b/c").bare, bare)
        self.assertIs(bare.with_resource("c").bare, bare)
        self.assertIs(JID.parse("a@b/c").with_resource(""), bare)
        self.assertEqual(bare.with_resource("d"), JID.parse("a@b/d"))
        with self.assertRaises(InvalidJID):
            bare.with_resource("\x00")

    def test_of(self) -> None:
        """Parts are prepared; a slash or an at sign does not change what is what."""
        self.assertEqual(str(JID.of("Juliet", "Example.com", "X")), "juliet@example.com/X")
        for parts in (("a", "b/c"), ("a/b", "c"), ("a@b", "c"), ("", "")):
            with self.assertRaises(InvalidJID):
                JID.of(*parts)

    def test_immutable(self) -> None:
        """A key of so many tables must not change."""
        jid = JID.parse("a@b")
        with self.assertRaises(AttributeError):
            jid.local = "c"
        with self.assertRaises(AttributeError):
            del jid.local
        with self.assertRaises(TypeError):
            JID()
        self.assertIs(copy.deepcopy(jid), jid)
        self.assertEqual(pickle.loads(pickle.dumps(jid)), jid)

    def test_cache(self) -> None:
        """The same text is the same object; the cache is bounded and keeps no long text."""
        self.assertIs(JID.parse("cached@b/c"), JID.parse("cached@b/c"))
        for n in range(3 * jid_module._CACHE_ENTRIES):
            JID.parse(f"a{n}@b")
        self.assertLessEqual(len(jid_module._young), jid_module._CACHE_ENTRIES)
        self.assertLessEqual(len(jid_module._old), jid_module._CACHE_ENTRIES)
        long = "a@b/" + "x" * 500
        JID.parse(long)
        self.assertNotIn(long, jid_module._young)

    def test_error_does_not_repeat(self) -> None:
        """What a stranger sent does not get into our logs by way of the error."""
        with self.assertRaises(InvalidJID) as caught:
            JID.parse("secret word@b")
        self.assertNotIn("secret", str(caught.exception))

    def test_prepared_is_stable(self) -> None:
        """Preparing what is prepared changes nothing."""
        characters = st.one_of(st.characters(), st.sampled_from("aA.@/-\u00df\u03c2\uff41\u3002\u0345\u212a"))

        @settings(max_examples=300, deadline=None, database=None)
        @given(st.text(characters, max_size=12))
        def check(text: str) -> None:
            try:
                jid = JID.parse(text)
            except InvalidJID:
                return
            again = JID.parse(str(jid))
            assert again == jid
            assert (again.local, again.domain, again.resource) == (jid.local, jid.domain, jid.resource)

        check()
