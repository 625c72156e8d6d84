"""The engine for a provider: PostgreSQL through txpostgres, with a pool that outlives lost connections.

Nothing else in chatrix imports txpostgres. Its pool and its `runInteraction` are not used: they give up a connection
that broke, and log a failed ROLLBACK as an error of the program, where we close the connection and make another.

Security: talks to the server that the admin named. Passwords are in the URL or in libpq's own password file, and are
never logged; what the server says about a failure is logged without its details, which quote what is stored.
"""

import select
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg2
import psycopg2.extensions
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres import txpostgres
from zope.interface import implementer

from chatrix.interfaces import IDatabase, IStatements
from chatrix.store.database import DatabaseError, DatabaseUnavailable, redacted
from chatrix.store.executing import Executing, Row, Transaction
from chatrix.store.libpq import BYTES, CONNECT_SECONDS, HAS_REVISION, SETTINGS, translated
from chatrix.store.revisions import REVISION_OF_DATABASE, check_revision
from chatrix.store.statements import Statement
from chatrix.store.turns import Turns

log = Logger()

T = TypeVar("T")

CONNECTIONS = 4
PATIENCE = 5.0
"""Seconds that a request waits for a connection, or for a lock."""
WAITING = 5000
"""Requests that may wait for a connection."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between attempts to connect: doubled each time, up to this."""

SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %(patience)s, false)"


def _uninterrupted(asked: "Deferred[T]") -> "Deferred[T]":
    """What was asked, for a caller who may lose interest: txpostgres would block to tell the server.

    The connection is closed then, because it is still busy when its user gives it back.
    """
    answer: Deferred[T] = Deferred()

    def pass_on(result: T | Failure) -> None:
        if isinstance(result, Failure):
            answer.errback(result)
        else:
            answer.callback(result)

    asked.addBoth(pass_on)
    return answer


class _Connection(txpostgres.Connection):  # type: ignore[misc] # txpostgres has no annotations
    """A connection that notices, while nobody asks anything, that the server has ended it, and tells the pool.

    libpq closes its socket whenever it finds it at its end. So nothing of ours may be registered with the reactor while
    libpq reads or writes: the reactor would go on with a number that is the next connection's socket by then.
    """

    when_lost: Callable[["_Connection"], None] = staticmethod(lambda connection: None)

    def doRead(self) -> None:
        self.reactor.removeReader(self)
        try:
            self.continuePolling()
        except psycopg2.Error:
            self.close()
            return
        if self._pollingD is None:
            self.watch()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.when_lost(self)

    def cursorFinished(self, cursor: Any) -> None:
        self._cursors.discard(cursor)
        self.watch()

    def close(self) -> None:
        for cursor in self._cursors:
            self.reactor.removeReader(cursor)
            self.reactor.removeWriter(cursor)
        if self.pollable() is not None:
            super().close()

    def watch(self) -> None:
        """Hear of it when the server ends the connection; at once, if it has."""
        if self.has_socket:
            self.reactor.addReader(self)
        else:
            self.close()

    def unwatch(self) -> None:
        """Before libpq is asked anything."""
        self.reactor.removeReader(self)

    @property
    def has_socket(self) -> bool:
        """Neither psycopg2 nor libpq has closed it; psycopg2 may not have noticed yet that libpq has."""
        return not self.pollable().closed and self.pollable().fileno() >= 0

    @property
    def idle(self) -> bool:
        """Open, and nobody waits for an answer."""
        return self.has_socket and not self.pollable().isexecuting()

    def alive(self) -> bool:
        """False when the server has ended the connection, even when the reactor has not come to tell us yet."""
        if self.idle:
            unread = select.poll()
            unread.register(self.pollable().fileno(), select.POLLIN)
            if unread.poll(0):
                self.doRead()
        return self.idle


class _Session(Executing):
    """One connection, for whoever has it from the pool."""

    def __init__(self, connection: _Connection, where: str) -> None:
        self.connection = connection
        self.lost = False
        """The server ended the connection in place of an answer."""
        self._where = where

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        return await self.ask(statement.postgresql, statement.named(values))

    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        if statement.arrays:
            return (await self.ask(statement.postgresql, statement.columns(rows)))[0]
        return [row for values in rows for row in (await self.run(statement, values))[0]]

    async def ask(self, text: str, values: Mapping[str, Any] | None = None) -> tuple[list[Row], int]:
        """The rows that came back and the number of rows that changed.

        Raises: DatabaseError; ValueError for text that cannot be stored.
        """
        self.connection.unwatch()
        try:
            cursor = await _uninterrupted(self.connection.cursor().execute(text, values))
            rows: list[Row] = [] if cursor.description is None else cursor.fetchall()
        except psycopg2.Error as error:
            self.lost = not self.connection.has_socket or (error.pgcode or "").startswith(("08", "57P"))
            raise translated(error, self._where) from error
        except ConnectionDone as error:
            self.lost = True
            raise DatabaseUnavailable(f"{self._where}: the connection was closed") from error
        finally:
            # txpostgres does so only for what it could send.
            if self.connection.idle:
                self.connection.watch()
        return rows, cursor.rowcount


