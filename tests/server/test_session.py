"""Sessions: the `from` of what they send, the order while something waits, back-pressure, and writing."""

from __future__ import annotations

from collections import defaultdict

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatrix.hooks import EventMark, Hooks, Verdict
from chatrix.server.directory import Account
from chatrix.server.events import Writing
from chatrix.server.session import FEW_WAITING, MOST_WAITING, Session
from chatrix.xmpp.errors import StanzaError, StreamError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import FakeStream, stanza

JULIET = JID.parse("juliet@example.com/balcony")


class Gates:
    """What a session needs of a router: here each recipient in `closed` makes its stanzas wait for their gate."""

    def __init__(self) -> None:
        self.sending: list[str] = []
        self.sent_: list[str] = []
        self.bounced: list[tuple[str, str]] = []
        self.closed: set[str] = set()
        self.gates: dict[str, Deferred[None]] = {}
        self.raises: dict[str, Exception] = {}
        self.writing: dict[str, tuple[object, ...]] = defaultdict(tuple)

    def sent(self, stanza: Stanza, session: Session) -> object:
        """As `Router.sent`."""
        self.sending.append(stanza.id)
        if stanza.id in self.raises:
            raise self.raises[stanza.id]
        if stanza.attributes.get("to", "") not in self.closed:
            self.sent_.append(stanza.id)
            return None
        return self._wait(stanza.id)

    async def _wait(self, id_: str) -> None:
        gate = self.gates[id_] = Deferred()
        await gate
        self.sent_.append(id_)

    def bounce(self, stanza: Stanza, error: StanzaError) -> None:
        """As `Router.bounce`."""
        self.bounced.append((stanza.id, error.condition))


class SessionCase(SynchronousTestCase):
    """A session on a stream and a router that remember."""

    def setUp(self) -> None:
        self.router = Gates()
        self.stream = FakeStream()
        self.session = Session(JULIET, Account(JULIET.bare), self.stream, self.router)  # type: ignore[arg-type]
        self.session.account.sessions[JULIET.resource] = self.session

    def send(self, id_: str, to: str = "romeo@example.com", more: str = "") -> Stanza:
        """Let the client send a message."""
        message = stanza(f"<message id='{id_}' to='{to}' {more}/>")
        self.session.received(message)
        return message


class From(SessionCase):
    """RFC 6120 section 8.1.2.1."""

    def test_stamped(self) -> None:
        """The full JID stands on everything, if the client gave none, its bare or its full one, however spelled."""
        for claimed in ("", "from='juliet@example.com'", f"from='{JULIET}'", "from='JULIET@Example.Com/balcony'"):
            with self.subTest(claimed=claimed):
                self.assertEqual(str(JULIET), self.send("1", more=claimed).attributes["from"])
        self.assertEqual(4, len(self.router.sent_))

    def test_forged(self) -> None:
        """Any other `from` closes the stream, and the stanza goes nowhere."""
        for claimed in ("romeo@example.com", "juliet@example.com/other", "example.com", "@", "", "juliet@else.where"):
            with self.subTest(claimed=claimed):
                error = self.assertRaises(StreamError, self.send, "1", more=f"from='{claimed}'")
                self.assertEqual("invalid-from", error.condition)
        self.assertEqual([], self.router.sending)


