"""A database in memory whose writes take as long as the test wants: it decides which of them comes to its end next."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from zope.interface import implementer

from chatrix.interfaces import IDatabase, IStatements
from chatrix.store.executing import Executing, Row, Transaction
from chatrix.store.sqlite import many, one
from chatrix.store.statements import Statement
from tests.inmemory import tables


class _Connection(Executing):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        return one(statement, self._connection, statement.ordered(values))

    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        return many(statement, self._connection, [statement.ordered(row) for row in rows])


@implementer(IDatabase)
class PacedDatabase(Executing):
    """Reads are answered at once; each write waits before it begins, and again before it is told that it is done.

    As with PostgreSQL, two writes may come to their end in another order than they were asked for.
    """

    dialect = "sqlite"

    def __init__(self) -> None:
        self._sqlite = sqlite3.connect(":memory:", isolation_level=None)
        source = sqlite3.connect(tables())
        source.backup(self._sqlite)
        source.close()
        self._connection = _Connection(self._sqlite)
        self._lock = DeferredLock()
        self.at_once = True
        "Nothing waits."
        self.waiting: list[Deferred[None]] = []
        "What goes on when its Deferred is fired; see `go_on`."

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._sqlite.close()

    def go_on(self, which: int) -> None:
        """Let one of those that wait go on."""
        self.waiting.pop(which % len(self.waiting)).callback(None)

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        if statement.reads:
            return await self._connection.run(statement, values)
        async with self._turn():
            return await self._connection.run(statement, values)

    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        async with self.transaction() as transaction:
            return await transaction.execute_many(statement, rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[IStatements]:
        async with self._turn():
            self._sqlite.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(self._connection)
                self._sqlite.execute("COMMIT")
            finally:
                if self._sqlite.in_transaction:
                    self._sqlite.execute("ROLLBACK")

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        await self._pause()
        await self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()
        await self._pause()

    async def _pause(self) -> None:
        if not self.at_once:
            waiting: Deferred[None] = Deferred()
            self.waiting.append(waiting)
            await waiting
