"""Requests of the server itself: who may answer them, and what becomes of those that nobody answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chatrix.server import iq
from chatrix.server.iq import PATIENCE, Requests
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import IQ
from tests.inmemory import Person, a_server, stanza

JULIET = "juliet@example.com/b"
ASK = "<iq type='get' from='example.com' to='juliet@example.com/b'><q xmlns='urn:q'/></iq>"


def request(xml: str = ASK) -> IQ:
    """A request of ours."""
    made = stanza(xml)
    assert isinstance(made, IQ)
    return made


class Asking(SynchronousTestCase):
    """`Requests`, without a server."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.routed: list[IQ] = []
        self.waiting: Awaitable[None] | None = None
        self.refusal: StanzaError | None = None
        self.requests = Requests(self.route, self.clock)

    def route(self, stanza: IQ) -> Awaitable[None] | None:
        """What the router would do."""
        if self.refusal is not None:
            raise self.refusal
        self.routed.append(stanza)
        return self.waiting

    def ask(self, xml: str = ASK) -> Deferred[IQ]:
        """Ask something."""
        return Deferred.fromCoroutine(self.requests.ask(request(xml)))

    def reply(self, type: str = "result", from_: str = JULIET, to: str = "example.com", id: str = "") -> IQ:
        """Let an answer come."""
        addressed = f"to='{to}'" if to else ""
        reply = request(f"<iq type='{type}' id='{id or self.routed[-1].id}' from='{from_}' {addressed}/>")
        self.requests.replied(reply)
        return reply

    def assert_over(self) -> None:
        """Nothing is left behind."""
        self.assertEqual((0, {}, []), (self.requests.count, self.requests._pending, self.clock.getDelayedCalls()))

    def test_result(self) -> None:
        """The result of the one who was asked is the answer, and only the first."""
        asked = self.ask()
        self.assertNoResult(asked)
        reply = self.reply()
        self.assertIs(reply, self.successResultOf(asked))
        self.reply()
        self.assert_over()

    def test_error(self) -> None:
        """An error is raised as what it is."""
        asked = self.ask()
        error = stanza(ASK.replace("<iq", f"<iq id='{self.routed[-1].id}'")).error(StanzaError("auth", "forbidden"))
        assert isinstance(error, IQ)
        self.requests.replied(error)
        self.assertEqual("forbidden", self.failureResultOf(asked, StanzaError).value.condition)
        self.assert_over()

    def test_forged(self) -> None:
        """Threat C-S10: an answer of anybody else, to anybody else, or with another id is ignored."""
        asked = self.ask()
        for forged in (
            {"from_": "juliet@example.com/c"},
            {"from_": "juliet@example.com"},
            {"from_": "romeo@example.com/b"},
            {"from_": "example.com"},
            {"to": "other.example.com"},
            {"to": "juliet@example.com"},
            {"to": ""},
            {"id": "x"},
        ):
            self.reply(**forged)
            self.assertNoResult(asked)
        self.requests.replied(request(f"<iq type='result' id='{self.routed[-1].id}' to='example.com'/>"))
        self.assertNoResult(asked)
        self.reply()
        self.successResultOf(asked)

    def test_own_account(self) -> None:
        """A request of the account itself may be answered without `to`."""
        asked = self.ask(ASK.replace("'example.com'", "'juliet@example.com'"))
        self.reply(to="")
        self.successResultOf(asked)
        self.assert_over()

    def test_ids(self) -> None:
        """Ids cannot be guessed, and every request has its own."""
        asked = [self.ask() for _ in range(50)]
        ids = {each.id for each in self.routed}
        self.assertEqual((50, 22), (len(ids), min(map(len, ids))))
        self.requests.gone(JID.parse(JULIET))
        for each in asked:
            self.failureResultOf(each, StanzaError)

    def test_silence(self) -> None:
        """Who does not answer in time has not answered; what comes later is ignored."""
        asked = self.ask()
        self.clock.advance(PATIENCE)
        failure = self.failureResultOf(asked, StanzaError)
        self.assertEqual(("wait", "remote-server-timeout"), (failure.value.type, failure.value.condition))
        self.reply()
        self.assert_over()

    def test_refused(self) -> None:
        """What the router refuses is refused at once."""
        self.refusal = StanzaError("cancel", "service-unavailable")
        self.assertEqual("service-unavailable", self.failureResultOf(self.ask(), StanzaError).value.condition)
        self.assert_over()

    def test_slow_route(self) -> None:
        """A route that waits is waited for; the answer may be there before it ends."""
        gate: Deferred[None] = Deferred()
        self.waiting = gate
        asked = self.ask()
        self.reply()
        self.assertNoResult(asked)
        gate.callback(None)
        self.successResultOf(asked)
        self.assert_over()

    def test_gone(self) -> None:
        """The end of a session ends what it was asked, and nothing else."""
        first, second = self.ask(), self.ask(ASK.replace("/b", "/c"))
        self.requests.gone(JID.parse(JULIET))
        self.assertEqual("service-unavailable", self.failureResultOf(first, StanzaError).value.condition)
        self.assertNoResult(second)
        self.reply(from_="juliet@example.com/c")
        self.successResultOf(second)
        self.assert_over()

    def test_cancelled(self) -> None:
        """Who gives up leaves nothing behind."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked)
        self.assert_over()

    def test_too_many(self) -> None:
        """There is a bound; when it is reached, the next request fails."""
        with patch.object(iq, "MOST_REQUESTS", 3):
            asked = [self.ask() for _ in range(3)]
            self.assertEqual("resource-constraint", self.failureResultOf(self.ask(), StanzaError).value.condition)
        self.requests.gone(JID.parse(JULIET))
        for each in asked:
            self.failureResultOf(each, StanzaError)
        self.assert_over()


class InServer(TestCase):
    """The server's requests, answered by a client."""

    timeout = 20

    async def test_client(self) -> None:
        """A client gets the request and its answer arrives; another client's does not."""
        server = await a_server(self)
        juliet, romeo = Person(server, JULIET), Person(server, "romeo@example.com/o")
        asked: Deferred[Any] = Deferred.fromCoroutine(server.requests.ask(request()))
        (got,) = juliet.got()
        self.assertEqual(("get", "example.com", JULIET), (got.type, got.attributes["from"], got.attributes["to"]))
        answer = f"<iq type='result' id='{got.id}' to='example.com'><r xmlns='urn:q'/></iq>"
        romeo.send(answer)
        self.assertNoResult(asked)
        juliet.send(answer)
        self.assertEqual((("urn:q", "r"),), (await asked).children)
        self.assertEqual([], juliet.got() + romeo.got())

    async def test_ended(self) -> None:
        """A client that leaves ends what it was asked; one that is not there cannot be asked."""
        server = await a_server(self)
        juliet = Person(server, JULIET)
        asked: Deferred[Any] = Deferred.fromCoroutine(server.requests.ask(request()))
        juliet.leaves()
        self.assertEqual("service-unavailable", self.failureResultOf(asked, StanzaError).value.condition)
        asked = Deferred.fromCoroutine(server.requests.ask(request()))
        self.assertEqual("service-unavailable", self.failureResultOf(asked, StanzaError).value.condition)
