"""The IQ table: who answers, what is refused, and what a broken answer becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatrix.hooks import IQMark, Target, Verdict
from chatrix.server.iq import DuplicateAnswer, IQTable
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.stanza import IQ
from tests.inmemory import stanza

Q = ("urn:test", "q")
GET = "<iq type='get' id='1' from='juliet@example.com/a' to='example.com'><q xmlns='urn:test'/></iq>"


class Table(SynchronousTestCase):
    """`IQTable`."""

    def setUp(self) -> None:
        self.sent: list[IQ] = []
        self.table = IQTable(self.sent.append)

    def add(self, answer: Callable[[IQ], Any], type: str = "get", *targets: Target, word: str = "test") -> None:
        """Let `answer` answer."""
        self.table.add(word, answer, IQMark(type, Q, targets or (Target.HOST,)))

    def ask(self, xml: str = GET, target: Target = Target.HOST) -> Any:
        """Ask the table."""
        request = stanza(xml)
        assert isinstance(request, IQ)
        return self.table.answer(request, target)

    def refused(self, xml: str = GET, target: Target = Target.HOST) -> tuple[str | None, str]:
        """Type and condition of the error."""
        error = self.assertRaises(StanzaError, self.ask, xml, target)
        self.assertEqual([], self.sent)
        return error.type, error.condition

    def test_result(self) -> None:
        """What the method returns becomes the result's payload, addressed back."""
        self.add(lambda request: Element("urn:test", "r"))
        self.assertIsNone(self.ask())
        (answer,) = self.sent
        self.assertEqual(
            {"type": "result", "id": "1", "to": "juliet@example.com/a", "from": "example.com"}, answer.attributes
        )
        self.assertEqual((("urn:test", "r"),), answer.children)

    def test_empty_result(self) -> None:
        """None is an empty result."""
        self.add(lambda request: None)
        self.ask()
        self.assertEqual([("result", ())], [(answer.type, answer.children) for answer in self.sent])

    def test_sent_already(self) -> None:
        """STOP says that the module has answered itself."""
        self.add(lambda request: Verdict.STOP)
        self.ask()
        self.assertEqual([], self.sent)

    def test_later(self) -> None:
        """A method may wait; the answer is sent when it is there."""
        gate: Deferred[Element] = Deferred()

        async def answer(request: IQ) -> Element:
            return await gate

        self.add(answer)
        waiting = Deferred.fromCoroutine(self.ask())
        self.assertEqual([], self.sent)
        gate.callback(Element("urn:test", "r"))
        self.successResultOf(waiting)
        self.assertEqual(["result"], [answer.type for answer in self.sent])

    def test_keys(self) -> None:
        """Type, namespace, name and target must all be right."""
        self.add(lambda request: None)
        unavailable = ("cancel", "service-unavailable")
        self.assertEqual(unavailable, self.refused(GET.replace("'get'", "'set'")))
        self.assertEqual(unavailable, self.refused(GET.replace("urn:test", "urn:other")))
        self.assertEqual(unavailable, self.refused(GET.replace("<q ", "<p ")))
        self.assertEqual(unavailable, self.refused(target=Target.ACCOUNT))
        self.assertEqual(unavailable, self.refused(target=Target.OWN_ACCOUNT))

    def test_bad_requests(self) -> None:
        """A request has a known type, an id and exactly one child (RFC 6120 section 8.2.3)."""
        self.add(lambda request: None)
        for xml in (
            GET.replace("type='get'", ""),
            GET.replace("'get'", "'fetch'"),
            GET.replace("id='1'", ""),
            GET.replace("id='1'", "id=''"),
            GET.replace("<q xmlns='urn:test'/>", ""),
            GET.replace("<q xmlns='urn:test'/>", "text"),
            GET.replace("<q xmlns='urn:test'/>", "<q xmlns='urn:test'/><q xmlns='urn:test'/>"),
        ):
            with self.subTest(xml=xml):
                self.assertEqual(("modify", "bad-request"), self.refused(xml))

    def test_answers_to_nothing(self) -> None:
        """Results and errors that nobody waits for are ignored."""
        for type_ in ("result", "error"):
            self.assertIsNone(self.ask(GET.replace("'get'", f"'{type_}'")))
        self.assertEqual([], self.sent)

    def test_refusal(self) -> None:
        """A StanzaError is the answer, at once or later."""

        def refuse(request: IQ) -> None:
            raise StanzaError("auth", "forbidden")

        async def refuse_later(request: IQ) -> None:
            raise StanzaError("auth", "not-authorized")

        self.add(refuse)
        self.add(refuse_later, "set")
        self.assertEqual(("auth", "forbidden"), self.refused())
        failure = self.failureResultOf(Deferred.fromCoroutine(self.ask(GET.replace("'get'", "'set'"))), StanzaError)
        self.assertEqual("not-authorized", failure.value.condition)

    def test_broken(self) -> None:
        """Any other exception is logged, and the peer learns nothing of it."""

        def breaks(request: IQ) -> None:
            raise RuntimeError("inside")

        async def breaks_later(request: IQ) -> None:
            raise RuntimeError("inside")

        self.add(breaks)
        self.add(breaks_later, "set")
        error = self.assertRaises(StanzaError, self.ask)
        failure = self.failureResultOf(Deferred.fromCoroutine(self.ask(GET.replace("'get'", "'set'"))), StanzaError)
        for each in (error, failure.value):
            self.assertEqual(("cancel", "internal-server-error", None), (each.type, each.condition, each.text))
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))

    def test_duplicates(self) -> None:
        """Two modules for one request are an error that names both, and the request; the first one stays."""
        self.add(lambda request: None, "get", Target.HOST, word="one")
        self.add(lambda request: None, "get", Target.ACCOUNT, word="two")
        self.add(lambda request: None, "set", Target.HOST, word="two")
        error = self.assertRaises(
            DuplicateAnswer, self.add, lambda request: Verdict.STOP, "get", Target.OWN_ACCOUNT, Target.HOST, word="two"
        )
        for part in ("one", "two", "get", "{urn:test}q", "host"):
            self.assertIn(part, str(error))
        self.ask()
        self.assertEqual(1, len(self.sent))
