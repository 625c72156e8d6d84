"""Tests of the short cuts of framing: usual headers and leaves are taken as the careful path would."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.xmpp.common_path import whole_leaf
from chatrix.xmpp.errors import StreamError
from chatrix.xmpp.framing import BEFORE_LOG_IN, Framer, StreamOpened
from chatrix.xmpp.namespaces import NS_CLIENT, NS_SASL, NS_STREAM, NS_STREAM_MANAGEMENT
from chatrix.xmpp.stream_header import usual_header
from tests.xmpp.xml_strategies import HEADER, framed

USUAL = f"<stream:stream to='a.test' version='1.0' xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'>".encode()

NAMES = st.sampled_from(
    ["to", "from", "id", "version", "xml:lang", "xmlns", "xmlns:stream", "xmlns:db", "other", "to "]
)
VALUES = st.sampled_from(
    [
        NS_CLIENT,
        NS_STREAM,
        "jabber:server",
        "a.test",
        "1.0",
        "en",
        "",
        "a&amp;b",
        "a>b",
        "a<b",
        "\u00e9",
        "\t",
        '"',
        "'",
    ]
)
QUOTES = st.sampled_from(["'", '"'])
DECLARATIONS = st.sampled_from(
    [
        "",
        "<?xml version='1.0'?>",
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        "<?xml version='1.0' encoding='utf-8' ?> ",
        "<?xml version='1.0' encoding='latin1'?>",
        "<?xml version='1.1'?>",
        " ",
    ]
)
ATTRIBUTES = st.lists(st.tuples(NAMES, QUOTES, VALUES), max_size=6)


def written(pairs: list[tuple[str, str, str]]) -> str:
    """Attributes as somebody might write them, right or wrong."""
    return "".join(f" {name}={quote}{value}{quote}" for name, quote, value in pairs)


def opened(raw: bytes, careful: bool) -> tuple[object, ...]:
    """What a framer makes of a header and what follows it."""
    framer = Framer(NS_CLIENT, _careful_only=careful)
    try:
        frames = framer.feed(raw)
    except StreamError as error:
        return (error.condition, *(frame for frame in error.frames if isinstance(frame, StreamOpened)))
    return tuple(frames)


class UsualHeaderTests(TestCase):
    """Stream headers."""

    def test_taken(self) -> None:
        """What clients send is taken by the short cut, and opens the stream."""
        for declaration in (b"", b"<?xml version='1.0'?>", b'<?xml version="1.0" encoding="UTF-8"?>\n'):
            found = usual_header(declaration + USUAL + b"<a/>", NS_CLIENT, BEFORE_LOG_IN)
            assert found is not None
            self.assertEqual(found[0].attributes, {"to": "a.test", "version": "1.0"})
            self.assertEqual(found[2], len(declaration + USUAL))

    @settings(max_examples=400, deadline=None)
    @given(DECLARATIONS, ATTRIBUTES, st.booleans(), st.sampled_from([">", " >", "/>", ""]), st.booleans())
    def test_as_careful(
        self, declaration: str, more: list[tuple[str, str, str]], usual: bool, close: str, behind: bool
    ) -> None:
        """Whatever the header, both paths say the same of it, and of what follows."""
        names = [("xmlns", "'", NS_CLIENT), ("xmlns:stream", '"', NS_STREAM)] if usual else []
        raw = f"{declaration}<stream:stream{written(names + more)}{close}{'<presence/>' if behind else ''}".encode()
        self.assertEqual(opened(raw, careful=False), opened(raw, careful=True))

    def test_limits(self) -> None:
        """The limit of a header is the same on both paths."""
        raw = USUAL[:-1] + b" id='" + b"x" * (8192 - len(USUAL) - 6) + b"'>"
        self.assertEqual(len(raw), 8192)
        for exact, outcome in ((raw, 1), (raw.replace(b"x'", b"xx'"), "policy-violation")):
            for careful in (False, True):
                frames = opened(exact, careful)
                self.assertEqual(len(frames) if outcome == 1 else frames[0], outcome)


class LeafTests(TestCase):
    """Elements of negotiation."""

    def test_taken(self) -> None:
        """What log-in and stream management send is taken by the short cut."""
        for raw, expected in (
            (f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>AGEAYg==</auth>", ("auth", "AGEAYg==")),
            (f'<response xmlns="{NS_SASL}"/>', ("response", None)),
            (f"<r xmlns='{NS_STREAM_MANAGEMENT}'/>", ("r", None)),
        ):
            found = whole_leaf(raw.encode(), 0, BEFORE_LOG_IN)
            assert found is not None
            self.assertEqual((found[0].name, found[0].text), expected)

    @settings(max_examples=400, deadline=None)
    @given(
        st.sampled_from(["auth", "response", "r", "message", "Auth", "a:b"]),
        st.sampled_from([NS_SASL, NS_STREAM_MANAGEMENT, NS_CLIENT, NS_STREAM, "urn:x", "no uri"]),
        st.lists(st.tuples(st.sampled_from(["mechanism", "h", "xmlns", "x:y", "id"]), QUOTES, VALUES), max_size=3),
        st.sampled_from(["", "=", "AGEAYg==", " AGEA ", "a&amp;b", "\u00e9", "<x/>", "<![CDATA[x]]>"]),
        st.sampled_from(["</{}>", "</{} >", "</other>", ""]),
    )
    @example("auth", NS_SASL, [("xmlns", "'", NS_SASL)], "", "</{}>")
    def test_as_careful(self, name: str, namespace: str, more: list[tuple[str, str, str]], text: str, end: str) -> None:
        """Whatever the element, both paths say the same of it."""
        raw = f"<{name} xmlns='{namespace}'{written(more)}>{text}{end.format(name)}<presence/>".encode()
        self.assertEqual(framed([raw]), framed([raw], careful=True))

    def test_header_of_the_others(self) -> None:
        """The header of the property tests takes the short cut, so that they try what comes behind one."""
        self.assertIsNotNone(usual_header(HEADER, NS_CLIENT, BEFORE_LOG_IN))
