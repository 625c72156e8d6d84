"""A session: one resource of one account, bound to a stream.

What a client sends comes in by `received`, is stamped, and walks through `Sending` to the router; what is delivered
goes out by `write`, through `Writing`. The order of stanzas for the same bare JID is kept while one of them
waits (RFC 6120 section 10.1); a session with too much waiting stops reading its socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

from chatrix.hooks import walk
from chatrix.server.background import in_background
from chatrix.server.directory import Account
from chatrix.server.events import Writing
from chatrix.xmpp.errors import StanzaError, StreamError
from chatrix.xmpp.jid import JID, InvalidJID
from chatrix.xmpp.stanza import Presence, Stanza

if TYPE_CHECKING:
    from chatrix.server.router import Router

log = Logger(namespace="chatrix.session")

MOST_WAITING = 100
FEW_WAITING = 20


class Stream(Protocol):
    """What a session needs of the stream it is bound to; `net.c2s` has the real one."""

    @property
    def closing(self) -> bool:
        """Whether nothing is written any more."""

    @property
    def unread(self) -> int:
        """Bytes that were written and that the peer's system has not taken yet."""

    def write(self, data: bytes) -> None:
        """Write one stanza, or several."""

    def close(self, error: StreamError | None = None) -> None:
        """Close the stream, with an error if one is given."""

    def pause(self) -> None:
        """Stop reading from the peer."""

    def resume(self) -> None:
        """Read from the peer again."""


class Session:
    """One bound resource."""

    __slots__ = (
        "_full", "_router", "_state", "_waiting", "_waiting_count",
        "account", "directed", "interested", "jid", "presence", "priority", "stream", "watched",
    )  # fmt: skip

    def __init__(self, jid: JID, account: Account, stream: Stream, router: Router) -> None:
        self.jid = jid
        "The full JID."
        self.account = account
        self.stream = stream
        self.presence: Presence | None = None
        "The last available presence without `to`; None while the session is not an available resource."
        self.priority = 0
        "Of that presence."
        self.watched = 0
        "How many modules want to see what is written to this session now: for the others there is no `Writing`."
        self.interested = False
        "Whether the client asked for its roster (RFC 6121 section 2.2)."
        self.directed: dict[str, JID] | None = None
        "Who got directed available presence (RFC 6121 section 4.6), by text of the JID."
        self._full = str(jid)
        self._router = router
        self._state: dict[type, Any] | None = None
        self._waiting: dict[str, deque[Stanza]] | None = None
        self._waiting_count = 0

    def state(self, key: type[Any]) -> Any | None:
        """What the owner of the class `key` keeps with this session, or None."""
        return None if self._state is None else self._state.get(key)

    def keep(self, key: type[Any], value: Any) -> None:
        """Keep `value` with this session until it ends; `key` is a class of the one who keeps it."""
        if self._state is None:
            self._state = {}
        self._state[key] = value

    def received(self, stanza: Stanza) -> None:
        """Take a stanza from the client.

        Raises:
            StreamError: invalid-from, for a `from` that is neither the full nor the bare JID of this session.

        Source: RFC 6120 section 8.1.2.1.
        """
        attributes = stanza.attributes
        if "from" in attributes and attributes["from"] != self._full:
            self._check_from(attributes["from"])
        attributes["from"] = self._full
        if self._waiting:
            queue = self._waiting.get(_recipient(attributes))
            if queue is not None:
                queue.append(stanza)
                self._more_waits()
                return
        try:
            result = self._router.sent(stanza, self)
        except Exception as error:
            self._refuse(stanza, error)
            return
        if result is not None:
            self._wait(result, stanza)

    def _check_from(self, claimed: str) -> None:
        try:
            jid = JID.parse(claimed)
        except InvalidJID:
            raise StreamError("invalid-from") from None
        if jid not in (self.jid, self.jid.bare):
            raise StreamError("invalid-from")

    def _wait(self, result: Awaitable[None], stanza: Stanza) -> None:
        if self._waiting is None:
            self._waiting = {}
        key = _recipient(stanza.attributes)
        self._waiting[key] = deque()
        self._more_waits()
        in_background(self._work_off(result, stanza, key), "working off a session's stanzas")

    async def _work_off(self, result: Awaitable[None] | None, stanza: Stanza, key: str) -> None:
        assert self._waiting is not None
        queue = self._waiting[key]
        while result is not None:
            try:
                await result
            except Exception as error:
                self._refuse(stanza, error)
            result = None
            while queue and result is None:
                stanza = queue.popleft()
                self._less_waits()
                if self._ended and (stanza.type == "get" or (stanza.name == "presence" and not stanza.type)):
                    # Nobody waits for the answer, nobody is available; another session may have the JID by now.
                    continue
                try:
                    result = self._router.sent(stanza, self)
                except Exception as error:
                    self._refuse(stanza, error)
        del self._waiting[key]
        self._less_waits()

    def _more_waits(self) -> None:
        """One more stanza waits: for a module, or for another one to the same recipient."""
        self._waiting_count += 1
        if self._waiting_count == MOST_WAITING:
            self.stream.pause()

    def _less_waits(self) -> None:
        self._waiting_count -= 1
        if self._waiting_count == FEW_WAITING:
            self.stream.resume()

    @property
    def _ended(self) -> bool:
        return self.account.sessions.get(self.jid.resource) is not self

    def _refuse(self, stanza: Stanza, error: Exception) -> None:
        """Answer a stanza that was refused, or that a mistake of ours has failed; called in an except clause."""
        if not isinstance(error, StanzaError):
            log.failure("stanza {id!r} of a session failed", id=stanza.id)
            error = StanzaError("cancel", "internal-server-error")
        self._router.bounce(stanza, error)

    def write(self, stanza: Stanza) -> None:
        """Write a stanza to the client, unless a module holds it or stops it."""
        if self.watched:
            try:
                verdict = walk(self._router.writing[stanza.name], Writing(stanza, self))
            except StanzaError:
                return
            if verdict is not None:
                return
        self.stream.write(stanza.to_bytes())


def _recipient(attributes: dict[str, str]) -> str:
    """For whom the order is kept: a bare JID and its full JIDs are one recipient (RFC 6120 section 10.1)."""
    bare = attributes.get("to", "").partition("/")[0]
    try:
        return str(JID.parse(bare)) if bare else ""
    except InvalidJID:
        return bare
