"""XEP-0050: Ad-Hoc Commands, version 1.3.0. The commands themselves are those that modules declare with `@command`.

Security: whatever the node, sessionid and action, who may not execute a command learns nothing but that. A session is
the full JID's that began it, and of its role again at each stage; there are few, and they end by themselves.
"""

from __future__ import annotations

import inspect
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from chatrix.api import (
    IQ,
    JID,
    Command,
    Completed,
    Element,
    Execution,
    Form,
    Host,
    Module,
    More,
    Server,
    SessionEnded,
    StanzaError,
    Target,
    iq,
    on,
)
from chatrix.xmpp.disco import Identity, info
from chatrix.xmpp.namespaces import NS_ADMIN, NS_COMMANDS, NS_DATA_FORM, NS_DISCO_ITEMS

COMMAND = (NS_COMMANDS, "command")
ACTIONS = ("execute", "next", "prev", "complete", "cancel")
MOST_SESSIONS = 1000
"""Executions remembered, those that have ended included; the oldest is forgotten first."""
MOST_SESSIONS_OF_ONE = 20
LIFETIME = 600
"""Seconds without a sign of the client."""


@dataclass(slots=True)
class _Session:
    """One execution of a command of several stages."""

    command: Command
    execution: Execution
    seen: float
    stages: list[Form | More] = field(default_factory=list)
    "The forms that were sent, the last of which waits to be submitted."
    busy: bool = False
    ended: bool = False


