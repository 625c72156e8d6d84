"""The walk of events: order, verdicts, failures, and what waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from chatrix.hooks import EventMark, Hooks, IQMark, Stage, Target, Verdict, iq, marks_of, on, walk
from chatrix.server.events import Arriving, BecameAvailable, Sending, SessionBound, Writing
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.stanza import Message, Presence


class Broken(Exception):
    """What a module should not raise."""


@dataclass
class Walked:
    """An event that remembers who saw it."""

    stanza: Message
    seen: list[str]


def step(name: str, result: object = None) -> Callable[[Walked], object]:
    """A step that says that it was there, then returns, or raises."""

    def method(event: Walked) -> object:
        event.seen.append(name)
        if isinstance(result, Exception):
            raise result
        return result

    method.__name__ = name
    return method


def later(name: str, gate: Deferred[Any]) -> Callable[[Walked], object]:
    """A step that waits for the gate, then returns what comes out of it."""

    async def method(event: Walked) -> Any:
        event.seen.append(name)
        return await gate

    method.__name__ = name
    return method


class Walk(SynchronousTestCase):
    """`walk` and `Hooks`."""

    def setUp(self) -> None:
        self.hooks = Hooks()
        self.event = Walked(Message({"id": "m1"}), [])

    def add(self, method: Callable[..., object], stage: Stage | None = None, event: type = Walked) -> None:
        """Add a step, by the name of the method, to the walk."""
        self.hooks.add("module", method, EventMark(event, stage, ("message",)))

    def walk(self, event: type = Walked) -> Any:
        """Walk the event."""
        self.hooks.settle()
        return walk(self.hooks.steps(event), self.event)

    def test_order(self) -> None:
        """Steps act by stage, and within a stage in the order in which modules were added."""
        for name, stage in (("a", Stage.COPY), ("b", Stage.STAMP), ("c", Stage.SCREEN), ("d", Stage.RECORD)):
            self.add(step(name), stage)
            self.add(step(name + "2"), stage)
        self.assertIsNone(self.walk())
        self.assertEqual(["c", "c2", "b", "b2", "d", "d2", "a", "a2"], self.event.seen)

    def test_no_stage(self) -> None:
        """An event without stages stands with RECORD: its failure is an error, unless the event goes on."""
        self.add(step("copies"), Stage.COPY)
        self.add(step("nowhere"))
        self.add(step("stamps"), Stage.STAMP)
        self.walk()
        self.assertEqual(["stamps", "nowhere", "copies"], self.event.seen)

    def test_stop(self) -> None:
        """A verdict ends the walk and is its result."""
        self.add(step("first", Verdict.STOP), Stage.SCREEN)
        self.add(step("never"), Stage.STAMP)
        self.assertIs(Verdict.STOP, self.walk())
        self.assertEqual(["first"], self.event.seen)

    def test_hold(self) -> None:
        """HOLD is handed on like STOP."""
        self.add(step("holds", Verdict.HOLD))
        self.add(step("never"))
        self.assertIs(Verdict.HOLD, self.walk())
        self.assertEqual(["holds"], self.event.seen)

    def test_stanza_error(self) -> None:
        """A refusal passes as it is, at every stage, and nobody sees the stanza after it."""
        for stage in Stage:
            self.hooks, self.event.seen = Hooks(), []
            refusal = StanzaError("cancel", "forbidden")
            self.add(step("refuses", refusal), stage)
            self.add(step("never"), Stage.COPY)
            self.assertIs(refusal, self.assertRaises(StanzaError, self.walk))
            self.assertEqual(["refuses"], self.event.seen)

    def test_fails_closed(self) -> None:
        """Before COPY a broken step ends the walk with internal-server-error, logged with module, event and stanza."""
        for stage in (Stage.SCREEN, Stage.STAMP, Stage.RECORD):
            self.hooks, self.event.seen = Hooks(), []
            self.add(step("breaks", Broken("inside")), stage)
            self.add(step("never"), Stage.COPY)
            with capturedLogs() as events:
                error = self.assertRaises(StanzaError, self.walk)
            self.assertEqual("internal-server-error", error.condition)
            self.assertNotIn("inside", error.text or "")
            self.assertEqual(["breaks"], self.event.seen)
            self.assertEqual(1, len(self.flushLoggedErrors(Broken)))
            said = events[-1]
            self.assertEqual(("module.breaks", "Walked", "m1"), (said["step"], said["event"], said["id"]))

    def test_goes_on_at_copy(self) -> None:
        """At COPY a broken step is logged and the others act."""
        self.add(step("breaks", Broken()), Stage.COPY)
        self.add(step("acts"), Stage.COPY)
        with capturedLogs() as events:
            self.assertIsNone(self.walk())
        self.assertEqual(["breaks", "acts"], self.event.seen)
        self.assertEqual("module.breaks", events[-1]["step"])
        self.assertEqual(1, len(self.flushLoggedErrors(Broken)))

    def test_facts_go_on(self) -> None:
        """Facts and Writing cannot fail closed: a broken step is logged and the others act."""
        for event in (SessionBound, BecameAvailable, Writing):
            self.hooks, self.event.seen = Hooks(), []
            self.add(step("breaks", Broken()), event=event)
            self.add(step("acts"), event=event)
            self.assertIsNone(self.walk(event))
            self.assertEqual(["breaks", "acts"], self.event.seen)
            self.assertEqual(1, len(self.flushLoggedErrors(Broken)))

    def test_walks_fail_closed(self) -> None:
        """Sending and Arriving fail closed without a stage, too."""
        for event in (Sending, Arriving):
            self.hooks = Hooks()
            self.add(step("breaks", Broken()), event=event)
            self.assertRaises(StanzaError, self.walk, event)
            self.assertEqual(1, len(self.flushLoggedErrors(Broken)))

    def test_waits(self) -> None:
        """From the first step that waits on there is a coroutine, which walks the rest in order."""
        gate: Deferred[None] = Deferred()
        self.add(step("first"), Stage.SCREEN)
        self.add(later("waits", gate), Stage.SCREEN)
        self.add(step("after"), Stage.STAMP)
        result = Deferred.fromCoroutine(self.walk())
        self.assertNoResult(result)
        self.assertEqual(["first", "waits"], self.event.seen)
        gate.callback(None)
        self.assertIsNone(self.successResultOf(result))
        self.assertEqual(["first", "waits", "after"], self.event.seen)

    def test_waits_twice(self) -> None:
        """A step that waits after one that waited gets its turn, and its verdict counts."""
        first: Deferred[None] = Deferred()
        second: Deferred[Verdict] = Deferred()
        self.add(later("one", first))
        self.add(later("two", second))
        self.add(step("never"))
        result = Deferred.fromCoroutine(self.walk())
        first.callback(None)
        self.assertNoResult(result)
        second.callback(Verdict.STOP)
        self.assertIs(Verdict.STOP, self.successResultOf(result))
        self.assertEqual(["one", "two"], self.event.seen)

    def test_waiting_fails(self) -> None:
        """What is raised after a wait counts as if it had been raised at once."""
        for stage, raised, expected, seen in (
            (Stage.SCREEN, Broken(), "internal-server-error", ["waits"]),
            (Stage.SCREEN, StanzaError("auth", "forbidden"), "forbidden", ["waits"]),
            (Stage.COPY, StanzaError("auth", "forbidden"), "forbidden", ["waits"]),
            (Stage.COPY, Broken(), None, ["waits", "after"]),
        ):
            self.hooks, self.event.seen = Hooks(), []
            gate: Deferred[None] = Deferred()
            self.add(later("waits", gate), stage)
            self.add(step("after"), Stage.COPY)
            result = Deferred.fromCoroutine(self.walk())
            gate.errback(raised)
            if expected is None:
                self.assertIsNone(self.successResultOf(result))
            else:
                self.assertEqual(expected, self.failureResultOf(result, StanzaError).value.condition)
            self.assertEqual(seen, self.event.seen)
            self.assertEqual(isinstance(raised, Broken), bool(self.flushLoggedErrors(Broken)))

    def test_nothing_waits(self) -> None:
        """No coroutine is made while nobody waits."""
        self.add(step("one"))
        self.add(step("two"))
        self.assertFalse(inspect.iscoroutine(self.walk()))
        self.assertFalse(inspect.iscoroutine(walk((), self.event)))

    def test_kinds(self) -> None:
        """A step is in the walks of the kinds of stanza that it asked for, and in no others."""
        method = step("messages")
        self.hooks.add("module", method, EventMark(Sending, Stage.SCREEN, ("message", "iq")))
        self.hooks.settle()
        self.assertEqual(1, len(self.hooks.steps(Sending, "message")))
        self.assertEqual(1, len(self.hooks.steps(Sending, "iq")))
        self.assertEqual((), self.hooks.steps(Sending, "presence"))
        self.assertEqual((), self.hooks.steps(Arriving, "message"))


class Marks(SynchronousTestCase):
    """`on`, `iq` and `marks_of`."""

    def test_marks(self) -> None:
        """Marks come with bound methods, in the order of the class, base classes first, several per method."""

        class Base:
            @on(Sending, Stage.SCREEN, stanzas=["presence"])
            def first(self, event: object) -> None: ...

        class Derived(Base):
            @iq("get", ("urn:x", "q"), to=Target.HOST)
            @iq("set", ("urn:x", "q"), to=(Target.HOST, Target.ACCOUNT))
            def second(self, request: object) -> None: ...

        subject = Derived()
        self.assertEqual(
            [
                (subject.first, EventMark(Sending, Stage.SCREEN, ("presence",))),
                (subject.second, IQMark("set", ("urn:x", "q"), (Target.HOST, Target.ACCOUNT))),
                (subject.second, IQMark("get", ("urn:x", "q"), (Target.HOST,))),
            ],
            list(marks_of(subject)),
        )

    def test_override(self) -> None:
        """A method that a subclass replaces without a mark is no step any more."""

        class Base:
            @on(Sending)
            def acts(self, event: object) -> None: ...

        class Quiet(Base):
            def acts(self, event: object) -> None: ...

        self.assertEqual([], list(marks_of(Quiet())))

    def test_every_kind(self) -> None:
        """Without `stanzas` a method sees all kinds."""

        class All:
            @on(Arriving)
            def acts(self, event: object) -> None: ...

        hooks = Hooks()
        for method, mark in marks_of(All()):
            assert isinstance(mark, EventMark)
            hooks.add("all", method, mark)
        hooks.settle()
        self.assertEqual([1, 1, 1], [len(hooks.steps(Arriving, kind)) for kind in ("message", Presence.name, "iq")])
