"""Trees and how they are written."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.xmpp.element import Element, parse, serialise


class ElementTests(TestCase):
    """The vocabulary modules use."""

    def test_names(self) -> None:
        """Namespace and local name; no namespace is the content namespace."""
        self.assertEqual((Element("urn:a", "x").namespace, Element("urn:a", "x").name), ("urn:a", "x"))
        self.assertEqual((Element(None, "x").namespace, Element(None, "x").name), (None, "x"))

    def test_children(self) -> None:
        """add returns the child; child and text_of find it."""
        query = Element("urn:a", "query", {"xml:lang": "de"})
        item = query.add("urn:a", "item", {"jid": "a@b"}, "text")
        query.add(None, "empty")
        self.assertIs(query.child("urn:a", "item"), item)
        self.assertIsNone(query.child(None, "item"))
        self.assertEqual(query.text_of("urn:a", "item"), "text")
        self.assertEqual(query.text_of(None, "empty"), "")
        self.assertIsNone(query.text_of("urn:b", "item"))
        self.assertIsInstance(parse(serialise(query))[0], Element)

    def test_not_xml(self) -> None:
        """Characters that XML does not have cannot get in."""
        for text in ("\x00", "\x1b", "\ud800", "\ufffe"):
            with self.assertRaises((ValueError, UnicodeError)):
                Element(None, "x", text=text)
            with self.assertRaises((ValueError, UnicodeError)):
                Element(None, "x", {"a": text})


class SerialiseTests(TestCase):
    """Default namespaces, no prefixes, and nothing breaks out."""

    def test_namespaces(self) -> None:
        """A namespace is declared where it changes, back to none as well."""
        element = Element("urn:a", "a")
        element.add("urn:a", "b")
        element.add(None, "c").add("urn:a", "d")
        self.assertEqual(serialise(element), b"<a xmlns='urn:a'><b/><c xmlns=''><d xmlns='urn:a'/></c></a>")

    def test_prefixes_go(self) -> None:
        """Prefixed elements are written without prefixes; only attributes keep one."""
        element = parse(b"<p:a xmlns:p='urn:a' p:q='1' q='2' xml:lang='de'><p:b/></p:a>")
        self.assertEqual(serialise(element), b"<a xmlns='urn:a' xmlns:a0='urn:a' a0:q='1' q='2' xml:lang='de'><b/></a>")

    def test_escaping(self) -> None:
        """Line ends and tabs stay what they are, in attributes and in text (X9, X10)."""
        element = Element(None, "a", {"b": "'\"<>&]]>\t\r\n"}, "'\"<>&]]>\t\r\n")
        again = parse(serialise(element))
        self.assertEqual(again.get("b"), element.get("b"))
        self.assertEqual(again.text, element.text)
        self.assertEqual(len(again.attrib), 1)

    def test_content_namespace(self) -> None:
        """The content namespace goes, but not inside a foreign wrapper."""
        element = parse(
            b"<a xmlns='jabber:client'><b/><f xmlns='urn:f'><message xmlns='jabber:client'><body/></message></f></a>"
        )
        self.assertEqual(
            serialise(element, "jabber:client"),
            b"<a><b/><f xmlns='urn:f'><message xmlns='jabber:client'><body/></message></f></a>",
        )

    def test_deep(self) -> None:
        """Trees of our own making may be deep: no recursion (Z4)."""
        element = inner = Element(None, "a")
        for _ in range(5000):
            inner = inner.add(None, "a")
        self.assertEqual(serialise(element).count(b"<a"), 5001)


class ParseTests(TestCase):
    """libxml2, kept short."""

    def test_no_entities(self) -> None:
        """A DTD, should one ever get here, defines and fetches nothing."""
        for raw in (
            b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/hostname'>]><a>&x;</a>",
        ):
            try:
                element = parse(raw)
            except ValueError:
                continue
            self.assertIsNone(element.text)

    def test_refused(self) -> None:
        """What is no element is a ValueError."""
        for raw in (b"", b"<a>", b"<a/><b/>", b"<p:a/>"):
            with self.assertRaises(ValueError):
                parse(raw)
