"""A chatrix server without doors, for tests: real modules, a real SQLite database, and streams that only remember."""

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from twisted.internet import reactor as _reactor
from twisted.trial.unittest import TestCase

from chatrix.config.load import Config, load_bytes
from chatrix.hooks import EventMark, IQMark, marks_of
from chatrix.server.background import come_to_an_end
from chatrix.server.loading import load_modules, module_options, module_words
from chatrix.server.server import Server
from chatrix.server.session import Session
from chatrix.store.database import open_database
from chatrix.store.migrate import migrate
from chatrix.testing.host import MODULES
from chatrix.xmpp.element import parse
from chatrix.xmpp.errors import StanzaError, StreamError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import Stanza, from_tree

__all__ = [
    "ACCOUNTS",
    "MODULES",
    "Elsewhere",
    "FakeStream",
    "Person",
    "a_server",
    "config_of",
    "outline",
    "quiet",
    "stanza",
]

ACCOUNTS = ("juliet@example.com", "romeo@example.com", "nurse@example.com")


def config_of(
    modules: str = MODULES, limits: str = "", hosts: Iterable[str] = ("example.com",), more: str = "", host: str = ""
) -> Config:
    """A Config by way of an ini; `limits` are lines for [limits], `host` for each host, `more` what follows."""
    lines = ["[chatrix]", f"modules = {modules}", "", "[limits]", limits]
    for domain in hosts:
        lines += [f"[host {domain}]", "certificate = host.pem", host]
    text = "\n".join([*lines, more]) + "\n"
    return load_bytes(text.encode(), Path("chatrix.ini"), module_options, module_words)


@lru_cache(maxsize=1)
def tables() -> Path:
    """A database of this version, made once: migrating takes longer than a test."""
    folder = Path(tempfile.mkdtemp(prefix="chatrix-tables-"))
    atexit.register(shutil.rmtree, folder, True)
    migrate("sqlite:tables.sqlite", str(folder))
    return folder / "tables.sqlite"


async def a_server(
    test: TestCase,
    config: Config | None = None,
    accounts: Iterable[str] = ACCOUNTS,
    extra: object = None,
) -> Server:
    """A server with these accounts, until the end of the test; the marked methods of `extra` act like a module's."""
    config = config or config_of()
    folder = Path(test.mktemp())
    folder.mkdir(parents=True)
    shutil.copy(tables(), folder / "chatrix.sqlite")
    database = open_database("sqlite:chatrix.sqlite", str(folder), _reactor)
    await database.open()
    server = Server(config, database, bytes(32), _reactor)
    load_modules(server, config)
    if extra is not None:
        for method, mark in marks_of(extra):
            match mark:
                case EventMark():
                    server.hooks.add("extra", method, mark)
                case IQMark():
                    server.router.iq_table.add("extra", method, mark)
        server.hooks.settle()
        server.router.use(server.hooks)
    for account in accounts:
        jid = JID.parse(account)
        await server.accounts.store.create(jid.local, jid.domain, ())

    async def end() -> None:
        await quiet()
        await database.close()

    test.addCleanup(end)
    return server


async def quiet() -> None:
    """Wait until nothing happens in the background any more."""
    await come_to_an_end(_reactor, 5)


class FakeStream:
    """What a session writes to: it remembers."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.unread = 0
        self.error: StreamError | None = None
        self.paused = False
        self.pauses = 0
        self.session: Session | None = None
        self.server: Server | None = None

    @property
    def closing(self) -> bool:
        """As a real stream says it."""
        return self.closed

    def write(self, data: bytes) -> None:
        """One stanza."""
        if not self.closed:
            self.written.append(data)

    def close(self, error: StreamError | None = None) -> None:
        """End the session, as net.c2s does."""
        self.closed, self.error = True, error
        if self.server is not None and self.session is not None:
            self.server.end(self.session)

    def pause(self) -> None:
        """Remember it."""
        self.paused = True
        self.pauses += 1

    def resume(self) -> None:
        """Remember it."""
        self.paused = False


class Person:
    """A client that is bound: what it sends, and what came since it last looked."""

    def __init__(self, server: Server, jid: str) -> None:
        self.server = server
        self.stream = FakeStream()
        full = JID.parse(jid)
        self.session = server.bind(full.bare, full.resource, self.stream)
        self.stream.session, self.stream.server = self.session, server
        server.bound(self.session)

    def send(self, xml: str) -> None:
        """Give the session a stanza."""
        self.session.received(stanza(xml))

    async def tell(self, xml: str) -> None:
        """Give the session a stanza and wait until everything it caused is over."""
        self.send(xml)
        await quiet()

    async def comes_online(self, presence: str = "<presence/>", roster: bool = True) -> None:
        """Ask for the roster and become available; what comes of it is forgotten."""
        if roster:
            await self.tell("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
        await self.tell(presence)
        self.stream.written.clear()

    def leaves(self) -> None:
        """Lose the connection without a word."""
        self.stream.closed = True
        self.server.end(self.session)

    def got(self) -> list[Stanza]:
        """What was written since the last look."""
        written, self.stream.written = self.stream.written, []
        return [stanza(data.decode()) for data in written]

    def bodies(self) -> list[str]:
        """The bodies of the messages since the last look; everything else is forgotten."""
        return [each.tree.text_of(None, "body") or "" for each in self.got() if each.name == "message"]


def stanza(xml: str) -> Stanza:
    """A stanza from its text."""
    return from_tree(parse(xml.encode()))


def outline(each: Stanza) -> tuple[str, str, str, str]:
    """What matters most of a stanza: name, type, from; and the condition of an error, or else the `to`."""
    error = each.child(None, "error")
    last = each.attributes.get("to", "") if error is None else next(child.name for child in iter(error))
    return each.name, each.type, each.attributes.get("from", ""), last


class Elsewhere:
    """The domain else.where: it remembers what it gets, and says what it is told to."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.took: list[Stanza] = []
        server.router.routes["else.where"] = self  # type: ignore[assignment]

    def deliver(self, stanza: Stanza) -> None:
        """Take a stanza."""
        self.took.append(stanza)

    def got(self) -> list[tuple[str, str, str]]:
        """Type, `from` and `to` of what came since the last look."""
        took, self.took = self.took, []
        return [(each.type, each.attributes["from"], each.attributes["to"]) for each in took]

    async def says(self, xml: str) -> None:
        """A stanza comes from else.where; an error is the answer to it."""
        came = stanza(xml)
        try:
            result = self.server.router.route(came)
            if result is not None:
                await result
        except StanzaError as error:
            self.server.router.bounce(came, error)
        await quiet()