class Order(SessionCase):
    """RFC 6120 section 10.1, and back-pressure."""

    def test_kept(self) -> None:
        """While one stanza waits, those to the same recipient wait behind it, and all others pass."""
        self.router.closed.add("slow@example.com")
        self.send("1", "slow@example.com")
        self.send("2", "slow@example.com")
        self.send("3", "romeo@example.com")
        self.send("4", "slow@example.com")
        self.assertEqual(["3"], self.router.sent_)
        self.assertEqual(["1", "3"], self.router.sending)
        self.router.gates["1"].callback(None)
        self.assertEqual(["3", "1"], self.router.sent_)
        self.router.closed.clear()
        self.router.gates["2"].callback(None)
        self.assertEqual(["3", "1", "2", "4"], self.router.sent_)

    def test_bare_and_full(self) -> None:
        """A bare JID and its full JIDs are one recipient."""
        self.router.closed.add("slow@example.com")
        self.send("1", "slow@example.com")
        self.send("2", "slow@example.com/x")
        self.assertEqual(["1"], self.router.sending)
        self.router.gates["1"].callback(None)
        self.assertEqual(["1", "2"], self.router.sent_)

    def test_ended(self) -> None:
        """What still waits when the session ends is done, but for what only a session could want."""
        self.router.closed.add("")
        kinds = ("presence", "iq type='set'", "iq type='get'", "presence", "message", "presence type='unavailable'")
        for id_, kind in enumerate(kinds):
            self.session.received(stanza(f"<{kind} id='{id_}'/>"))
        self.session.account.sessions.clear()
        self.router.closed.clear()
        self.router.gates["0"].callback(None)
        self.assertEqual(["0", "1", "4", "5"], self.router.sent_)

    def test_without_recipient(self) -> None:
        """What has no `to` is for the account, and keeps its order, too."""
        self.router.closed.add("")
        for id_ in "12":
            self.session.received(stanza(f"<presence id='{id_}'/>"))
        self.router.gates["1"].callback(None)
        self.router.gates["2"].callback(None)
        self.assertEqual(["1", "2"], self.router.sent_)

    def test_forgotten(self) -> None:
        """When nobody waits any more, stanzas pass at once again and nothing stays in memory."""
        self.router.closed.add("slow@example.com")
        self.send("1", "slow@example.com")
        self.router.closed.clear()
        self.router.gates["1"].callback(None)
        self.send("2", "slow@example.com")
        self.assertEqual(["1", "2"], self.router.sent_)
        self.assertFalse(self.session._waiting)

    def test_refusals(self) -> None:
        """A refused stanza is answered, at once or after its wait, and those behind it go on."""
        self.router.raises["now"] = StanzaError("cancel", "item-not-found")
        self.send("now")
        self.router.closed.add("slow@example.com")
        self.send("1", "slow@example.com")
        self.router.raises["2"] = StanzaError("auth", "forbidden")
        self.send("2", "slow@example.com")
        self.send("3", "slow@example.com")
        self.router.gates["1"].errback(StanzaError("cancel", "conflict"))
        self.router.gates["3"].callback(None)
        self.assertEqual([("now", "item-not-found"), ("1", "conflict"), ("2", "forbidden")], self.router.bounced)
        self.assertEqual(["3"], self.router.sent_)

    def test_failures(self) -> None:
        """A failure of ours is logged and answered, and never blocks what waits behind it, or closes the stream."""
        self.router.raises["0"] = RuntimeError("inside")
        self.send("0")
        self.router.closed.add("slow@example.com")
        self.send("1", "slow@example.com")
        self.router.raises["2"] = RuntimeError("inside")
        self.send("2", "slow@example.com")
        self.send("3", "slow@example.com")
        self.router.gates["1"].errback(RuntimeError("inside"))
        self.assertEqual([(id_, "internal-server-error") for id_ in "012"], self.router.bounced)
        self.router.gates["3"].callback(None)
        self.assertEqual(["3"], self.router.sent_)
        self.assertFalse(self.session._waiting)
        self.assertEqual(3, len(self.flushLoggedErrors(RuntimeError)))

    def test_back_pressure(self) -> None:
        """Reading pauses when too much waits, in all queues together, and goes on when little does."""
        self.router.closed.update({"a@example.com", "b@example.com"})
        for count in range(MOST_WAITING + 1):
            self.send(f"a{count}", "a@example.com")
            if count == MOST_WAITING // 2:
                self.send("b", "b@example.com")
                self.send("b2", "b@example.com")
            if count == MOST_WAITING - 4:
                self.assertFalse(self.stream.paused)
        self.assertTrue(self.stream.paused)
        self.router.closed.clear()
        self.router.closed.add("a@example.com")
        waiting = MOST_WAITING + 3
        for count in range(MOST_WAITING + 1):
            self.assertEqual(waiting > FEW_WAITING, self.stream.paused, f"{waiting} wait")
            self.router.gates[f"a{count}"].callback(None)
            waiting -= 1
        self.router.gates["b"].callback(None)
        self.assertEqual(MOST_WAITING + 3, len(self.router.sent_))
        self.assertFalse(self.stream.paused)

    def test_back_pressure_of_many_recipients(self) -> None:
        """What waits for modules counts, even if nothing waits behind it."""
        names = [f"r{count}@example.com" for count in range(MOST_WAITING)]
        self.router.closed.update(names)
        for count, name in enumerate(names):
            self.assertFalse(self.stream.paused)
            self.send(f"r{count}", name)
        self.assertTrue(self.stream.paused)
        for count in range(MOST_WAITING - FEW_WAITING):
            self.assertTrue(self.stream.paused)
            self.router.gates[f"r{count}"].callback(None)
        self.assertFalse(self.stream.paused)
        for count in range(MOST_WAITING - FEW_WAITING, MOST_WAITING):
            self.router.gates[f"r{count}"].callback(None)
        self.assertFalse(self.session._waiting)

    def test_one_recipient(self) -> None:
        """However an address is written, it is one recipient."""
        self.router.closed.add("slow@example.com")
        self.send("1", "slow@example.com")
        self.router.closed.clear()
        self.send("2", "SLOW@example.com./x")
        self.assertEqual([], self.router.sent_)
        self.router.gates["1"].callback(None)
        self.assertEqual(["1", "2"], self.router.sent_)


class Write(SessionCase):
    """`Session.write`."""

    def steps(self, *results: object) -> list[Writing]:
        """Let Writing return, or raise, these; what was seen."""
        seen: list[Writing] = []

        def act(event: Writing, result: object) -> object:
            seen.append(event)
            if isinstance(result, Exception):
                raise result
            return result

        hooks = Hooks()
        for result in results:
            hooks.add("test", lambda event, result=result: act(event, result), EventMark(Writing, None, ("message",)))
        hooks.settle()
        self.router.writing["message"] = hooks.steps(Writing)
        self.session.watched = 1
        return seen

    def test_written(self) -> None:
        """A stanza reaches the stream as it is."""
        self.session.write(stanza("<message to='a@b'><body>hi</body></message>"))
        self.assertEqual([b"<message to='a@b'><body>hi</body></message>"], self.stream.written)

    def test_held_and_stopped(self) -> None:
        """What a module holds, stops or refuses is not written, and other kinds of stanza do not come by."""
        for result in (Verdict.HOLD, Verdict.STOP, StanzaError("cancel", "gone")):
            seen = self.steps(None, result)
            self.session.write(stanza("<message/>"))
            self.assertEqual(2, len(seen))
            self.assertIs(self.session, seen[0].session)
        self.assertEqual([], self.stream.written)
        self.session.write(stanza("<presence/>"))
        self.assertEqual([b"<presence/>"], self.stream.written)

    def test_unwatched(self) -> None:
        """What is written to a session that no module watches comes by none."""
        seen = self.steps(Verdict.HOLD)
        self.session.watched = 0
        self.session.write(stanza("<message/>"))
        self.assertEqual(([], [b"<message/>"]), (seen, self.stream.written))

    def test_broken(self) -> None:
        """A module that breaks keeps nothing from the client."""
        self.steps(RuntimeError("inside"), None)
        self.session.write(stanza("<message/>"))
        self.assertEqual([b"<message/>"], self.stream.written)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
