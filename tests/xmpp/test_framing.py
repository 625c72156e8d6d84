"""Framing: what passes, what is rewritten, and the exact error for what is refused (threats X1 to X10)."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.xmpp import common_path, slice_parser
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.framing import Framer, Limits, StreamClosed, StreamOpened
from chatrix.xmpp.stanza import Stanza
from tests.xmpp.xml_strategies import HEADER, framed, shown

WIDE = Limits(stanza_bytes=262144, elements=5000, depth=64, attributes=64)


class FramingCase(TestCase):
    """Every assertion holds on both paths, for the whole and for single bytes."""

    def outcome(self, raw: bytes, limits: Limits = WIDE, header: bytes = HEADER) -> tuple[list[object], str | None]:
        """Return frames and error condition."""
        careful = framed([raw], careful=True, header=header, limits=limits)
        self.assertEqual(framed([raw], header=header, limits=limits), careful)
        if len(raw) < 5000:
            single = [raw[i : i + 1] for i in range(len(raw))]
            self.assertEqual(framed(single, header=header, limits=limits), careful)
        return careful

    def assert_refused(self, raw: bytes, condition: str, limits: Limits = WIDE) -> None:
        """Nothing comes out but the error."""
        self.assertEqual(self.outcome(raw, limits), ([], condition), raw[:100])

    def assert_written(self, raw: bytes, written: bytes, header: bytes = HEADER) -> None:
        """One stanza comes out and is written so."""
        framer = Framer("jabber:client", WIDE)
        framer.feed(header)
        (frame,) = framer.feed(raw)
        assert isinstance(frame, Stanza)
        self.assertEqual(frame.to_bytes(), written)
        self.assertEqual(self.outcome(raw, header=header), ([shown(frame)], None))


class FirstLevelTests(FramingCase):
    """RFC 6120 sections 4.8, 4.9 and 11."""

    def test_stanzas(self) -> None:
        """All three, in the order they came, empty or not."""
        frames, condition = self.outcome(
            b"<iq type='get' id='1'><q xmlns='urn:q'/></iq> <presence/><message></message>"
        )
        self.assertIsNone(condition)
        self.assertEqual([frame[0] for frame in frames], ["iq", "presence", "message"])  # type: ignore[index]

    def test_own_bytes(self) -> None:
        """The inside is forwarded as it came, whatever its spelling."""
        raw = b'<message  to="a@b" ><x  a = \'&gt;>\' xmlns="urn:x" >&#x41;\r\n</x ></message >'
        self.assert_written(raw, b"<message to='a@b'><x  a = '&gt;>' xmlns=\"urn:x\" >&#x41;\r\n</x ></message >")

    def test_elements(self) -> None:
        """Other first-level elements come as trees, whatever their namespace."""
        frames, _ = self.outcome(
            b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGE=</auth><foo><bar/></foo>"
            b"<stream:features><x xmlns='urn:x'/></stream:features><foo xmlns='jabber:client'><bar/></foo>"
        )
        self.assertEqual(
            frames,
            [
                b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGE=</auth>",
                b"<foo><bar/></foo>",
                b"<features xmlns='http://etherx.jabber.org/streams'><x xmlns='urn:x'/></features>",
                b"<foo><bar/></foo>",
            ],
        )

    def test_wrong_namespace(self) -> None:
        """A stanza of another namespace is invalid-namespace, as soon as its start tag is seen (X9)."""
        for tag in (
            b"<iq xmlns='jabber:server'>",
            b"<message xmlns=''>",
            b"<message xmlns=''/>",
            b"<presence xmlns='http://etherx.jabber.org/streams'/>",
            b"<stream:message>",
        ):
            self.assert_refused(tag, "invalid-namespace")

    def test_nested_stream(self) -> None:
        """A stream in the stream, or a stream element that nobody knows, is not supported."""
        self.assert_refused(HEADER, "unsupported-stanza-type")
        self.assert_refused(b"<stream:foo/>", "unsupported-stanza-type")

    def test_text(self) -> None:
        """No text between elements; keep-alives are swallowed and counted."""
        self.assert_refused(b" text", "bad-format")
        self.assert_refused(b"\n\x00", "not-well-formed")
        framer = Framer("jabber:client", WIDE)
        framer.feed(HEADER)
        self.assertEqual(framer.feed(b" ") + framer.feed(b"\r\n"), [])
        self.assertEqual(framer.whitespace, 3)

    def test_close(self) -> None:
        """The end tag closes the stream; what follows is ignored; another end tag is not well-formed."""
        self.assertEqual(self.outcome(b"</stream:stream ><message/>"), ([StreamClosed()], None))
        self.assert_refused(b"</stream>", "not-well-formed")
        self.assert_refused(b"<message></stream:stream>", "not-well-formed")

    def test_frames_before_an_error(self) -> None:
        """What was complete before the error is not lost, and after it nothing is read."""
        framer = Framer("jabber:client", WIDE)
        framer.feed(HEADER)
        with self.assertRaises(StreamError) as caught:
            framer.feed(b"<message id='1'/><r xmlns='urn:r'/><!-- --><message id='2'/>")
        self.assertEqual(len(caught.exception.frames), 2)
        self.assertEqual(framer.feed(b"<message id='3'/>"), [])


class RestrictedTests(FramingCase):
    """Forbidden or broken XML (X1, X2, X7)."""

    def test_restricted(self) -> None:
        """DTDs, comments and processing instructions, at any place, without waiting for their end."""
        for raw in (
            b"<!-- -->",
            b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
            b"<?x y?>",
            b"<!--",
            b"<?",
            b"<!E",
            b"<?xml version='1.0'?>",
        ):
            self.assert_refused(raw, "restricted-xml")
            self.assert_refused(b"<message>" + raw, "restricted-xml")
            self.assert_refused(b"<message><body>x</body>" + raw + b"</message>", "restricted-xml")

    def test_not_well_formed(self) -> None:
        """The rest that is no XML, or no UTF-8."""
        for inside in (
            b"&foo;",
            b"<a>",
            b"</a>",
            b"<p:a/>",
            b"<a b='1' b='2'/>",
            b"<a b=1/>",
            b"&#0;",
            b"]]>",
            b"\x00",
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xef\xbf\xbe",
            b"\xff",
            b"<a xmlns:p=''/>",
            b"<a xmlns:xmlns='urn:x'/>",
        ):
            self.assert_refused(b"<message>" + inside + b"</message>", "not-well-formed")
        self.assert_refused(b"<message to='<'/>", "not-well-formed")
        self.assert_refused(b"<1/>", "not-well-formed")

    def test_cdata(self) -> None:
        """CDATA is text, and leaves as text (X9)."""
        self.assert_written(
            b"<message><body><![CDATA[</body>]] ><a>&amp;<!-- <?x?> ]]></body></message>",
            b"<message><body>&lt;/body&gt;]] &gt;&lt;a&gt;&amp;amp;&lt;!-- &lt;?x?&gt; </body></message>",
        )
        self.assert_refused(b"<message><![CDATA[x]]><!-- --></message>", "restricted-xml")
        self.assert_refused(b"<message><![CDATA [x]]></message>", "restricted-xml")


class NamespaceTests(FramingCase):
    """One namespace inside, and every slice stands alone (X9)."""

    def test_content_namespace_goes(self) -> None:
        """However it is declared on a content element."""
        for raw in (
            b"<message xmlns='jabber:client'><body/></message>",
            b"<message><body xmlns='jabber:client'/></message>",
            b"<message><body xmlns='jabber&#58;client'/></message>",
            b"<c:message xmlns:c='jabber:client'><c:body/></c:message>",
            b"<message xmlns:c='jabber:client'><c:body/></message>",
        ):
            self.assert_written(raw, b"<message><body/></message>")

    def test_wrapped_stays(self) -> None:
        """Inside a foreign wrapper (XEP-0297) it says something."""
        raw = b"<message><f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body/></message></f></message>"
        self.assert_written(raw, raw)

    def test_start_tag_declarations(self) -> None:
        """What the start tag declares for its inside is declared there."""
        self.assert_written(
            b"<message xmlns:p='urn:p' p:q='1'><p:x/></message>",
            b"<message xmlns:a0='urn:p' a0:q='1'><x xmlns='urn:p'/></message>",
        )

    def test_header_prefixes(self) -> None:
        """A prefix of the stream header is not in scope of whom we forward to."""
        header = HEADER[:-1] + b" xmlns:p='urn:p'>"
        self.assert_written(
            b"<message><p:x p:y='1'/><stream:z/></message>",
            b"<message><x xmlns='urn:p' xmlns:a0='urn:p' a0:y='1'/>"
            b"<z xmlns='http://etherx.jabber.org/streams'/></message>",
            header,
        )
        self.assert_written(b"<p:message xmlns:p='jabber:client'/>", b"<message/>", header)

    def test_prefix_redefined(self) -> None:
        """A prefix declared inside is the inside's own."""
        raw = b"<message><stream:x xmlns:stream='urn:x'/></message>"
        self.assert_written(raw, raw)

    def test_stream_namespace_as_default(self) -> None:
        """RFC 6120 section 4.8.5: without a prefix for the stream, every stanza declares the content namespace."""
        header = b"<stream xmlns='http://etherx.jabber.org/streams'>"
        self.assert_written(b"<message xmlns='jabber:client'><body/></message>", b"<message><body/></message>", header)
        self.assertEqual(self.outcome(b"<message/>", header=header), ([], "invalid-namespace"))
        self.assertEqual(
            self.outcome(b"<error><x xmlns='urn:x'/></error></stream>", header=header),
            ([b"<error xmlns='http://etherx.jabber.org/streams'><x xmlns='urn:x'/></error>", StreamClosed()], None),
        )


