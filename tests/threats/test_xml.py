"""Threats X: XML and the parser, on client streams in the clear, under TLS before log-in, and after it.

Not here: the doors for servers, components, WebSocket and BOSH, which do not exist yet; of X4 the archive and carbons;
of X10 pubsub nodes. X9 has more cases in tests/xmpp/test_framing_properties.py and tests/xmpp/fuzz_framing.py.
"""

import socket
from collections.abc import Iterator
from xml.parsers.expat import ExpatError

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from chatrix.testing.reader import StreamReader
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.framing import Framer, Limits
from chatrix.xmpp.stanza import Stanza
from tests.threats.oracle import LONG, Threat
from tests.threats.raw import NS_STANZAS, NS_TLS, RawClient, condition, header, sasl, sasl_failure, stream_error
from tests.xmpp.xml_strategies import PIECES

BEFORE_LOG_IN = 8192
AFTER_LOG_IN = 256 * 1024

LAUGHS = b"<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY l0 'lol'>%s]>" % b"".join(
    b"<!ENTITY l%d '%s'>" % (level + 1, b"&l%d;" % level * 10) for level in range(6)
)
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"
"""What the server itself may add."""

TOO_MUCH = stream_error("policy-violation", "too many or too deeply nested elements or attributes")
TOO_BIG = stream_error("policy-violation", "stanza too big")


