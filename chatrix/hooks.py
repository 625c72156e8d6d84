"""The one extension mechanism: events, stages, verdicts, and the walk of an event through its steps.

An event is a dataclass. A gerund (`Sending`) can still be stopped, a past participle (`SessionBound`) is a fact. A
module's methods are marked by `on` and `iq`; the marks are collected once, at start-up, in the order of the words in
`modules =`, into tuples of steps, so that nothing is looked up while a stanza walks.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.logger import Logger

from chatrix.xmpp.dataform import Form
from chatrix.xmpp.errors import StanzaError

log = Logger(namespace="chatrix.hooks")

STANZAS = ("message", "presence", "iq")
MARKS = "_chatrix_marks"

Method = TypeVar("Method", bound=Callable[..., Any])


class Stage(enum.IntEnum):
    """Where in its walk an event acts; the order is the order of the members."""

    SCREEN = 1
    "Refuse: limits, blocking, abuse policy."
    STAMP = 2
    "Mark: stanza ids, delays; strip what is forged."
    RECORD = 3
    "Keep: archives."
    COPY = 4
    "Act on a stanza that will be delivered: carbons, presence, subscriptions. A failure here stops nothing."


class Verdict(enum.Enum):
    """What a step decides; None goes on."""

    STOP = "stop"
    "The event ends here, silently: the step has dealt with it."
    HOLD = "hold"
    "Only on Writing: the step keeps the stanza and will write it later."


class Target(enum.Enum):
    """Whom an IQ is for."""

    HOST = "host"
    "A domain of ours, asked by anybody."
    OWN_ACCOUNT = "own account"
    "The sender's own account: no `to`, or the sender's own bare JID."
    ACCOUNT = "account"
    "The bare JID of an account of ours, asked by somebody else."


class Role(enum.Enum):
    """Who may execute an ad-hoc command of a host."""

    USER = "user"
    "An account of the host."
    ADMIN = "admin"
    "One of the host's `admins`."


@dataclass(frozen=True, slots=True)
class EventMark:
    """What `on` writes onto a method."""

    event: type
    stage: Stage | None
    stanzas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IQMark:
    """What `iq` writes onto a method."""

    type: str
    payload: tuple[str, str]
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class CommandMark:
    """What `command` writes onto a method."""

    node: str
    name: str
    role: Role
    form: Form | None


Mark = EventMark | IQMark | CommandMark


def _mark(method: Method, mark: Mark) -> Method:
    setattr(method, MARKS, (*getattr(method, MARKS, ()), mark))
    return method


def on(event: type, stage: Stage | None = None, *, stanzas: Iterable[str] = STANZAS) -> Callable[[Method], Method]:
    """Mark a method to be called with each `event`.

    `stage` is given for the events that have stages (`Sending`, `Arriving`). `stanzas` names the kinds of stanza that
    the method wants to see; the others do not pay for it.
    """
    kinds = tuple(stanzas)
    return lambda method: _mark(method, EventMark(event, stage, kinds))


def iq(type: str, payload: tuple[str, str], *, to: Target | tuple[Target, ...]) -> Callable[[Method], Method]:
    """Mark a method to answer the IQs of this `type` ("get" or "set") whose payload is (namespace, name).

    The method gets the IQ and returns the payload of the result, or None for an empty result, or raises `StanzaError`.
    """
    targets = to if isinstance(to, tuple) else (to,)
    return lambda method: _mark(method, IQMark(type, payload, targets))


def command(node: str, name: str, *, role: Role, form: Form | None = None) -> Callable[[Method], Method]:
    """Mark a method to execute an ad-hoc command of the hosts (XEP-0050).

    `name` is what people read. `form`, if there is one, is the first stage, and the method is called when it was
    submitted. The method gets a `chatrix.server.commands.Execution` and returns the next stage, a `Form` if it may be
    the last and `More` if it is not, or a `Completed`, or raises `StanzaError`: then it can be submitted again.
    """
    return lambda method: _mark(method, CommandMark(node, name, role, form))


def marks_of(subject: object) -> Iterator[tuple[Callable[..., Any], Mark]]:
    """The marked methods of an object, in the order in which its class defines them, base classes first."""
    names: dict[str, None] = {}
    for base in reversed(type(subject).__mro__):
        names.update(dict.fromkeys(vars(base)))
    for name in names:
        for mark in getattr(getattr(type(subject), name, None), MARKS, ()):
            yield getattr(subject, name), mark


@dataclass(slots=True)
class Step:
    """One module's method in the walk of one event."""

    call: Callable[[Any], Any]
    name: str
    "Word of the module and name of the method, for the log."
    stops: bool
    "Whether a failure ends the walk with an error (fail closed); else it is logged and the walk goes on."
    rest: tuple[Step, ...] = ()
    "The steps after this one."

    def failed(self, event: object) -> None:
        """Log the exception being handled; called in an except clause.

        Raises:
            StanzaError: internal-server-error, when this step fails closed.
        """
        stanza = getattr(event, "stanza", None)
        log.failure(
            "{step} failed on {event} of stanza {id!r}",
            step=self.name,
            event=type(event).__name__,
            id=getattr(stanza, "id", None),
        )
        if self.stops:
            raise StanzaError("cancel", "internal-server-error")


Waiting = Coroutine[Any, Any, Verdict | None]


def walk(steps: tuple[Step, ...], event: object) -> Verdict | Waiting | None:
    """Lead an event through its steps.

    Returns None when all steps have acted, the verdict that stopped the walk, or, as soon as a step must wait, a
    coroutine that walks on and returns one of these. Most walks never wait, and then no coroutine is made.

    Raises:
        StanzaError: a step refuses the stanza.
    """
    for step in steps:
        try:
            result = step.call(event)
        except StanzaError:
            raise
        except Exception:
            step.failed(event)
            continue
        if result is None:
            continue
        if isinstance(result, Verdict):
            return result
        return _walk_on(result, step, event)
    return None


async def _walk_on(waiting: Awaitable[Verdict | None], step: Step, event: object) -> Verdict | None:
    verdict = None
    try:
        verdict = await waiting
    except StanzaError:
        raise
    except Exception:
        step.failed(event)
    if verdict is not None:
        return verdict
    result = walk(step.rest, event)
    if result is None or isinstance(result, Verdict):
        return result
    return await result


class Hooks:
    """All steps of all modules, by event and kind of stanza.

    Filled once at start-up with `add`, then frozen by `settle`; `steps` is what the router and the sessions keep.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[type, str], list[tuple[Stage, int, Step]]] = {}
        self._steps: dict[tuple[type, str], tuple[Step, ...]] = {}

    def add(self, word: str, method: Callable[..., Any], mark: EventMark) -> None:
        """Take one marked method of the module `word`; modules are added in the order of the ini."""
        stage = mark.stage or Stage.RECORD
        stops = stage < Stage.COPY and not getattr(mark.event, "goes_on", False)
        for kind in mark.stanzas:
            found = self._found.setdefault((mark.event, kind), [])
            found.append((stage, len(found), Step(method, f"{word}.{getattr(method, '__name__', '?')}", stops)))

    def settle(self) -> None:
        """Order the steps by stage, then by module, and link each to those after it."""
        for key, found in self._found.items():
            steps = tuple(step for _stage, _position, step in sorted(found, key=lambda entry: entry[:2]))
            for position, step in enumerate(steps):
                step.rest = steps[position + 1 :]
            self._steps[key] = steps

    def steps(self, event: type, kind: str = "message") -> tuple[Step, ...]:
        """The steps of an event for one kind of stanza; for a fact any kind will do."""
        return self._steps.get((event, kind), ())
