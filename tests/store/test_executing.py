"""The four verbs and transactions, the same on both engines."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from chatrix.interfaces import IDatabase, IStatements
from chatrix.store.accounts import account_of, delete_account, insert_account, number_of_accounts, set_disabled
from chatrix.store.database import DatabaseConflict, DatabaseUnavailable
from chatrix.store.statements import Statement, sa, statement
from tests.store.engines import HOSTILE, Body, OnPostgres, OnSqlite, together


@statement
def echo() -> Any:
    return sa.select(
        sa.cast(sa.bindparam("text"), sa.Text),
        sa.bindparam("octets", type_=sa.LargeBinary),
        sa.cast(sa.bindparam("number"), sa.BigInteger),
        sa.cast(sa.bindparam("truth"), sa.Boolean),
        sa.cast(sa.null(), sa.Boolean),
    )


@statement
def missing_table() -> Any:
    return sa.select(sa.literal_column("1")).select_from(sa.table("no_such_table"))


def account(name: str) -> dict[str, Any]:
    """A row of the accounts."""
    return {
        "account": f"{name}@example.com",
        "localpart": name,
        "host": "example.com",
        "created": 1,
        "disabled": False,
        "roster_version": 0,
    }


class Executing(Body):
    async def number(self) -> int:
        row = await self.database.fetch_one(number_of_accounts, host="example.com")
        assert row is not None
        return int(row[0])

    async def test_interface(self) -> None:
        """The engine and its transactions provide what the interfaces say."""
        self.assertTrue(verifyObject(IDatabase, self.database))
        async with self.database.transaction() as transaction:
            self.assertTrue(verifyObject(IStatements, transaction))

    async def test_types(self) -> None:
        """Text, bytes, integers, truth values and NULL come back as they went in, of the same type."""
        octets = bytes(range(256))
        for text in HOSTILE:
            for number, truth in ((2**63 - 1, True), (-(2**63), False)):
                row = await self.database.fetch_one(echo, text=text, octets=octets, number=number, truth=truth)
                self.assertEqual(row, (text, octets, number, truth, None))
                assert row is not None
                self.assertEqual([type(value) for value in row[:4]], [str, bytes, int, bool])

    async def test_text_that_cannot_be_stored(self) -> None:
        """NUL and lone surrogates are refused by both engines, and harm nothing."""
        for text in ("a\0b", "\ud800"):
            with self.assertRaises(ValueError):
                await self.database.fetch(echo, text=text, octets=b"", number=1, truth=True)
            with self.assertRaises(ValueError):
                await self.database.execute(delete_account, account=text)
        self.assertEqual(await self.number(), 0)

    async def test_parameters(self) -> None:
        """A missing and an unknown parameter are errors of the program."""
        with self.assertRaises(TypeError):
            await self.database.execute(delete_account)
        with self.assertRaises(TypeError):
            await self.database.execute(delete_account, account="x", acount="x")

    async def test_execute_counts(self) -> None:
        """`execute` tells how many rows it changed."""
        self.assertEqual(await self.database.execute(insert_account, **account("romeo")), 1)
        self.assertEqual(await self.database.execute(set_disabled, of_account="nobody@x", disabled=True), 0)
        self.assertEqual(await self.database.execute(delete_account, account="romeo@example.com"), 1)

    async def test_reads_what_was_written(self) -> None:
        """Whoever was told that a write is done sees it in the next read."""
        for index in range(50):
            await self.database.execute(insert_account, **account(f"a{index}"))
            self.assertIsNotNone(await self.database.fetch_one(account_of, account=f"a{index}@example.com"))

    async def test_conflict(self) -> None:
        """A second row with one key is a conflict, whose message does not quote the row."""
        await self.database.execute(insert_account, **account("secret"))
        with self.assertRaises(DatabaseConflict) as caught:
            await self.database.execute(insert_account, **account("secret"))
        self.assertNotIn("secret@", str(caught.exception))

    async def test_execute_many_is_all_or_nothing(self) -> None:
        """One row that conflicts leaves none of them behind."""
        with self.assertRaises(DatabaseConflict):
            await self.database.execute_many(insert_account, [account("a"), account("b"), account("a")])
        self.assertEqual(await self.number(), 0)
        self.assertEqual(await self.database.execute_many(insert_account, (account(name) for name in "abc")), [])
        self.assertEqual(await self.number(), 3)
        self.assertEqual(await self.database.execute_many(insert_account, []), [])

    async def test_transaction_commits(self) -> None:
        """Nobody outside sees a transaction before its end; inside, it sees itself."""
        async with self.database.transaction() as transaction:
            await transaction.execute(insert_account, **account("a"))
            self.assertEqual(await transaction.fetch(number_of_accounts, host="example.com"), [(1,)])
            self.assertEqual(await self.number(), 0)
        self.assertEqual(await self.number(), 1)

    async def test_transaction_rolls_back(self) -> None:
        """An exception undoes all of it, and reaches the caller as it was."""

        async def change_ones_mind() -> None:
            async with self.database.transaction() as transaction:
                await transaction.execute(insert_account, **account("a"))
                raise KeyError

        await self.assertFailure(Deferred.fromCoroutine(change_ones_mind()), KeyError)
        self.assertEqual(await self.number(), 0)

    async def test_failure_swallowed(self) -> None:
        """A transaction whose statement failed commits nothing, even when its user goes on as if nothing were."""
        for statement_, values in ((insert_account, account("a")), (missing_table, {})):
            first: Exception | None = None
            with self.assertRaises(Exception) as caught:
                async with self.database.transaction() as transaction:
                    await transaction.execute(insert_account, **account("a"))
                    for _ in range(2):
                        try:
                            await transaction.execute(statement_, **values)
                        except Exception as error:
                            first = error
                    assert first is not None
                    with self.assertRaises(type(first)):
                        await transaction.execute(insert_account, **account("b"))
            self.assertIs(caught.exception, first)
            self.assertEqual(await self.number(), 0)

    async def test_many_at_once(self) -> None:
        """Transactions, writes and reads side by side all come to their end."""

        async def write(index: int) -> None:
            async with self.database.transaction() as transaction:
                await transaction.execute(insert_account, **account(f"t{index}"))
                await transaction.execute(delete_account, account=f"t{index}@example.com")
                await transaction.execute(insert_account, **account(f"u{index}"))

        done = await together(
            [write(index) for index in range(30)]
            + [self.database.execute(insert_account, **account(f"e{index}")) for index in range(30)]
            + [self.number() for _ in range(30)]
        )
        self.assertEqual([each for each in done if isinstance(each, BaseException)], [])
        self.assertEqual(await self.number(), 60)

    async def test_cancelled_transaction(self) -> None:
        """Who is cancelled in the middle leaves nothing behind, and blocks nobody."""
        forever: Deferred[None] = Deferred()

        async def wait() -> None:
            async with self.database.transaction() as transaction:
                await transaction.execute(insert_account, **account("a"))
                # In the reactor's next turn: this waits by then.
                reactor.callLater(0, started.callback, None)
                await forever

        started: Deferred[None] = Deferred()
        waiting = Deferred.fromCoroutine(wait())
        await started
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        await self.database.execute(insert_account, **account("b"))
        self.assertEqual(await self.number(), 1)

    async def test_cancelled_statement(self) -> None:
        """Who is cancelled while a statement is under way disturbs none of the next ones."""
        for index in range(10):
            under_way = Deferred.fromCoroutine(self.database.execute(insert_account, **account(f"c{index}")))
            under_way.cancel()
            await self.assertFailure(under_way, CancelledError)
            await self.database.execute(insert_account, **account(f"d{index}"))
        rows = [await self.database.fetch_one(account_of, account=f"d{index}@example.com") for index in range(10)]
        self.assertNotIn(None, rows)

    async def test_closed(self) -> None:
        """What is asked of a closed database fails with a clear error; closing twice is no harm."""
        await self.database.close()
        await self.database.close()
        for verb in (self.database.fetch, self.database.execute):
            with self.assertRaises(DatabaseUnavailable):
                await verb(number_of_accounts, host="example.com")
        with self.assertRaises(DatabaseUnavailable):
            async with self.database.transaction():
                pass

    async def test_close_waits(self) -> None:
        """What was asked before `close` is done first."""
        writing = [
            Deferred.fromCoroutine(self.database.execute(insert_account, **account(f"w{index}"))) for index in range(20)
        ]
        await self.database.close()
        self.assertEqual([self.successResultOf(each) for each in writing], [1] * 20)

    def test_statement_names(self) -> None:
        """A statement can be told by its name."""
        self.assertIsInstance(account_of, Statement)
        self.assertEqual(repr(account_of), "<Statement chatrix.store.accounts.account_of>")


class SqliteExecutingTests(Executing, OnSqlite, TestCase):
    """On SQLite."""


class PostgresExecutingTests(Executing, OnPostgres, TestCase):
    """On PostgreSQL."""
