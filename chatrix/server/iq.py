"""The IQ table: which module answers which request, for a host or for an account; and the server's own requests.

Source: RFC 6120 section 8.2.3, RFC 6121 section 8.5.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatrix.hooks import IQMark, Target, Verdict
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import IQ

log = Logger(namespace="chatrix.iq")

Answer = Callable[[IQ], Any]

PATIENCE = 30.0
"""Seconds that an answer to a request of ours may take."""
MOST_REQUESTS = 10_000
"""Requests of ours that wait for their answer at the same time."""


def check_request(iq: IQ) -> bool:
    """Whether an IQ is a request, not a result or an error.

    Raises:
        StanzaError: bad-request, for what breaks the rules of RFC 6120 section 8.2.3.
    """
    if iq.type not in ("get", "set"):
        if iq.type in ("result", "error"):
            return False
        raise StanzaError("modify", "bad-request", "the type of an IQ is get, set, result or error")
    if not iq.id:
        raise StanzaError("modify", "bad-request", "an IQ needs an id")
    if len(iq.children) != 1:
        raise StanzaError("modify", "bad-request", "a request has exactly one child element")
    return True


class DuplicateAnswer(Exception):
    """Two modules want to answer the same request."""


class IQTable:
    """(type, namespace, name, target) to the method that answers."""

    def __init__(self, send: Callable[[IQ], object]) -> None:
        """`send` routes an answer back."""
        self._send = send
        self.replied: Callable[[IQ], None] = lambda reply: None
        "Gets the results and errors that come for a host or an account."
        self._answers: dict[tuple[str, str | None, str, Target], tuple[Answer, str]] = {}

    def add(self, word: str, method: Answer, mark: IQMark) -> None:
        """Enter one marked method of the module `word`.

        Raises:
            DuplicateAnswer: another module has this request already.
        """
        for target in mark.targets:
            key = (mark.type, *mark.payload, target)
            if key in self._answers:
                raise DuplicateAnswer(
                    f"modules {self._answers[key][1]} and {word} both answer IQ {mark.type} "
                    f"{{{mark.payload[0]}}}{mark.payload[1]} for {target.value}"
                )
            self._answers[key] = (method, word)

    def answer(self, request: IQ, target: Target) -> Coroutine[Any, Any, None] | None:
        """Answer a request, or raise; results and errors go to who asked for them, if anybody did.

        Raises:
            StanzaError: bad-request, service-unavailable, or what the module says.
        """
        if not check_request(request):
            self.replied(request)
            return None
        found = self._answers.get((request.type, *request.children[0], target))
        if found is None:
            raise StanzaError("cancel", "service-unavailable")
        method, word = found
        try:
            result = method(request)
        except StanzaError:
            raise
        except Exception:
            log.failure("module {word} failed on IQ {id!r}", word=word, id=request.id)
            raise StanzaError("cancel", "internal-server-error") from None
        if result is None or isinstance(result, Element | Verdict):
            self._answered(request, result)
            return None
        return self._answer_later(request, result, word)

    async def _answer_later(self, request: IQ, waiting: Awaitable[Element | Verdict | None], word: str) -> None:
        try:
            result = await waiting
        except StanzaError:
            raise
        except Exception:
            log.failure("module {word} failed on IQ {id!r}", word=word, id=request.id)
            raise StanzaError("cancel", "internal-server-error") from None
        self._answered(request, result)

    def _answered(self, request: IQ, result: Element | Verdict | None) -> None:
        """Send the result; STOP says that the module has sent it itself, because more had to follow it."""
        if not isinstance(result, Verdict):
            self._send(request.reply(result))


class Requests:
    """What the server itself asks others. Only the one who was asked can answer (threat C-S10), and only once."""

    def __init__(self, route: Callable[[IQ], Awaitable[None] | None], reactor: IReactorTime) -> None:
        self._route = route
        self._reactor = reactor
        self._pending: dict[str, dict[str, tuple[JID, Deferred[IQ]]]] = {}
        "By whom was asked and id of the request: who asks, and waits."
        self.count = 0

    async def ask(self, request: IQ, patience: float = PATIENCE) -> IQ:
        """Send a request `from` a host or an account of ours, and wait for its result; the `id` is made here.

        Raises:
            StanzaError: the error that came; remote-server-timeout when nothing came; service-unavailable when the
                session that was asked ended; resource-constraint when too many of our requests wait.
        """
        asked, asking = request.to, request.from_
        assert asked is not None and asking is not None
        if self.count >= MOST_REQUESTS:
            raise StanzaError("wait", "resource-constraint")
        request.attributes["id"] = id = secrets.token_urlsafe(16)
        waiting: Deferred[IQ] = Deferred()
        self._pending.setdefault(str(asked), {})[id] = (asking, waiting)
        self.count += 1
        try:
            routing = self._route(request)
            if routing is not None:
                await routing
            reply = await waiting.addTimeout(patience, self._reactor)
        except DeferredTimeout:
            raise StanzaError("wait", "remote-server-timeout") from None
        finally:
            self._take(str(asked), id)
            self.count -= 1
        if reply.type == "error":
            raise StanzaError.from_stanza(reply)
        return reply

    def replied(self, reply: IQ) -> None:
        """A result or an error came; ignored when it is nobody's answer."""
        sender = reply.from_
        if sender is None:
            return
        asking, _ = self._pending.get(str(sender), {}).get(reply.id, (None, None))
        if asking is not None and asking == (reply.to or sender.bare):
            found = self._take(str(sender), reply.id)
            assert found is not None
            found.callback(reply)

    def gone(self, jid: JID) -> None:
        """A session ended: it will not answer any more."""
        for id in list(self._pending.get(str(jid), ())):
            found = self._take(str(jid), id)
            assert found is not None
            found.errback(StanzaError("cancel", "service-unavailable"))

    def _take(self, asked: str, id: str) -> Deferred[IQ] | None:
        pending = self._pending.get(asked, {})
        found = pending.pop(id, None)
        if not pending:
            self._pending.pop(asked, None)
        return None if found is None else found[1]
