"""Reading transcripts: what the sentences mean, and on which line something is wrong."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatrix.testing.transcript import (
    Account,
    Connects,
    GetsStreamError,
    IgnoresWhatCame,
    Opens,
    Receives,
    ReceivesNothing,
    Sends,
    SendsRaw,
    Step,
    TranscriptError,
    load,
    parse,
)

CAST = """# RFC 0000: a title
account romeo@localhost
romeo is romeo@localhost/orchard
"""


class Reading(SynchronousTestCase):
    """From text to steps."""

    def steps(self, text: str) -> tuple[Step, ...]:
        return parse(CAST + text).steps

    def fails(self, text: str, message: str) -> None:
        error = self.assertRaises(TranscriptError, parse, text, "a.transcript")
        self.assertEqual(message, str(error))

    def test_cast(self) -> None:
        """The head of a transcript: title, accounts and clients."""
        transcript = parse(CAST + "account juliet@localhost with password wherefore\nromeo connects\n")
        self.assertEqual("RFC 0000: a title", transcript.title)
        self.assertEqual(
            (Account("romeo@localhost", "secret"), Account("juliet@localhost", "wherefore")), transcript.accounts
        )
        self.assertEqual({"romeo": "romeo@localhost/orchard"}, transcript.clients)

    def test_sentences(self) -> None:
        """Each sentence becomes a step of its kind, with its line and who acts."""
        steps = self.steps(
            "romeo connects\nromeo opens a TLS connection\nromeo gets stream error host-unknown\n"
            "nobody receives anything\nromeo receives nothing\neverybody ignores what came\n"
        )
        kinds = [Connects, Opens, GetsStreamError, ReceivesNothing, ReceivesNothing, IgnoresWhatCame]
        self.assertEqual(kinds, [type(step) for step in steps])
        self.assertEqual([4, 5, 6, 7, 8, 9], [step.line for step in steps])
        self.assertEqual(["romeo", "romeo", "romeo", "", "romeo", ""], [step.who for step in steps])

    def test_blocks(self) -> None:
        """The indented lines below a sentence belong to it; several stanzas, empty lines and comments are fine."""
        sends, receives = self.steps(
            "romeo sends:\n    <presence/>\n\n    <message to='a@b'/>\n\n# later\n"
            "romeo receives in any order:\n    <iq>\n        <ping/>\n    </iq>\n    <presence/>\n"
        )
        assert isinstance(sends, Sends) and isinstance(receives, Receives)
        self.assertEqual("<presence/>\n\n<message to='a@b'/>", sends.xml)
        self.assertEqual(("", "a@b"), sends.recipients)
        self.assertEqual(2, len(receives.stanzas))
        self.assertTrue(receives.any_order)

    def test_raw(self) -> None:
        """Raw blocks know bytes, line ends, joined lines and repetition."""
        (step,) = self.steps("romeo sends raw:\n    <a>\\x00\\r\\n\\\n    {3 times <b>}\n    <!-- -->\n")
        assert isinstance(step, SendsRaw)
        self.assertEqual(b"<a>\x00\r\n<b><b><b>\n<!-- -->", step.data)
        self.assertFalse(step.opens_stream)

    def test_domain(self) -> None:
        """A performance may have a domain of its own in place of localhost, in every word and stanza."""
        transcript = parse(CAST + "romeo sends:\n    <message to='x@localhost'/>\n", domain="t1.example")
        self.assertEqual({"romeo": "romeo@t1.example/orchard"}, transcript.clients)
        (step,) = transcript.steps
        assert isinstance(step, Sends)
        self.assertEqual(("x@t1.example",), step.recipients)

    def test_begins_as(self) -> None:
        """Another file's cast and steps come first, and errors there are told with its name."""
        files = {"cast.transcript": CAST + "romeo connects\n", "bad.transcript": "\nwhat?\n"}
        transcript = parse("begins as cast.transcript\nromeo disconnects\n", "a.transcript", files.__getitem__)
        self.assertEqual(["cast.transcript:4", "a.transcript:2"], [step.place for step in transcript.steps])
        error = self.assertRaises(
            TranscriptError, parse, "begins as bad.transcript\n", "a.transcript", files.__getitem__
        )
        self.assertEqual("bad.transcript:2: no such sentence: 'what?'", str(error))

    def test_begins_as_itself(self) -> None:
        """A circle is refused."""
        files = {"b": "begins as a\n"}
        error = self.assertRaises(TranscriptError, parse, "begins as b\n", "a", files.__getitem__)
        self.assertEqual("b:1: a begins as itself", str(error))

    def test_begins_as_a_file_that_is_not_there(self) -> None:
        """A missing file is told on the line that asks for it."""
        path = Path(self.mktemp())
        path.write_text("begins as nowhere.transcript\n")
        error = self.assertRaises(TranscriptError, load, path)
        self.assertEqual(f"{path.name}:1: nowhere.transcript: No such file or directory", str(error))

    def test_errors(self) -> None:
        """Whatever is wrong is told with file and line."""
        head = "account romeo@localhost\nromeo is romeo@localhost\n"
        self.fails("", "a.transcript: nothing happens in this transcript")
        self.fails(head + "romeo dances\n", "a.transcript:3: no such sentence: 'romeo dances'")
        self.fails(head + "romeo dances:\n    <a/>\n", "a.transcript:3: no such sentence: 'romeo dances:'")
        self.fails(head + "romeo sends:\nromeo connects\n", "a.transcript:3: nothing is indented below 'romeo sends:'")
        self.fails(head + "    <a/>\n", "a.transcript:3: an indented line without a sentence above it")
        self.fails("juliet connects\n", "a.transcript:1: who is juliet? Write 'juliet is ACCOUNT/RESOURCE' above")
        self.fails("romeo is romeo@localhost\n", "a.transcript:1: there is no 'account romeo@localhost' above")
        self.fails(head + "romeo is romeo@localhost/b\n", "a.transcript:3: romeo is somebody already")

    def test_errors_in_xml(self) -> None:
        """XML that is not well-formed is told on its own line, not on that of the sentence."""
        error = self.assertRaises(TranscriptError, self.steps, "romeo receives:\n    <a>\n    <b>\n    </a>\n")
        self.assertTrue(str(error).startswith("transcript:7: "), str(error))
