"""What a transcript's templates accept and refuse."""

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from chatrix.testing.matching import Mismatch, NotXML, as_text, fill_in, match, match_in_any_order, read_templates


def one(xml: str) -> etree._Element:
    (element,) = read_templates(xml)
    return element


class Matching(SynchronousTestCase):
    """XML equality, and what loosens it."""

    def accepts(self, template: str, came: str, **captured: str) -> dict[str, str]:
        return match(one(template), one(came), captured)

    def refuses(self, template: str, came: str, why: str, **captured: str) -> None:
        mismatch = self.assertRaises(Mismatch, match, one(template), one(came), captured)
        self.assertIn(why, str(mismatch))

    def test_attribute_order_is_free(self) -> None:
        """Attributes in another order, and other quotes, are the same element."""
        self.accepts("<iq id='1' type='get'/>", '<iq type="get" id="1"/>')

    def test_attribute_values_count(self) -> None:
        """Another value of an attribute is refused, and both values are told."""
        self.refuses("<iq id='1'/>", "<iq id='2'/>", "expected '1', got '2'")

    def test_missing_and_additional_attributes(self) -> None:
        """No attribute may be missing, none may be added, unless `...` stands in the tag."""
        self.refuses("<iq id='1' type='get'/>", "<iq id='1'/>", "no attribute type")
        self.refuses("<iq id='1'/>", "<iq id='1' type='get'/>", "more attributes: type")
        self.accepts("<iq id='1' .../>", "<iq id='1' type='get'/>")
        self.refuses("<iq id='1' .../>", "<iq type='get'/>", "no attribute id")

    def test_dots_in_a_value_are_dots(self) -> None:
        """`...` inside a quoted value loosens nothing."""
        self.refuses("<iq id='a ... b'/>", "<iq id='a ... b' type='get'/>", "more attributes")

    def test_namespaces_count(self) -> None:
        """The same name in another namespace is another element; prefixes do not matter."""
        self.refuses(
            "<iq><ping xmlns='urn:xmpp:ping'/></iq>", "<iq><ping xmlns='urn:xmpp:pong'/></iq>", "urn:xmpp:pong"
        )
        self.accepts("<iq><ping xmlns='urn:xmpp:ping'/></iq>", "<iq><p:ping xmlns:p='urn:xmpp:ping'/></iq>")

    def test_children_in_order(self) -> None:
        """Children are compared one by one; missing and additional ones are told by name."""
        self.accepts("<m><a/><b/></m>", "<m>\n  <a/>\n  <b/>\n</m>")
        self.refuses("<m><a/><b/></m>", "<m><b/><a/></m>", "expected <m>/<a>, got <b>")
        self.refuses("<m><a/><b/></m>", "<m><a/></m>", "no child <b>")
        self.refuses("<m><a/></m>", "<m><a/><b/></m>", "one more child: <b>")

    def test_children_in_any_order(self) -> None:
        """With the marker their order is free, but each must be there, once."""
        self.accepts("<m>{in any order}<a/><b/></m>", "<m><b/><a/></m>")
        self.refuses("<m>{in any order}<a/><b/></m>", "<m><b/><b/></m>", "nothing matches <a/>")
        self.refuses("<m>{in any order}<a/></m>", "<m><a/><b/></m>", "one more")

    def test_more_children(self) -> None:
        """`...` among the children allows more of them, and then any order."""
        self.accepts("<m>...<a/></m>", "<m><b/><a/><c/></m>")
        self.accepts("<m>...</m>", "<m><b/>text<c/></m>")
        self.refuses("<m>...<a/></m>", "<m><b/></m>", "nothing matches <a/>")

    def test_going_back(self) -> None:
        """A first choice that leaves nothing for the next one is taken back."""
        captured = self.accepts(
            "<m>{in any order}<a x='{x}'/><a x='1'/></m>",
            "<m><a x='1'/><a x='2'/></m>",
        )
        self.assertEqual({"x": "2"}, captured)

    def test_text(self) -> None:
        """Text is compared to the letter in an element without children."""
        self.accepts("<body>a &lt; b</body>", "<body>a &lt; b</body>")
        self.refuses("<body>a</body>", "<body> a</body>", "the text of <body>")
        self.refuses("<body>wait...</body>", "<body>wait longer</body>", "the text of <body>")
        self.refuses("<m><body>a</body></m>", "<m>x<body>a</body></m>", "the text of <m>")
        self.refuses("<m/>", "<m><a/></m>", "one more child: <a>")

    def test_any(self) -> None:
        """{any} accepts everything, also as a part, but not an attribute that is missing."""
        self.accepts("<iq id='{any}'/>", "<iq id=''/>")
        self.accepts("<iq id='a{any}c'/>", "<iq id='abbc'/>")
        self.refuses("<iq id='a{any}c'/>", "<iq id='ab'/>", "expected 'a{any}c'")
        self.refuses("<iq id='{any}'/>", "<iq/>", "no attribute id")

    def test_captures(self) -> None:
        """{name} takes the first value, and must be equal from then on, in one stanza and in the next."""
        captured = self.accepts("<m a='{x}' b='{x}'/>", "<m a='1' b='1'/>")
        self.assertEqual({"x": "1"}, captured)
        self.refuses("<m a='{x}' b='{x}'/>", "<m a='1' b='2'/>", "m> b: expected '1'")
        self.accepts("<m a='{x}'/>", "<m a='1'/>", x="1")
        self.refuses("<m a='{x}'/>", "<m a='2'/>", "expected '1', got '2'", x="1")
        self.refuses("<m a='{x}'/>", "<m a=''/>", "got ''")

    def test_a_mismatch_captures_nothing(self) -> None:
        """What is learnt from a stanza that does not match in the end is forgotten."""
        captured: dict[str, str] = {}
        self.assertRaises(Mismatch, match, one("<m a='{x}' b='1'/>"), one("<m a='1' b='2'/>"), captured)
        self.assertEqual({}, captured)

    def test_several_stanzas_in_any_order(self) -> None:
        """Each of several stanzas is paired with another one."""
        wanted = read_templates("<m id='{x}'/><m id='2'/>")
        self.assertEqual({"x": "1"}, match_in_any_order(wanted, read_templates("<m id='2'/><m id='1'/>"), {}))
        self.assertRaises(Mismatch, match_in_any_order, wanted, read_templates("<m id='1'/><m id='3'/>"), {})

    def test_not_xml(self) -> None:
        """A block that is no XML says in which of its lines, and text outside of stanzas is no stanza."""
        self.assertEqual(2, self.assertRaises(NotXML, read_templates, "<m>\n<a></m>").line)
        self.assertRaises(NotXML, read_templates, "<m/> hello <m/>")

    def test_fill_in(self) -> None:
        """Captured values are put in escaped; what was never captured stays."""
        self.assertEqual("<m a='&lt;'>{y}</m>", fill_in("<m a='{x}'>{y}</m>", {"x": "<"}))

    def test_as_text(self) -> None:
        """An element is shown as a person would write it."""
        xml = '<message to="a@b"><body>a &lt; b</body><x xmlns="urn:x"><y/></x></message>'
        self.assertEqual(xml, as_text(one(xml)))

    @given(
        st.recursive(
            st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=5),
            lambda inner: st.tuples(
                st.dictionaries(st.sampled_from("abc"), st.text("xyz<&'", max_size=3), max_size=2),
                st.lists(inner, max_size=3),
            ),
            max_leaves=8,
        )
    )
    def test_everything_matches_itself(self, tree: object) -> None:
        """What `as_text` writes is read back as something that matches."""
        element = etree.Element("{jabber:client}message")
        _grow(element, tree)
        match(one(as_text(element)), element, {})


def _grow(parent: etree._Element, tree: object) -> None:
    if isinstance(tree, tuple):
        attributes, children = tree
        child = etree.SubElement(parent, "{jabber:client}x", attributes)
        for each in children:
            _grow(child, each)
    elif isinstance(tree, str):
        # White space beside children is layout to a template, and so are the markers.
        etree.SubElement(parent, "{jabber:client}t").text = tree.replace("...", "").replace("{", "") or None