class XMLThreats(Threat):
    """One server for the table."""

    def clear(self) -> RawClient:
        """A client with an open stream before TLS."""
        client = self.connect()
        client.open()
        return client

    def secured(self) -> RawClient:
        """A client with an open stream under TLS, not logged in."""
        client = self.connect(direct=True)
        client.start_tls()
        client.open()
        return client

    def logged_in(self, user: str = "alice") -> RawClient:
        """A client with a bound resource."""
        return self.connect().log_in(user)

    def everywhere(self) -> Iterator[RawClient]:
        """A client at each stage."""
        for stage in (self.clear, self.secured, self.logged_in):
            yield stage()

    def test_x1_document_type(self) -> None:
        """A DTD is refused where it begins: no entity is expanded, no URL fetched."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            url = b"http://127.0.0.1:%d/" % listener.getsockname()[1]
            external = b"<!DOCTYPE x SYSTEM '%s'>" % url
            entity = b"<!DOCTYPE x [<!ENTITY e SYSTEM '%s'>]>" % url
            for doctype in (LAUGHS, external, entity, b"<!DOCTYPE x [<!ENTITY a '%s'>]>" % (b"a" * 8000)):
                client = self.connect()
                client.send(doctype, header()[21:])
                client.expect_refused_header(stream_error("restricted-xml"))
                for client in self.everywhere():
                    client.send(doctype.removeprefix(b"<?xml version='1.0'?>"))
                    client.expect_end(stream_error("restricted-xml"))
            self.assertRaises(BlockingIOError, listener.accept)

    def test_x2_comments_and_instructions(self) -> None:
        """Comments and processing instructions are restricted, between stanzas and inside them, and in the header."""
        for forbidden in (b"<!-- -->", b"<?x?>", b"<?x <message/> ?>"):
            for client in self.everywhere():
                client.send(forbidden)
                client.expect_end(stream_error("restricted-xml"))
            for client in self.everywhere():
                client.send(b"<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'>", forbidden, b"</ping></iq>")
                client.expect_end(stream_error("restricted-xml"))
            client = self.connect()
            client.send(b"<?xml version='1.0'?>", forbidden, header()[21:])
            client.expect_refused_header(stream_error("restricted-xml"))

    def test_x2_entities(self) -> None:
        """An entity that nobody defined is not well-formed."""
        for client in self.everywhere():
            client.send(b"<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'>&foo;</ping></iq>")
            client.expect_end(stream_error("not-well-formed"))
        client = self.logged_in()
        client.send(b"<iq type='get' id='&foo;'><ping xmlns='urn:xmpp:ping'/></iq>")
        client.expect_end(stream_error("not-well-formed"))

    def test_x2_cdata(self) -> None:
        """CDATA is text, and goes out escaped."""
        client = self.logged_in()
        client.send(f"<message to='{client.jid}' id='1'><body><![CDATA[</body><a>&amp;]]&gt;]]></body></message>")
        raw = client.receive(b"</message>")
        self.assertIn(b"<body>&lt;/body&gt;&lt;a&gt;&amp;amp;]]&amp;gt;</body>", raw)
        self.assertNotIn(b"CDATA", raw)

    def test_x3_dribbled_token(self) -> None:
        """An attribute of 2 MB in pieces of 64 bytes costs its sender the stream at the limit, and us no time."""
        piece = b"a" * 64
        for stage, limit in (
            (self.clear, BEFORE_LOG_IN),
            (self.secured, BEFORE_LOG_IN),
            (self.logged_in, AFTER_LOG_IN),
        ):
            client = stage()
            client.send(b"<iq type='get' id='")
            client.send(*[piece] * (limit // 64 - 1))
            # Not before the limit: the server still listens.
            self.assertEqual(b"", client.received)
            client.send(*[piece] * ((2 << 20) // 64 - limit // 64 if LONG else 64))
            client.expect_end(TOO_BIG)
        client = self.connect()
        client.send(header()[:-1], b" a='")
        client.send(*[piece] * (BEFORE_LOG_IN // 64))
        client.expect_refused_header(stream_error("policy-violation", "stream header too big"))

    def test_x3_angle_brackets(self) -> None:
        """So does one with a `>` in every piece."""
        client = self.logged_in()
        client.send(b"<message to='bob@a.test' id='")
        client.send(*[b">" * 64] * (AFTER_LOG_IN // 64))
        client.expect_end(TOO_BIG)

    def test_x4_deep(self) -> None:
        """10 000 elements in each other are refused at the 65th, or as soon as there may not be that many."""
        for client in self.everywhere():
            client.send(b"<iq type='set' id='1'>", b"<a xmlns='urn:a'>" * 10_000)
            client.expect_end(TOO_MUCH)

    def test_x4_as_deep_as_allowed(self) -> None:
        """64 deep goes the whole way, through delivery and the offline store, and 65 does not."""
        client, deepest = self.logged_in(), b"<a>" * 62 + b"</a>" * 62
        message = b"<message to='%s' type='chat' id='deep'><x xmlns='urn:x'>%s</x></message>"
        client.send(message % (client.jid.encode(), deepest))
        self.assertIn(deepest, client.receive(b"</message>"))
        client.send(message % (b"bob@a.test", b"<body>offline</body>" + deepest.replace(b"<a>", b"<a >")))
        self.assertEqual([], client.barrier())
        bob = self.logged_in("bob")
        bob.send(b"<presence/>")
        while (element := bob.element()).get("id") != "deep":
            pass
        self.assertEqual(62, sum(1 for _ in element.iter("{urn:x}a")))
        client.send(message % (client.jid.encode(), b"<a>" + deepest + b"</a>"))
        client.expect_end(TOO_MUCH)

    def test_x5_floods(self) -> None:
        """Elements, attributes and namespaces are counted."""
        attributes = b"".join(b" a%d='1'" % number for number in range(10_000))
        namespaces = b"".join(b" xmlns:a%d='u'" % number for number in range(5_000))
        for stage in (self.clear, self.secured):
            for flood in (
                b"<iq type='set' id='1'>" + b"<a xmlns='u'/>" * 32,
                b"<iq" + attributes[: attributes.index(b" a64=")] + b" a64='1'>",
                b"<iq" + namespaces[: namespaces.index(b" xmlns:a64=")] + b" xmlns:a64='u'>",
                b"<iq"
                + attributes[: attributes.index(b" a60=")]
                + namespaces[: namespaces.index(b" xmlns:a5=")]
                + b">",
            ):
                client = stage()
                client.send(flood)
                client.expect_end(TOO_MUCH)
            for flood in (b"<iq" + attributes + b">", b"<iq" + namespaces + b">"):
                client = stage()
                client.send(flood)
                client.expect_end(TOO_BIG)
        for flood in (b"<iq" + attributes + b">", b"<iq type='get'><a" + namespaces + b">", b"<iq>" + b"<a/>" * 10_000):
            client = self.logged_in()
            client.send(flood)
            client.expect_end(TOO_MUCH)
        client = self.connect()
        client.send(header()[:-1], attributes[: attributes.index(b" a64=")], b">")
        client.expect_refused_header(stream_error("policy-violation", "too many attributes"))

    def test_x6_exact_size_before_log_in(self) -> None:
        """8192 bytes pass, counted as bytes, and one more does not; the limit is advertised."""
        for text, size in (("A", 1), ("é", 2)):
            client = self.connect(direct=True)
            client.start_tls()
            features = client.open()
            self.assertIn(b"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>8192</max-bytes>", features)
            frame = len(sasl("auth", "", "PLAIN"))
            count, odd = divmod(BEFORE_LOG_IN - frame, size)
            client.send(sasl("auth", text * count + "A" * odd, "PLAIN"))
            client.receive(b"</failure>")
            client.send(sasl("auth", text * count + "A" * (odd + 1), "PLAIN"))
            client.expect_end(TOO_BIG)

    def test_x6_exact_size_after_log_in(self) -> None:
        """262144 bytes pass, counted as bytes, and one more does not; the limit is advertised."""
        client = self.connect()
        client.secure()
        client.authenticate("alice")
        self.assertIn(b"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>", client.open_again())
        for text, size in (("a", 1), ("é", 2)):
            client = self.logged_in()
            frame = f"<message to='{client.jid}' id='big'><body></body></message>"
            count, odd = divmod(AFTER_LOG_IN - len(frame), size)
            body = text * count + "a" * odd
            client.send(frame.replace("<body>", "<body>" + body))
            self.assertEqual(body, client.answer("big").findtext("{jabber:client}body"))
            client.send(frame.replace("<body>", "<body>a" + body))
            client.expect_end(TOO_BIG)

    def test_x7_other_encodings(self) -> None:
        """Only UTF-8 is spoken here."""
        text = header().decode()
        declared = text.replace("'1.0'?>", "'1.0' encoding='latin1'?>", 1).encode()
        for opening in (text.encode("utf-16"), text.encode("utf-16-be"), text.encode("utf-32"), declared):
            client = self.connect()
            client.send(opening)
            client.expect_refused_header(stream_error("unsupported-encoding"))

    def test_x7_no_utf8(self) -> None:
        """Overlong forms, surrogates and what is no character of XML are not well-formed, wherever they are."""
        for bad in (b"\xc0\x80", b"\xed\xa0\x80", b"\0", b"\xef\xbf\xbe", b"\xff", b"\xf8\x88\x80\x80\x80", b"\x1b"):
            for client in (self.clear(), self.secured()):
                client.send(b"<iq type='get' id='", bad, b"'><ping xmlns='urn:xmpp:ping'/></iq>")
                client.expect_end(stream_error("not-well-formed"))
            client = self.logged_in()
            client.send(b"<message to='bob@a.test'><body>", bad, b"</body></message>")
            client.expect_end(stream_error("not-well-formed"))
        for bad in (b"&#0;", b"&#xD800;", b"&#xFFFE;", b"&#27;"):
            client = self.logged_in()
            client.send(b"<message to='bob@a.test'><body>", bad, b"</body></message>")
            client.expect_end(stream_error("not-well-formed"))

    def test_x8_compression(self) -> None:
        """Nothing is compressed: not offered, refused when asked for, and not by TLS."""
        refusal = b"<failure xmlns='http://jabber.org/protocol/compress'><unsupported-method/></failure>"
        wish = b"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>"
        client = self.connect()
        self.assertNotIn(b"compress", client.open())
        client.send(wish)
        client.expect_end(stream_error("policy-violation", "TLS is required"))
        client = self.connect()
        self.assertNotIn(b"compress", client.secure())
        self.assertIsNone(client.socket.compression())  # type: ignore[attr-defined]
        client.send(wish)
        client.expect(refusal)
        client.authenticate("alice")
        self.assertNotIn(b"compress", client.open_again())
        client.send(wish)
        client.expect(refusal)

    def test_x9_streams_in_stanzas(self) -> None:
        """What looks like another stream or stanza never becomes one for the receiver."""
        for child in (
            b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>",
            b"<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>",
            b"<p:message xmlns:p='jabber:client' to='bob@a.test'><p:body>x</p:body></p:message>",
            b"<message xmlns='jabber:server'/>",
            b"<message/><message xmlns='jabber:client'/>",
            b"<x xmlns='jabber:client'><message><body/></message></x>",
            b"<x xmlns=''><message/></x>",
            b"<![CDATA[x]]><xml:x xml:id='a'><y/></xml:x>",
            b"<x y='\r\n\t'/>",
            b"<x y='&#13;&#10;&#9;'/>",
            b"<![CDATA[</message><message>]]>",
            b"<stream:x/>",
        ):
            client = self.logged_in()
            client.send(b"<message to='%s' id='1'>%s</message>" % (client.jid.encode(), child))
            client.send(f"<iq type='get' id='end' to='{client.jid}'/>")
            raw = client.receive(b"id='end'")
            raw = raw[: raw.rindex(b"<iq")]
            sent = b"<s xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>%s</s>" % child
            for tree in (both_trees(raw), seen_by_expat(b"<message>" + child + b"</message>")):
                self.assertEqual(content(etree.fromstring(sent)), content(tree))

    def test_x9_refused(self) -> None:
        """A stream in the stream, an end tag too many, and stanzas of another namespace end it."""
        for bad, error in (
            (b"<message><body></message></body>", stream_error("not-well-formed")),
            (b"<message></stream:stream>", stream_error("not-well-formed")),
            (b"<message></iq>", stream_error("not-well-formed")),
            (b"</message>", stream_error("not-well-formed")),
            (b"<iq xmlns='jabber:server' type='get' id='1'/>", stream_error("invalid-namespace")),
            (b"<p:iq xmlns:p='jabber:server' type='get' id='1'/>", stream_error("invalid-namespace")),
            (b"<iq xmlns='' type='get' id='1'/>", stream_error("invalid-namespace")),
            (b"<a:iq type='get' id='1'/>", stream_error("not-well-formed")),
            (b"<iq type='get' type='set' id='1'/>", stream_error("not-well-formed")),
            (header()[21:], stream_error("unsupported-stanza-type")),
            (header(), stream_error("restricted-xml")),
            (b"text", stream_error("bad-format")),
        ):
            for client in self.everywhere():
                client.send(bad)
                self.assertEqual((bad, error), (bad, client.rest()))

    def test_x9_namespaces_that_are_no_uris(self) -> None:
        """What expat lets pass, and what breaks libxml2 or the expat of some clients, gets to nobody, now or later."""
        name = b"n" * 60_000
        for odd in (
            b"<x xmlns='}'/>",
            b'<x xmlns=" "/>',
            b"<x xmlns='u&apos;&gt;&lt;/message&gt;&lt;message&gt;'/>",
            b"<x xmlns = 'http://['/>",
            b"<x xmlns:p='%zz'/>",
            b"<p:x xmlns:p='\xc3\xa9' p:a='1'/>",
            b"<%s/>" % name,
            b"<x %s='1'/>" % name,
        ):
            client = self.logged_in()
            client.send(b"<message to='bob@a.test' type='chat'><body>1</body>", odd, b"</message>")
            client.expect_end(stream_error("bad-format"))
        client = self.logged_in()
        client.send(b"<message to='bob@a.test' type='chat' id='after'><body>1</body></message>")
        client.barrier()
        bob = self.logged_in("bob")
        bob.send(b"<presence/>")
        bob.answer("after")

    def test_x9_white_space_in_attributes(self) -> None:
        """Line ends in attributes are blanks to every parser, and references to them stay what they are."""
        client = self.logged_in()
        client.send(f"<message to='{client.jid}' id='1\r\n\t2'><body/></message>".encode())
        self.assertEqual("1  2", client.element().get("id"))
        client.send(f"<message to='{client.jid}' id='1&#13;&#10;&#9;2'><body/></message>".encode())
        raw = client.receive(b"</message>")
        self.assertEqual("1\r\n\t2", both_trees(raw).get("id"))

    def test_x9_property(self) -> None:
        """Whatever pieces a stream is made of: each stanza that comes out is one element, the same to both parsers."""

        @settings(
            max_examples=100_000 if LONG else 1_000,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(PIECES, min_size=1, max_size=12))
        def one_element(pieces: list[bytes]) -> None:
            framer = Framer("jabber:client", Limits(8192, 32, 64, 64))
            try:
                frames = framer.feed(header() + b"".join(pieces))
            except StreamError as error:
                frames = list(error.frames)  # type: ignore[arg-type]
            for frame in frames:
                if isinstance(frame, Stanza):
                    frame.attributes["from"] = "eve@a.test/'\"<>"
                    self.assertEqual(frame.name, etree.QName(both_trees(frame.to_bytes())).localname)

        one_element()

    def test_x10_injection(self) -> None:
        """Whatever is in a resource, a status, an id or a language reaches the receiver as it was, and is all there."""
        nasty = "'\"<>&]]>&amp;</presence><x a='"
        escaped = nasty.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;").replace('"', "&quot;")
        escaped = escaped.replace(">", "&gt;")
        client = self.connect().log_in("alice", resource=escaped)
        bob = self.logged_in("bob")
        for quote in "'\"":
            client.send(
                f"<presence to={quote}{bob.jid}{quote} id={quote}{escaped}{quote} xml:lang={quote}{escaped}{quote}>"
                f"<status>{escaped}</status><priority>{escaped}</priority></presence>"
            )
            presence = bob.answer(nasty)
            self.assertEqual(f"alice@a.test/{nasty}", presence.get("from"))
            self.assertEqual(nasty, presence.get("{http://www.w3.org/XML/1998/namespace}lang"))
            self.assertEqual(nasty, presence.findtext("{jabber:client}status"))
        client.send(f"<iq type='get' to='a.test' id='{escaped}'><x xmlns='urn:x' y='{escaped}'/></iq>")
        error = client.answer(nasty)
        self.assertEqual(("cancel", "service-unavailable"), condition(error))
        self.assertEqual(1, len(error.findall(f".//{{{NS_STANZAS}}}service-unavailable")))

    def test_elements_before_log_in(self) -> None:
        """A stranger may send 32 first-level elements, refused log-ins and all, before the stream is closed."""
        client = self.clear()
        client.send(sasl("auth", "", "PLAIN") * 33)
        client.expect_end(
            sasl_failure("encryption-required") * 32,
            stream_error("policy-violation", "too many elements before log-in"),
        )
        self.assertNotIn(NS_TLS.encode(), client.received)


def seen_by_expat(raw: bytes) -> etree._Element:
    """The one element in these bytes, as expat finds it in a stream."""
    reader = StreamReader()
    reader.feed(header())
    try:
        elements = reader.feed(raw)
    except ExpatError as error:
        raise AssertionError(f"{raw!r} is not well-formed: {error}") from error
    if len(elements) != 1 or reader.closed:
        raise AssertionError(f"{raw!r} is not one element")
    return elements[0]


def both_trees(raw: bytes) -> etree._Element:
    """The one element in these bytes, which must be the same to expat and to libxml2."""
    seen = seen_by_expat(raw)
    root = etree.fromstring(header()[21:] + raw + b"</stream:stream>")
    if len(root) != 1 or content_of_all(root[0]) != content_of_all(seen):
        raise AssertionError(f"{raw!r} is not the same to expat and to libxml2")
    return seen


def content_of_all(element: etree._Element) -> list[object]:
    """Everything that a tree says, comparable."""
    return [element.tag, sorted(element.attrib.items()), *content(element)]


def content(element: etree._Element) -> list[object]:
    """What is inside of an element, comparable."""
    found: list[object] = [element.text or ""]
    for child in element:
        if child.tag != STANZA_ID:
            found += [content_of_all(child), child.tail or ""]
    return found
