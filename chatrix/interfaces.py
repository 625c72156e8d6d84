"""The seams of chatrix: each interface here has two implementations, or third parties who write one."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from zope.interface import Attribute, Interface


class IStatements(Interface):
    """What executes statements: a database on its own, or one transaction in it.

    `statement` is a `chatrix.store.statements.Statement`; the values are its parameters, all of them, by name. Only
    text, integers, booleans, bytes and None go in and come out. Text with a NUL or a lone surrogate is refused with
    ValueError.

    Every verb raises `chatrix.store.database.DatabaseError` or one of its subclasses, never what the engine raised.
    """

    async def fetch(statement: Any, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of a SELECT, or of what a statement RETURNS."""

    async def fetch_one(statement: Any, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""

    async def execute(statement: Any, **values: Any) -> int:
        """The number of rows the statement changed."""

    async def execute_many(statement: Any, rows: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """Execute for each row, all in one transaction; all the rows that the statement RETURNED."""


class IDatabase(IStatements):
    """One database, reached through one of two engines: SQLite in this process, or PostgreSQL.

    What `execute` and `execute_many` wrote, and what a transaction wrote, is on disk when they return.
    """

    dialect: str = Attribute("'sqlite' or 'postgresql'.")

    async def open() -> None:
        """Connect, and refuse a database whose tables are not those of this version."""

    async def close() -> None:
        """Let what runs come to its end, then disconnect. Nothing can be asked afterwards."""

    def transaction() -> AbstractAsyncContextManager[IStatements]:
        """`async with database.transaction() as transaction`: all of it or, on an exception, nothing.

        Only `await` the transaction inside: on SQLite everybody else's writes wait for its end.
        """


class IRoute(Interface):
    """Where stanzas for domains that are no hosts of this process go: a component, or federation."""

    def deliver(stanza: Any) -> Any:
        """Take a `chatrix.xmpp.stanza.Stanza`, whose `from` is true and whose `to` is in a domain of this route.

        Returns None, or an awaitable when it must wait. Raises StanzaError when the stanza is refused.
        """


class IBus(Interface):
    """How the workers of one server find each other's sessions; one worker alone has no bus."""

    def announce(jid: Any, connected: bool) -> None:
        """Tell the other workers that a session (full JID) is connected here, or is no more."""

    def send(worker: str, stanza: Any) -> None:
        """Bring a stanza to the worker that has the session it is for; order is kept per pair of workers."""

    def subscribe(receive: Any) -> None:
        """Call `receive(stanza)` for each stanza that another worker sends here."""