@implementer(IDatabase)
class PostgresDatabase(Executing):
    """One database of a PostgreSQL server."""

    dialect = "postgresql"

    def __init__(
        self,
        url: str,
        reactor: Any,
        *,
        connections: int = CONNECTIONS,
        patience: float = PATIENCE,
        waiting: int = WAITING,
    ) -> None:
        self._url = url
        self._where = redacted(url)
        self._reactor = reactor
        self._number = connections
        self._patience = patience
        self._open = False
        self._connections: set[_Connection] = set()
        self._connecting: set[Deferred[None]] = set()
        self._turns: Turns[_Session] = Turns(reactor, self._where, most=waiting, seconds=patience)

    async def open(self) -> None:
        session = await self._connect()
        try:
            rows, _ = await session.ask(HAS_REVISION)
            if rows[0][0]:
                rows, _ = await session.ask(REVISION_OF_DATABASE)
            check_revision(self._where, str(rows[0][0]) if rows and rows[0][0] else None)
        except BaseException:
            session.connection.close()
            raise
        self._open = True
        self._add(session)
        for _ in range(self._number - 1):
            self._connect_another()

    async def close(self) -> None:
        self._open = False
        for attempt in list(self._connecting):
            attempt.cancel()
        # The last in the line: all who came before have had their turn. Whoever keeps it too long is not waited for.
        taken = 0
        with suppress(DatabaseUnavailable):
            while taken < len(self._connections):
                await self._turns.take()
                taken += 1
        self._turns.close()
        for connection in list(self._connections):
            connection.close()
        # txpostgres tells the end of what was under way in the reactor's next turn.
        await deferLater(self._reactor, 0)

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        for _ in range(self._number):
            session = await self._take()
            try:
                return await session.run(statement, values)
            except DatabaseUnavailable:
                # Reading can be repeated; a write may have happened although nobody could tell us so.
                if not (statement.reads and session.lost):
                    raise
            finally:
                self._give_back(session)
        raise DatabaseUnavailable(f"{self._where}: the server ends every connection")

    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        if not statement.arrays:
            async with self.transaction() as transaction:
                return await transaction.execute_many(statement, rows)
        session = await self._take()
        try:
            return await session.run_many(statement, rows)
        finally:
            self._give_back(session)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[IStatements]:
        session = await self._begun()
        try:
            transaction = Transaction(session)
            yield transaction
            transaction.check()
            await session.ask("COMMIT")
        except BaseException:
            await self._roll_back(session)
            raise
        finally:
            self._give_back(session)

    async def _begun(self) -> _Session:
        """A session in a transaction; nothing is lost when the first connections turn out to be dead."""
        for _ in range(self._number):
            session = await self._take()
            try:
                await session.ask("BEGIN")
            except BaseException as error:
                self._give_back(session)
                if not (isinstance(error, DatabaseUnavailable) and session.lost):
                    raise
            else:
                return session
        raise DatabaseUnavailable(f"{self._where}: the server ends every connection")

    async def _roll_back(self, session: _Session) -> None:
        if session.lost or not session.connection.idle:
            session.connection.close()
            return
        try:
            await session.ask("ROLLBACK")
        except BaseException:
            # The server rolls back the transaction of a client that is gone.
            session.connection.close()

    async def _take(self) -> _Session:
        while True:
            session = await self._turns.take()
            if session.connection.alive():
                return session
            self._lost(session.connection)

    def _give_back(self, session: _Session) -> None:
        if session.lost or not session.connection.idle:
            self._lost(session.connection)
        else:
            self._turns.give(session)

    def _add(self, session: _Session) -> None:
        session.connection.when_lost = self._lost
        self._connections.add(session.connection)
        self._turns.give(session)

    def _lost(self, connection: _Connection) -> None:
        """Make another in its place; once for each, however it became known."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._turns.free[:] = [session for session in self._turns.free if session.connection is not connection]
        connection.close()
        self._connect_another()

    def _connect_another(self) -> None:
        if self._open:
            attempt = Deferred.fromCoroutine(self._connect_until_it_works())
            self._connecting.add(attempt)
            attempt.addBoth(self._connecting_ended, attempt)

    def _connecting_ended(self, result: Failure | None, attempt: "Deferred[None]") -> None:
        self._connecting.discard(attempt)
        if isinstance(result, Failure) and not result.check(CancelledError):
            log.failure("connecting to {where}", failure=result, where=self._where)

    async def _connect_until_it_works(self) -> None:
        pause = FIRST_PAUSE
        while self._open:
            try:
                session = await self._connect()
            except DatabaseError as error:
                if pause == FIRST_PAUSE:
                    log.warn("no connection to the database; trying on: {error}", error=error)  # noqa: G010 # Twisted's
                await deferLater(self._reactor, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._add(session)
                return

    async def _connect(self) -> _Session:
        connection = _Connection(self._reactor)
        session = _Session(connection, self._where)
        too_late = self._reactor.callLater(CONNECT_SECONDS, connection.close)
        try:
            await _uninterrupted(connection.connect(self._url, **SETTINGS))
            psycopg2.extensions.register_type(BYTES, connection.pollable())
            await session.ask(SET_LOCK_TIMEOUT, {"patience": f"{self._patience * 1000:.0f}ms"})
        except psycopg2.Error as error:
            connection.close()
            raise translated(error, self._where) from error
        except ConnectionDone as error:
            raise DatabaseUnavailable(f"{self._where}: no connection within {CONNECT_SECONDS:g} s") from error
        except BaseException:
            connection.close()
            raise
        finally:
            if too_late.active():
                too_late.cancel()
        return session
