"""The stream header: RFC 6120 sections 4.7 to 4.9, and strangers who speak something else (X7, T8)."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.framing import Framer, Limits, StreamClosed, StreamOpened
from tests.xmpp.xml_strategies import HEADER

NS = b"xmlns:stream='http://etherx.jabber.org/streams'"


def opening(raw: bytes, *, single: bool = False) -> tuple[list[object], str | None]:
    """Return the frames and the error condition, fed whole or as single bytes."""
    framer = Framer("jabber:client", Limits(300, 8, 8, 8))
    frames: list[object] = []
    try:
        for piece in [raw[i : i + 1] for i in range(len(raw))] if single else [raw]:
            frames += framer.feed(piece)
    except StreamError as error:
        return [*frames, *error.frames], error.condition
    return frames, None


class StreamHeaderTests(TestCase):
    """The first bytes."""

    def outcome(self, raw: bytes) -> tuple[list[object], str | None]:
        """Return frames and error, the same for the whole and for single bytes."""
        whole = opening(raw)
        self.assertEqual(opening(raw, single=True), whole, raw)
        return whole

    def test_opened(self) -> None:
        """Attributes without the declarations, the default namespace, the prefixes."""
        frames, _ = self.outcome(
            b"<?xml version='1.0' encoding=\"UTF-8\"?>\n<stream:stream to='b' from='a@b' id='1' version='1.0' "
            b"xml:lang='de' xmlns='jabber:client' xmlns:db='jabber:server:dialback' " + NS + b">"
        )
        self.assertEqual(
            frames,
            [
                StreamOpened(
                    {"to": "b", "from": "a@b", "id": "1", "version": "1.0", "xml:lang": "de"},
                    "jabber:client",
                    {"db": "jabber:server:dialback", "stream": "http://etherx.jabber.org/streams"},
                )
            ],
        )

    def test_accepted(self) -> None:
        """No XML declaration, blanks before, another prefix or none."""
        for raw in (
            HEADER,
            b" \r\n" + HEADER,
            b"<?xml version='1.0'?>" + HEADER,
            b"<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>",
            b"<stream xmlns='http://etherx.jabber.org/streams'>",
        ):
            frames, condition = self.outcome(raw)
            self.assertEqual((len(frames), condition), (1, None), raw)

    def test_refused(self) -> None:
        """Each with the RFC's condition."""
        for raw, condition in (
            (b"POST / HTTP/1.1\r\n", "not-well-formed"),
            (b"\x16\x03\x01", "not-well-formed"),
            (b"\xef\xbb\xbf" + HEADER, "not-well-formed"),
            (b" <?xml version='1.0'?>", "restricted-xml"),
            (b"<?php", "restricted-xml"),
            (b"<?xml-stylesheet?>", "restricted-xml"),
            (b"<!DOCTYPE a>", "restricted-xml"),
            (b"<!-- -->" + HEADER, "restricted-xml"),
            (b"<?xml version='1.0'?><!-- -->", "restricted-xml"),
            (b"\xff\xfe<\x00", "unsupported-encoding"),
            (b"\xfe\xff\x00<", "unsupported-encoding"),
            (b"<\x00?\x00", "unsupported-encoding"),
            (b"\x00<\x00?", "unsupported-encoding"),
            (b"<?xml version='1.0' encoding='latin1'?>" + HEADER, "unsupported-encoding"),
            (b"<?xml version='1.0' encoding='UTF-16'?>" + HEADER, "unsupported-encoding"),
            (b"<?xml vershun='1.0'?>" + HEADER, "not-well-formed"),
            (b"<stream:stream xmlns='jabber:client'>", "not-well-formed"),
            (b"<stream:stream to='&foo;' " + NS + b">", "not-well-formed"),
            (b"</stream:stream>", "not-well-formed"),
            (b"<stream xmlns='jabber:client'>", "invalid-namespace"),
            (b"<foo>", "invalid-namespace"),
            (b"<stream:stream xmlns='jabber:client' xmlns:stream='urn:x'>", "invalid-namespace"),
            (b"<stream:stream xmlns='jabber:server' " + NS + b">", "invalid-namespace"),
            (b"<stream:stream " + NS + b">", "invalid-namespace"),
            (b"<stream:foo xmlns='jabber:client' " + NS + b">", "bad-format"),
            (b"<stream:stream to='" + b"x" * 300, "policy-violation"),
            (b" " * 301, "policy-violation"),
            (b"<?xml " + b" " * 301, "policy-violation"),
            (
                b"<stream:stream a='' b='' c='' d='' e='' f='' g='' xmlns='jabber:client' " + NS + b">",
                "policy-violation",
            ),
        ):
            self.assertEqual(self.outcome(raw), ([], condition), raw)

    def test_empty_stream(self) -> None:
        """Opened and closed by one tag."""
        frames, condition = self.outcome(HEADER[:-1] + b"/>")
        self.assertIsInstance(frames[0], StreamOpened)
        self.assertEqual((frames[1:], condition), ([StreamClosed()], None))

    def test_restart(self) -> None:
        """After reset a header with an XML declaration of its own is accepted, and what was unfinished is gone."""
        framer = Framer("jabber:client", Limits(300, 8, 8, 8))
        framer.feed(HEADER + b"<message><bo")
        framer.reset()
        frames = framer.feed(b"<?xml version='1.0'?>" + HEADER + b"<message/>")
        self.assertEqual(len(frames), 2)
        framer.feed(b"</stream:stream>")
        framer.reset()
        self.assertEqual(len(framer.feed(HEADER)), 1)
