"""What both engines have in common: the four verbs of IStatements, and a transaction that fails as a whole."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zope.interface import implementer

from chatrix.interfaces import IStatements
from chatrix.store.statements import Statement

Row = tuple[Any, ...]


@implementer(IStatements)
class Executing(ABC):
    """The verbs, in terms of two that an engine provides."""

    @abstractmethod
    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        """Execute; the rows that came back and the number of rows that changed."""

    @abstractmethod
    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Execute for all rows or for none; the rows that came back."""

    async def fetch(self, statement: Statement, **values: Any) -> list[Row]:
        rows, _ = await self.run(statement, values)
        return rows

    async def fetch_one(self, statement: Statement, **values: Any) -> Row | None:
        rows, _ = await self.run(statement, values)
        return rows[0] if rows else None

    async def execute(self, statement: Statement, **values: Any) -> int:
        _, count = await self.run(statement, values)
        return count

    async def execute_many(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
        listed = list(rows)
        return await self.run_many(statement, listed) if listed else []


class Transaction(Executing):
    """The verbs inside one open transaction.

    After its first failure it does nothing more. Otherwise the engines would differ, and both badly: PostgreSQL takes
    the COMMIT of a failed transaction for a ROLLBACK without a word; SQLite, having rolled back because the disk is
    full, would execute what follows outside any transaction.
    """

    def __init__(self, connection: Executing) -> None:
        self._connection = connection
        self.failure: BaseException | None = None
        """What the first statement that failed raised."""

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Row], int]:
        self.check()
        try:
            return await self._connection.run(statement, values)
        except BaseException as error:
            self.failure = error
            raise

    async def run_many(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        self.check()
        try:
            return await self._connection.run_many(statement, rows)
        except BaseException as error:
            self.failure = error
            raise

    def check(self) -> None:
        """Raises: the first failure again."""
        if self.failure is not None:
            raise self.failure
