"""The router: where a stanza goes, by the domain of `to`.

Everything returns None when it is done at once and a coroutine when something must wait; see `chatrix.hooks.walk`.
A `StanzaError` means that the stanza was refused: whoever has it then answers with `bounce`.

Source: RFC 6120 section 10, RFC 6121 section 8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from chatrix.hooks import STANZAS, Hooks, Target, Verdict, walk
from chatrix.server.background import in_background
from chatrix.server.blocklists import Blocklists
from chatrix.server.directory import Account, Directory
from chatrix.server.events import Addressing, Arriving, Sending, Undelivered, Writing
from chatrix.server.iq import IQTable, check_request
from chatrix.xmpp import delivery
from chatrix.xmpp.delivery import Delivery
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import IQ, Stanza

if TYPE_CHECKING:
    from chatrix.interfaces import IRoute
    from chatrix.server.account import Accounts
    from chatrix.server.session import Session

Done = Coroutine[Any, Any, None] | None


class Router:
    """Leads stanzas from those who send them to those who get them."""

    def __init__(self, directory: Directory, accounts: Accounts) -> None:
        self.directory = directory
        self.routes: dict[str, IRoute] = {}
        "Domain to what takes its stanzas (components); hosts of ours are not here."
        self.elsewhere: IRoute | None = None
        "What takes the stanzas for all other domains (federation)."
        self.iq_table = IQTable(self.send_answer)
        self.blocklists = Blocklists(directory)
        "Whom accounts block, where that is known: for those who send on an account's behalf without a walk."
        self._accounts = accounts
        self.writing: dict[str, Any] = dict.fromkeys(STANZAS, ())
        self._sending: dict[str, Any] = dict.fromkeys(STANZAS, ())
        self._arriving: dict[str, Any] = dict.fromkeys(STANZAS, ())
        self._undelivered: Any = ()
        self._addressing: Any = ()

    def use(self, hooks: Hooks) -> None:
        """Take the modules' steps, once they are settled."""
        self.writing = {kind: hooks.steps(Writing, kind) for kind in STANZAS}
        self._sending = {kind: hooks.steps(Sending, kind) for kind in STANZAS}
        self._arriving = {kind: hooks.steps(Arriving, kind) for kind in STANZAS}
        self._undelivered = hooks.steps(Undelivered, "message")
        self._addressing = hooks.steps(Addressing, "message")

    # From a session of ours

    def sent(self, stanza: Stanza, session: Session) -> Done:
        """Lead a stanza from a session of ours through Sending, then route it.

        Raises:
            StanzaError: the stanza is refused.
        """
        steps = self._sending[stanza.name]
        if steps:
            verdict = walk(steps, Sending(stanza, session))
            if verdict is not None:
                return None if isinstance(verdict, Verdict) else self._sent_later(verdict, stanza, session)
        if "to" not in stanza.attributes:
            return self._to_own_account(stanza, session)
        return self.route(stanza)

    async def _sent_later(self, waiting: Awaitable[Verdict | None], stanza: Stanza, session: Session) -> None:
        if await waiting is not None:
            return
        result = self._to_own_account(stanza, session) if "to" not in stanza.attributes else self.route(stanza)
        if result is not None:
            await result

    def _to_own_account(self, stanza: Stanza, session: Session) -> Done:
        """RFC 6120 section 10.3: without `to`, the server handles a stanza on behalf of the sender's account."""
        if isinstance(stanza, IQ):
            return self.iq_table.answer(stanza, Target.OWN_ACCOUNT)
        if stanza.name == "presence":
            return None
        stanza.to = session.jid.bare
        return self.route(stanza)

    # From anywhere

    def route(self, stanza: Stanza) -> Done:
        """Bring a stanza, whose `from` is known to be true and whose `to` is present, to where it belongs.

        Raises:
            StanzaError: the stanza is refused.
        """
        to = stanza.to
        assert to is not None
        accounts = self.directory.hosts.get(to.domain)
        if accounts is None:
            return self._route_elsewhere(stanza, to)
        if not to.local:
            return self._to_host(stanza, to)
        if isinstance(stanza, IQ):
            sender = stanza.from_
            if not to.resource and sender is not None and sender.bare == to:
                return self.iq_table.answer(stanza, Target.OWN_ACCOUNT)
            check_request(stanza)
        account = accounts.get(to.local) or Account(to.bare)
        steps = self._arriving[stanza.name]
        if steps:
            verdict = walk(steps, Arriving(stanza, account))
            if verdict is not None:
                return None if isinstance(verdict, Verdict) else self._arrive_later(verdict, stanza, account, to)
        return self._deliver(stanza, account, to)

    async def _arrive_later(
        self, waiting: Awaitable[Verdict | None], stanza: Stanza, account: Account, to: JID
    ) -> None:
        if await waiting is not None:
            return
        # While a step waited the first session may have come: look again.
        result = self._deliver(stanza, self.directory.account(to) or account, to)
        if result is not None:
            await result

    def _route_elsewhere(self, stanza: Stanza, to: JID) -> Done:
        route = self.routes.get(to.domain) or self.elsewhere
        if route is None:
            raise StanzaError("cancel", "remote-server-not-found")
        return route.deliver(stanza)  # type: ignore[no-any-return]

    def _to_host(self, stanza: Stanza, to: JID) -> Done:
        if isinstance(stanza, IQ):
            if to.resource:
                raise StanzaError("cancel", "service-unavailable")
            return self.iq_table.answer(stanza, Target.HOST)
        if stanza.name == "message":
            verdict = walk(self._addressing, Addressing(stanza))
            if verdict is not None and not isinstance(verdict, Verdict):
                return self._addressed_later(verdict)
            _check_taken(verdict)
        return None

    async def _addressed_later(self, waiting: Awaitable[Verdict | None]) -> None:
        _check_taken(await waiting)

    # To the sessions of an account

    def _deliver(self, stanza: Stanza, account: Account, to: JID) -> Done:
        if to.resource:
            session = account.sessions.get(to.resource)
            if session is not None:
                session.write(stanza)
                return None
        if stanza.name == "message":
            return self._deliver_message(stanza, account, to)
        if isinstance(stanza, IQ):
            if not to.resource:
                return self.iq_table.answer(stanza, Target.ACCOUNT)
            raise StanzaError("cancel", "service-unavailable")
        if delivery.of_presence(stanza.type, bool(to.resource)) is Delivery.ALL_AVAILABLE:
            for session in account.available:
                session.write(stanza)
        return None

    def _deliver_message(self, message: Stanza, account: Account, to: JID) -> Done:
        able = [session for session in account.available if session.priority >= 0]
        decision = delivery.of_message(message.type, bool(to.resource), bool(able))
        if decision is Delivery.MOST_AVAILABLE:
            if len(able) > 1:
                highest = max(session.priority for session in able)
                able = [session for session in able if session.priority == highest]
            for session in able:
                session.write(message)
        elif decision is Delivery.ALL_NON_NEGATIVE:
            for session in able:
                session.write(message)
        elif decision is Delivery.REFUSE:
            raise StanzaError("cancel", "service-unavailable")
        elif decision is Delivery.KEEP:
            return self._keep(message, account)
        return None

    async def _keep(self, message: Stanza, account: Account) -> None:
        """Let the offline store and its like have a message; a stranger cannot tell an account from no account."""
        if not self._undelivered:
            raise StanzaError("cancel", "service-unavailable")
        if not account.sessions and not await self._accounts.exists(account.jid):
            return
        verdict = walk(self._undelivered, Undelivered(message, account))
        if verdict is not None and not isinstance(verdict, Verdict):
            verdict = await verdict
        if verdict is None:
            raise StanzaError("cancel", "service-unavailable")

    # Answers

    def bounce(self, stanza: Stanza, error: StanzaError) -> None:
        """Answer a stanza with an error, unless it is one itself or a result (RFC 6120 sections 8.2.3 and 8.3.1)."""
        if stanza.type == "error" or (stanza.name == "iq" and stanza.type == "result"):
            return
        try:
            sender = stanza.from_
        except StanzaError:
            return
        session = None if sender is None else self.directory.session(sender)
        if session is None:
            self.send_answer(stanza.error(error))
        else:
            # Not by `route`: the error comes from the address that the stanza was for, which may be none at all.
            session.write(stanza.error(error))

    def send_answer(self, stanza: Stanza) -> Deferred[Any] | None:
        """Route a stanza that the server itself made; if it is refused, that is the end of it.

        Returns what fires when all is done, None when it is done already.
        """
        try:
            result = self.route(stanza)
        except StanzaError:
            return None
        return None if result is None else in_background(self._finish(result), "routing a stanza of the server")

    async def _finish(self, result: Coroutine[Any, Any, None]) -> None:
        with suppress(StanzaError):
            await result


def _check_taken(verdict: Verdict | None) -> None:
    if verdict is None:
        raise StanzaError("cancel", "service-unavailable")
