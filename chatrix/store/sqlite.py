"""The embedded engine: sqlite3 with a write-ahead log, one thread that writes, and reading on the reactor's thread.

A hop to a thread and back costs more than a read by key does (measured: 60 us against 10), so reads that a SELECT can
answer are done at once, through a connection of their own that cannot write. A read sees all that was committed before.
"""

import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from chatrix.interfaces import IDatabase, IStatements
from chatrix.store.database import DatabaseCorrupt, DatabaseLocked, DatabaseReadOnly, DatabaseUnavailable
from chatrix.store.executing import Executing, Row, Transaction
from chatrix.store.revisions import check_revision
from chatrix.store.sqlite_file import connect, create_file, revision, translated
from chatrix.store.statements import Statement
from chatrix.store.turns import Turns

R = TypeVar("R")

PATIENCE = 5.0
"""Seconds that a request waits for another program's lock, and at most as long for its turn."""

WAITING = 5000
"""Requests that may wait for the writer."""

REOPENED = frozenset({DatabaseUnavailable, DatabaseCorrupt, DatabaseReadOnly})
"""After these the connection is made anew: the file may be another one, or well again, next time."""


class _Thread:
    """One thread that does one thing after the other for the reactor's thread."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._work: SimpleQueue[tuple[Deferred[Any], Callable[[], Any]] | None] = SimpleQueue()
        # A daemon: a program that fails before it closes the database must end, not hang.
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def do(self, function: Callable[[], R]) -> "Deferred[R]":
        """The function's result, from the thread."""
        # Whoever cancels only stops waiting; the thread finishes what it has begun, and then does what comes next.
        done: Deferred[R] = Deferred()
        self._work.put((done, function))
        return done

    def end(self) -> None:
        """Wait for the thread to end."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            done, function = work
            try:
                result = function()
            except BaseException:
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, result)


def one(statement: Statement, connection: sqlite3.Connection, ordered: Sequence[Any]) -> tuple[list[Row], int]:
    """Execute; what came back, with truth values where the statement returns some, and the number of rows changed."""
    cursor = connection.execute(statement.sqlite, ordered)
    rows: list[Row] = cursor.fetchall()
    if statement.booleans:
        true = frozenset(statement.booleans)
        rows = [tuple(bool(v) if i in true and v is not None else v for i, v in enumerate(row)) for row in rows]
    return rows, cursor.rowcount


def many(statement: Statement, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> list[Row]:
    """Execute for each row; what came back."""
    if statement.returns:
        return [row for ordered in rows for row in one(statement, connection, ordered)[0]]
    connection.executemany(statement.sqlite, rows)
    return []


def leave(connection: sqlite3.Connection) -> None:
    """End the transaction without effect; SQLite has done so by itself after some errors, not after others."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


class _Writer(Executing):
    """The connection that writes. Whoever calls `run` has the turn; methods without `async` are for the thread."""

    def __init__(
        self, path: str, patience: float, thread: _Thread, prepare: Callable[[sqlite3.Connection], object] | None
    ) -> None:
        self._path = path
        self._patience = patience
        self._thread = thread
        self._prepare = prepare
        self._connection: sqlite3.Connection | None = None

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        ordered = statement.ordered(values)
        return await self.do(lambda connection: one(statement, connection, ordered))

    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        ordered = [statement.ordered(row) for row in rows]
        return await self.do(lambda connection: many(statement, connection, ordered))

    async def run_alone(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """`run_many` and the transaction around it, with one hop to the thread."""
        ordered = [statement.ordered(row) for row in rows]

        def in_transaction(connection: sqlite3.Connection) -> list[Row]:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = many(statement, connection, ordered)
                connection.execute("COMMIT")
            finally:
                leave(connection)
            return result

        return await self.do(in_transaction)

    async def do(self, function: Callable[[sqlite3.Connection], R]) -> R:
        """The function's result, from the thread.

        Raises: DatabaseError.
        """
        return await self._thread.do(lambda: self._do(function))

    def _do(self, function: Callable[[sqlite3.Connection], R]) -> R:
        try:
            if self._connection is None:
                self._connection = connect(self._path, self._patience)
                if self._prepare is not None:
                    self._prepare(self._connection)
            return function(self._connection)
        except sqlite3.Error as error:
            ours = translated(error, self._path)
            if type(ours) in REOPENED:
                self.close()
            raise ours from error

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


@implementer(IDatabase)
class SqliteDatabase(Executing):
    """One SQLite file."""

    dialect = "sqlite"

    def __init__(
        self,
        path: str,
        reactor: Any,
        *,
        patience: float = PATIENCE,
        waiting: int = WAITING,
        prepare: Callable[[sqlite3.Connection], object] | None = None,
    ) -> None:
        """`prepare` is called with each connection that writes; tests make the file as small as a full disk would."""
        self._path = path
        self._reactor = reactor
        self._patience = patience
        self._prepare = prepare
        self._writer: _Writer | None = None
        self._thread: _Thread | None = None
        self._reader: sqlite3.Connection | None = None
        # The one thing that goes round among those who write is the right to do so.
        self._turns: Turns[None] = Turns(reactor, path, most=waiting, seconds=patience)
        self._turns.give(None)

    async def open(self) -> None:
        if not os.path.exists(self._path):
            check_revision(self._path, None)
        create_file(self._path)
        self._thread = _Thread(self._reactor)
        self._writer = _Writer(self._path, self._patience, self._thread, self._prepare)
        try:
            check_revision(self._path, await self._writer.do(revision))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._thread is None or self._writer is None:
            return
        # The last in the line: all who came before have had their turn. Whoever keeps it too long is not waited for.
        with suppress(DatabaseUnavailable):
            await self._turns.take()
        self._turns.close()
        thread, self._thread = self._thread, None
        self._close_reader()
        await thread.do(self._writer.close)
        thread.end()

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        if statement.reads:
            with suppress(DatabaseLocked):
                return self._read(statement, statement.ordered(values))
        async with self._turn() as writer:
            return await writer.run(statement, values)

    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        async with self._turn() as writer:
            return await writer.run_alone(statement, rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[IStatements]:
        async with self._turn() as writer:
            transaction = Transaction(writer)
            try:
                await writer.do(begin)
                yield transaction
                transaction.check()
                await writer.do(commit)
            finally:
                await writer.do(leave)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[_Writer]:
        if self._writer is None:
            raise DatabaseUnavailable(f"{self._path}: not open")
        await self._turns.take()
        try:
            yield self._writer
        finally:
            self._turns.give(None)

    def _read(self, statement: Statement, ordered: Sequence[Any]) -> tuple[list[Row], int]:
        if self._thread is None:
            raise DatabaseUnavailable(f"{self._path}: not open")
        try:
            if self._reader is None:
                # Reading never waits here: when it is locked out, `run` asks the writer's thread.
                self._reader = connect(self._path, 0, read_only=True)
            return one(statement, self._reader, ordered)
        except sqlite3.Error as error:
            ours = translated(error, self._path)
            if type(ours) in REOPENED:
                self._close_reader()
            raise ours from error

    def _close_reader(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.close()


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction, as the writer at once: a reader that turns writer later can be refused."""
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """Make the transaction last."""
    connection.execute("COMMIT")
