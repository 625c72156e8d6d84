"""The IQ table: which module answers which request, for a host or for an account.

Source: RFC 6120 section 8.2.3, RFC 6121 section 8.5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.logger import Logger

from chatrix.hooks import IQMark, Target, Verdict
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.stanza import IQ

log = Logger(namespace="chatrix.iq")

Answer = Callable[[IQ], Any]


class DuplicateAnswer(Exception):
    """Two modules want to answer the same request."""


class IQTable:
    """(type, namespace, name, target) to the method that answers."""

    def __init__(self, send: Callable[[IQ], None]) -> None:
        """`send` routes an answer back."""
        self._send = send
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
        """Answer a request, or raise; results and errors that nobody asked for are ignored.

        Raises:
            StanzaError: bad-request, service-unavailable, or what the module says.
        """
        if request.type not in ("get", "set"):
            if request.type in ("result", "error"):
                return None
            raise StanzaError("modify", "bad-request", "the type of an IQ is get, set, result or error")
        if not request.id:
            raise StanzaError("modify", "bad-request", "an IQ needs an id")
        if len(request.children) != 1:
            raise StanzaError("modify", "bad-request", "a request has exactly one child element")
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