class LimitTests(FramingCase):
    """Exactly so much passes, one more does not (X3 to X6)."""

    def test_bytes(self) -> None:
        """Bytes, not characters, of the element alone, finished or not."""
        limits = Limits(stanza_bytes=100, elements=32, depth=8, attributes=8)
        for text in (b"x" * 81, "\u00e9".encode() * 40 + b"x"):
            exact = b"<message>" + text + b"</message>"
            self.assertEqual(len(exact), 100)
            self.assertEqual(len(self.outcome(b"  " + exact + exact, limits)[0]), 2)
            self.assert_refused(exact.replace(b"</", b"x</"), "policy-violation", limits)
        for unfinished in (b"<message to='", b"<message>", b"<message><a b='", b"<message></message "):
            self.assertEqual(self.outcome(unfinished + b" " * (100 - len(unfinished)), limits), ([], None))
            self.assert_refused(unfinished + b" " * (101 - len(unfinished)), "policy-violation", limits)

    def test_depth(self) -> None:
        """The stanza is the first level."""
        limits = Limits(stanza_bytes=9999, elements=99, depth=3, attributes=8)
        self.assertEqual(len(self.outcome(b"<message><a><b/></a></message>", limits)[0]), 1)
        self.assert_refused(b"<message><a><b><c/></b></a></message>", "policy-violation", limits)
        self.assert_refused(b"<message>" + b"<a>" * 10000, "policy-violation")

    def test_elements(self) -> None:
        """The stanza is the first element."""
        limits = Limits(stanza_bytes=9999, elements=5, depth=50, attributes=8)
        self.assertEqual(len(self.outcome(b"<message><a/><a></a><a/><a/></message>" * 2, limits)[0]), 2)
        self.assert_refused(b"<message><a/><a></a><a/><a/><a/></message>", "policy-violation", limits)

    def test_attributes(self) -> None:
        """Attributes and declarations of one element together."""
        limits = Limits(stanza_bytes=9999, elements=50, depth=50, attributes=3)
        self.assertEqual(len(self.outcome(b"<message><a b='' c='' xmlns='urn:a'/>===</message>", limits)[0]), 1)
        self.assert_refused(b"<message><a b='' c='' d='' xmlns='urn:a'/></message>", "policy-violation", limits)
        self.assert_refused(b"<message b='' c='' xmlns:p='urn:p' xmlns:q='urn:q'/>", "policy-violation", limits)
        many = b" ".join(b"xmlns:a%d='urn:a'" % n for n in range(5000))
        self.assert_refused(b"<message " + many + b"/>", "policy-violation")

    def test_replaced(self) -> None:
        """After log-in there may be more."""
        framer = Framer("jabber:client", Limits(200, 9, 9, 9))
        framer.feed(HEADER)
        framer.limits = WIDE
        self.assertEqual(len(framer.feed(b"<message>" + b"x" * 1000 + b"</message>")), 1)

    def test_dribbled(self) -> None:
        """A long token in small pieces costs a multiple of its length, not its square (Z3); counted in bytes fed."""
        fed = 0
        original = slice_parser.SliceParser.feed

        def counted(parser: slice_parser.SliceParser, tokens: bytes) -> None:
            nonlocal fed
            fed += len(tokens)
            original(parser, tokens)

        self.patch(slice_parser.SliceParser, "feed", counted)
        for start, piece in (
            (b"<message to='", b"x"),
            (b"<message to='", b">"),
            (b"<message><a b='", b">>>"),
            (b"<message>&", b"a"),
            (b"<message><![CDATA[", b"</message>"),
            (b"<message><a></message", b" "),
            (b"<message>", b"<message>"),
        ):
            fed = 0
            framer = Framer("jabber:client", Limits(65536, 1 << 20, 1 << 20, 64))
            framer.feed(HEADER)
            with self.assertRaises(StreamError) as caught:
                framer.feed(start)
                for _ in range(65536):
                    framer.feed(piece)
            self.assertEqual(caught.exception.condition, "policy-violation")
            self.assertLessEqual(fed, 65536)