class Commands(Module):
    """Let people execute the commands of the hosts, in stages, with forms."""

    features = (NS_COMMANDS, NS_DATA_FORM)
    requires = ("disco",)

    def __init__(self, server: Server, options: None) -> None:
        super().__init__(server, options)
        self._known: OrderedDict[str, _Session] = OrderedDict()
        "By sessionid, the oldest first; at most `MOST_SESSIONS`."

    # Discovery

    async def info_of_node(self, request: IQ, node: str) -> Element | None:
        """What the list of commands is, and each of them to those who may execute it."""
        asked = self._asked(request)
        if asked is None:
            return None
        host, asker = asked
        if node == NS_COMMANDS:
            return info((Identity("automation", "command-list"),), (), (), node)
        command = self.server.commands.commands.get(node)
        if command is None:
            return None
        _check(command, asker, host)
        return info((Identity("automation", "command-node", command.name),), (NS_COMMANDS, NS_DATA_FORM), (), node)

    async def items_of_node(self, request: IQ, node: str) -> Element | None:
        """The commands that whoever asks may execute."""
        asked = self._asked(request)
        if asked is None:
            return None
        host, asker = asked
        query = Element(NS_DISCO_ITEMS, "query", {"node": node})
        if node == NS_COMMANDS:
            for command in self._allowed(asker, host):
                item = {"jid": host.domain, "node": command.node, "name": command.name}
                query.add(NS_DISCO_ITEMS, "item", item)
            return query
        found = self.server.commands.commands.get(node)
        if found is None:
            return None
        _check(found, asker, host)
        return query

    def _allowed(self, asker: JID, host: Host) -> Iterator[Command]:
        return (command for command in self.server.commands.commands.values() if command.allows(asker, host))

    def _asked(self, request: IQ) -> tuple[Host, JID] | None:
        """The host that a request is for, and who asks; None for a request to an account."""
        to, asker = request.to, request.from_
        if to is None or asker is None or to.local:
            return None
        return self.server.hosts[to.domain], asker

    # Execution

    @iq("set", COMMAND, to=Target.HOST)
    async def execute(self, request: IQ) -> Element:
        """Begin an execution, or go on with one."""
        asked = self._asked(request)
        assert asked is not None
        host, asker = asked
        wanted = request.payload
        node = wanted.get("node", "")
        command = self.server.commands.commands.get(node)
        if command is None:
            raise _unknown(node, asker, host)
        _check(command, asker, host)
        action = wanted.get("action", "execute")
        if action not in ACTIONS:
            raise _refusal("malformed-action", f"there is no action {action!r}")
        id = wanted.get("sessionid")
        if id is None:
            if action != "execute":
                raise _refusal("bad-sessionid", "an execution begins with the action execute")
            session = self._begin(command, Execution(host, asker))
            return await self._first_stage(session)
        session = self._session(id, command, asker, host)
        session.seen = self.server.reactor.seconds()
        session.busy = True
        try:
            return await self._go_on(id, session, action, wanted)
        finally:
            session.busy = False

    async def _first_stage(self, session: _Session) -> Element:
        id = secrets.token_urlsafe(15)
        if session.command.form is not None:
            return self._stage(id, session, session.command.form)
        return await self._call(id, session)

    async def _go_on(self, id: str, session: _Session, action: str, wanted: Element) -> Element:
        if action == "cancel":
            self._end(session)
            return _answer(session.command, id, "canceled")
        if action == "prev":
            if len(session.stages) < 2:
                raise _refusal("bad-action", "this is the first stage")
            session.stages.pop()
            session.execution.answers.pop()
            return self._stage(id, session, session.stages.pop())
        stage = session.stages[-1]
        form, forward = (stage.form, "next") if isinstance(stage, More) else (stage, "complete")
        if action not in ("execute", forward):
            raise _refusal("bad-action", f"here one goes on with {forward}")
        try:
            answers = form.read(wanted.child(NS_DATA_FORM, "x"))
        except StanzaError as error:
            raise _refusal("bad-payload", error.text or "") from None
        session.execution.answers.append(answers)
        try:
            return await self._call(id, session)
        except Exception:
            session.execution.answers.pop()
            raise

    async def _call(self, id: str, session: _Session) -> Element:
        """Let the command act on what was submitted so far."""
        result = session.command.method(session.execution)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, Form | More):
            return self._stage(id, session, result)
        assert isinstance(result, Completed)
        if session.stages:
            self._end(session)
        return _completed(session.command, id, result)

    def _stage(self, id: str, session: _Session, stage: Form | More) -> Element:
        """Ask for a form (section 3.4)."""
        if not session.stages:
            self._remember(id, session)
        session.stages.append(stage)
        form, forward = (stage.form, "next") if isinstance(stage, More) else (stage, "complete")
        answer = _answer(session.command, id, "executing")
        actions = answer.add(NS_COMMANDS, "actions", {"execute": forward})
        if len(session.stages) > 1:
            actions.add(NS_COMMANDS, "prev")
        actions.add(NS_COMMANDS, forward)
        answer.append(form.to_element())
        return answer

    # Sessions

    def _begin(self, command: Command, execution: Execution) -> _Session:
        return _Session(command, execution, self.server.reactor.seconds())

    def _remember(self, id: str, session: _Session) -> None:
        asker = session.execution.admin
        own = [key for key, each in self._known.items() if each.execution.admin == asker]
        if len(own) >= MOST_SESSIONS_OF_ONE:
            del self._known[own[0]]
        elif len(self._known) >= MOST_SESSIONS:
            self._known.popitem(last=False)
        self._known[id] = session

    def _session(self, id: str, command: Command, asker: JID, host: Host) -> _Session:
        """The session that a request goes on with.

        Raises:
            StanzaError: bad-sessionid for an unknown one and for somebody else's; session-expired for one that is over.
        """
        session = self._known.get(id)
        if (
            session is None
            or session.execution.admin != asker
            or session.command is not command
            or session.execution.host.domain != host.domain
        ):
            raise _refusal("bad-sessionid", "this is no session of yours")
        if not session.ended and self.server.reactor.seconds() - session.seen > LIFETIME:
            self._end(session)
        if session.ended:
            raise StanzaError("cancel", "not-allowed", extra=Element(NS_COMMANDS, "session-expired"))
        if session.busy:
            raise _refusal("bad-action", "the last action is not over yet")
        session.execution.host = host
        return session

    @staticmethod
    def _end(session: _Session) -> None:
        """What is left of it tells only that it was there; passwords that were submitted are forgotten."""
        session.ended = True
        session.stages.clear()
        session.execution.answers = []

    @on(SessionEnded)
    def forget(self, fact: SessionEnded) -> None:
        """A client is gone: what it executed is, too."""
        for id in [id for id, each in self._known.items() if each.execution.admin == fact.session.jid]:
            del self._known[id]


def _check(command: Command, asker: JID, host: Host) -> None:
    if not command.allows(asker, host):
        raise StanzaError("auth", "forbidden")


def _unknown(node: str, asker: JID, host: Host) -> StanzaError:
    """What a node that no command has is answered: XEP-0133's, which we might have had, by its section 5."""
    if not node.startswith(f"{NS_ADMIN}#"):
        return StanzaError("cancel", "item-not-found")
    if not host.is_admin(asker):
        return StanzaError("auth", "forbidden")
    return StanzaError("cancel", "feature-not-implemented", "this server does not offer the command")


def _refusal(condition: str, text: str) -> StanzaError:
    """bad-request with one of XEP-0050's own conditions (section 4.4)."""
    return StanzaError("modify", "bad-request", text, extra=Element(NS_COMMANDS, condition))


def _answer(command: Command, id: str, status: str) -> Element:
    return Element(*COMMAND, {"node": command.node, "sessionid": id, "status": status})


def _completed(command: Command, id: str, result: Completed) -> Element:
    answer = _answer(command, id, "completed")
    for type, text in (("info", result.note), ("error", result.problem)):
        if text:
            answer.add(NS_COMMANDS, "note", {"type": type}, text)
    inside = answer
    if result.form is not None:
        inside = result.form.to_element()
        answer.append(inside)
    for element in result.payload:
        inside.append(element)
    return answer
