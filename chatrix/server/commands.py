"""Ad-hoc commands as modules declare them: which there are, who may execute them, and what they answer (XEP-0050)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chatrix.hooks import CommandMark, Role
from chatrix.server.host import Host
from chatrix.xmpp.dataform import Answers, Form
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID


class DuplicateCommand(Exception):
    """Two modules want the same node."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the hosts."""

    node: str
    name: str
    role: Role
    form: Form | None
    "The first stage, when it is the same for everybody."
    word: str
    "Of the module."
    method: Callable[[Execution], Any]

    def allows(self, asker: JID, host: Host) -> bool:
        """Whether an entity may execute the command on a host."""
        if self.role is Role.ADMIN:
            return host.is_admin(asker)
        return bool(asker.local) and asker.domain == host.domain


@dataclass(slots=True)
class Execution:
    """One execution, as the command's method sees it: on which host, by whom, and what was submitted so far.

    The method is called for every stage anew and decides by `answers` which one it is; so a stage can be gone back to.
    """

    host: Host
    admin: JID
    "The full JID of who executes the command."
    answers: list[Answers] = field(default_factory=list)
    "What was submitted, stage by stage."

    def account(self, jid: JID) -> JID:
        """The bare JID that was submitted as that of an account of this host.

        Raises:
            StanzaError: forbidden for one of another host, on which the admin has no power; not-acceptable for others.
        """
        if jid.domain != self.host.domain:
            raise StanzaError("auth", "forbidden", f"{jid} is no account of {self.host.domain}")
        if not jid.local or jid.resource:
            raise StanzaError("modify", "not-acceptable", f"{jid} is not the address of an account")
        return jid


@dataclass(frozen=True, slots=True)
class More:
    """A stage after which at least one more follows; a `Form` alone may be the last."""

    form: Form


@dataclass(frozen=True, slots=True)
class Completed:
    """The end of an execution."""

    note: str = ""
    "A sentence for whoever executed the command."
    problem: str = ""
    "The same, of what could not be done."
    form: Form | None = None
    "The result."
    payload: tuple[Element, ...] = ()
    "What else belongs to the result; inside of the form when there is one (XEP-0133 section 4.8)."


class CommandTable:
    """All commands by node, in the order in which the modules have declared them."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}

    def add(self, word: str, method: Callable[[Execution], Any], mark: CommandMark) -> None:
        """Enter one marked method of the module `word`.

        Raises:
            DuplicateCommand: another module has this node already.
        """
        other = self.commands.get(mark.node)
        if other is not None:
            raise DuplicateCommand(f"modules {other.word} and {word} both have a command {mark.node}")
        self.commands[mark.node] = Command(mark.node, mark.name, mark.role, mark.form, word, method)