class IdleTests(TestCase):
    """What a silent connection costs."""

    def test_holds_nothing(self) -> None:
        """Between two elements there is no parser and no buffer; nor after an error."""
        framer = Framer("jabber:client", WIDE)
        framer.feed(HEADER)
        for raw in (b"<message/>", b"<r xmlns='urn:r'/>", b"<iq><x xmlns='urn:x'><y/></x></iq>\n"):
            framer.feed(raw[:4])
            self.assertIsNotNone(framer._slice)
            framer.feed(raw[4:])
            self.assertIsNone(framer._slice)
            self.assertIsNone(framer._header)
        with self.assertRaises(StreamError):
            framer.feed(b"<message><a></b>")
        self.assertIsNone(framer._slice)

    def test_shared_parsers(self) -> None:
        """An ordinary stanza takes the common path; parsers are replaced before they remember too much."""
        framer = Framer("jabber:client", WIDE)
        framer.feed(HEADER)
        self.patch(Framer, "_finish", lambda *_: self.fail("not on the common path"))
        before = common_path._shared.parser
        for n in range(100):
            raw = b"<message type='chat' id='%d'><body>%s</body></message>" % (n, b"x" * 45_000)
            self.assertEqual(len(framer.feed(raw)), 1)
        self.assertIsNot(common_path._shared.parser, before)
        self.assertLessEqual(len(slice_parser._pool), len(slice_parser._POOLED))

    def test_one_bad_peer(self) -> None:
        """A stanza that breaks the shared parser does not break the next one's."""
        good = Framer("jabber:client", WIDE)
        good.feed(HEADER)
        for bad in (b"<message><a></message>", b"<message to='a\xff'/>", b"<message><p:a/></message>"):
            framer = Framer("jabber:client", WIDE)
            framer.feed(HEADER)
            with self.assertRaises(StreamError):
                framer.feed(bad)
            self.assertEqual(len(good.feed(b"<message to='a'><b/></message><iq><x xmlns='urn:x'/></iq>")), 2)

    def test_element_type(self) -> None:
        """First-level elements are our Element, with its vocabulary."""
        framer = Framer("jabber:client", WIDE)
        framer.feed(HEADER)
        (frame,) = framer.feed(b"<auth xmlns='urn:a' mechanism='X'/>")
        assert isinstance(frame, Element)
        self.assertEqual((frame.namespace, frame.name, frame.get("mechanism")), ("urn:a", "auth", "X"))

    def test_opened(self) -> None:
        """The header comes as a frame of its own, in one feed with what follows."""
        framer = Framer("jabber:client", WIDE)
        opened, message = framer.feed(HEADER + b"<message/>")
        assert isinstance(opened, StreamOpened)
        assert isinstance(message, Stanza)
        self.assertEqual(opened.attributes, {"version": "1.0"})
