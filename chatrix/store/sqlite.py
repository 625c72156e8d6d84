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
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from chatrix.interfaces import IDatabase, IStatements
from chatrix.store.database import (
    DatabaseConflict,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnavailable,
)
from chatrix.store.executing import Executing, Row, Transaction
from chatrix.store.revisions import REVISION_OF_DATABASE, check_revision
from chatrix.store.statements import Statement
from chatrix.store.turns import Turns

R = TypeVar("R")

PATIENCE = 5.0
"""Seconds that a request waits for another program's lock, and at most as long for its turn."""

WAITING = 5000
"""Requests that may wait for the writer."""

# https://sqlite.org/rescode.html; the lowest byte of the extended code
ERRORS: dict[int, tuple[type[DatabaseError], str]] = {
    sqlite3.SQLITE_BUSY: (DatabaseLocked, "locked by another program"),
    sqlite3.SQLITE_LOCKED: (DatabaseLocked, "locked"),
    sqlite3.SQLITE_FULL: (DatabaseFull, "the disk is full"),
    sqlite3.SQLITE_READONLY: (DatabaseReadOnly, "not writable"),
    sqlite3.SQLITE_PERM: (DatabaseReadOnly, "not permitted"),
    sqlite3.SQLITE_IOERR: (DatabaseUnavailable, "the disk reports an error"),
    sqlite3.SQLITE_CANTOPEN: (DatabaseUnavailable, "cannot be opened"),
    sqlite3.SQLITE_CORRUPT: (DatabaseCorrupt, "damaged"),
    sqlite3.SQLITE_NOTADB: (DatabaseCorrupt, "not an SQLite database"),
    sqlite3.SQLITE_CONSTRAINT: (DatabaseConflict, "in conflict with what is stored"),
}


REOPENED = frozenset({DatabaseUnavailable, DatabaseCorrupt, DatabaseReadOnly})
"""After these the connection is made anew: the file may be another one, or well again, next time."""


def translated(error: sqlite3.Error, path: str) -> DatabaseError:
    """The error in the words that both engines share."""
    code = getattr(error, "sqlite_errorcode", 0)
    kind, words = ERRORS.get(code & 0xFF, (DatabaseError, str(error)))
    name = getattr(error, "sqlite_errorname", "")
    return kind(f"{path}: {words} ({name})" if name else f"{path}: {words}")


def create_file(path: str) -> None:
    """Make sure that the file exists and that nobody but its owner may read it; SQLite's other files follow its mode.

    Raises: DatabaseUnavailable when it cannot be created.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_mode & 0o077:
                os.fchmod(file, 0o600)
        finally:
            os.close(file)
    except OSError as error:
        raise DatabaseUnavailable(f"{path}: {error.strerror}") from error


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the file, which must exist, as all of chatrix uses it; without the module's own transactions."""
    uri = f"file:{quote(path)}?mode={'ro' if read_only else 'rw'}"
    # A read on the reactor's thread never waits: when it is locked out, it goes to the writer's thread.
    connection = sqlite3.connect(uri, timeout=0 if read_only else PATIENCE, isolation_level=None, uri=True)
    if not read_only:
        connection.execute("PRAGMA journal_mode=WAL")
        # What is acknowledged must survive a power cut: NORMAL would only survive the end of this process.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=16777216")
    return connection


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
        # Not to be cancelled: what the thread has begun it will finish, and others wait until it has.
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

    def __init__(self, path: str, thread: _Thread, prepare: Callable[[sqlite3.Connection], object] | None) -> None:
        self._path = path
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
                self._connection = connect(self._path)
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
        self._prepare = prepare
        self._writer: _Writer | None = None
        self._thread: _Thread | None = None
        self._reader: sqlite3.Connection | None = None
        # The one thing that goes round among those who write is the right to do so.
        self._turns: Turns[None] = Turns(reactor, path, most=waiting, seconds=patience)
        self._turns.give(None)

    async def open(self) -> None:
        create_file(self._path)
        self._thread = _Thread(self._reactor)
        self._writer = _Writer(self._path, self._thread, self._prepare)
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
                self._reader = connect(self._path, read_only=True)
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


def revision(connection: sqlite3.Connection) -> str | None:
    """The revision of the tables; None when there are none."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    row = connection.execute(REVISION_OF_DATABASE).fetchone()
    return str(row[0]) if row else None
