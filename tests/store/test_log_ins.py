"""First and last log-ins, on both engines."""

from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts
from chatrix.store.log_ins import LogIn, LogIns
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite, together


class LogInsBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.log_ins = LogIns(self.database)
        await self.create_juliet()

    async def test_noted(self) -> None:
        """What is only noted is there when somebody asks, and is noted still when the database could not be reached."""
        self.log_ins.note(JULIET, 5)
        self.log_ins.note(JULIET, 6)
        self.log_ins.note("nobody@example.com", 6)
        self.assertEqual(await self.log_ins.of(JULIET), LogIn(JULIET, 6, 6, 0))
        self.log_ins.note(JULIET, 7)
        with patch.object(self.log_ins, "_database", None):
            await self.assertFailure(Deferred.fromCoroutine(self.log_ins.settle()), AttributeError)
        self.assertEqual(await self.log_ins.of(JULIET), LogIn(JULIET, 6, 7, 0))

    async def test_record(self) -> None:
        """The first log-in is remembered, and the last one."""
        self.assertIsNone(await self.log_ins.of(JULIET))
        self.assertEqual(await self.log_ins.record(JULIET, 5), LogIn(JULIET, 5, 5, 0))
        self.assertEqual(await self.log_ins.record(JULIET, 7), LogIn(JULIET, 5, 7, 0))
        self.assertEqual(await self.log_ins.of(JULIET), LogIn(JULIET, 5, 7, 0))

    async def test_heard(self) -> None:
        """Which message of the day somebody has heard outlives further log-ins."""
        await self.log_ins.record(JULIET, 5)
        await self.log_ins.heard([JULIET, "nobody@example.com"], 3)
        self.assertEqual(await self.log_ins.record(JULIET, 6), LogIn(JULIET, 5, 6, 3))
        await self.log_ins.heard([], 4)
        self.assertEqual(await self.log_ins.of(JULIET), LogIn(JULIET, 5, 6, 3))

    async def test_at_once(self) -> None:
        """Log-ins of several accounts, several of one and of nobody go into the database together."""
        await Accounts(self.database).create("romeo", "example.com", ())
        romeo = "romeo@example.com"
        first = await together([self.log_ins.record(JULIET, 1)])
        rest = await together(
            self.log_ins.record(account, at)
            for account, at in ((JULIET, 2), (romeo, 3), (JULIET, 4), ("nobody@example.com", 5), (romeo, 6))
        )
        self.assertEqual(first, [LogIn(JULIET, 1, 1, 0)])
        self.assertEqual(rest[3], None)
        self.assertEqual(await self.log_ins.of(JULIET), LogIn(JULIET, 1, 4, 0))
        found = await self.log_ins.of(romeo)
        self.assertEqual((found and found.last), 6)

    async def test_deleted(self) -> None:
        """Whoever takes a deleted account's name is new, and hostile names are only names."""
        await self.log_ins.record(JULIET, 1)
        await Accounts(self.database).delete("juliet", "example.com")
        self.assertIsNone(await self.log_ins.record(JULIET, 2))
        await self.create_juliet()
        self.assertEqual(await self.log_ins.record(JULIET, 3), LogIn(JULIET, 3, 3, 0))
        for text in HOSTILE:
            self.assertIsNone(await self.log_ins.record(text, 1))


class SqliteLogInsTests(LogInsBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresLogInsTests(LogInsBody, OnPostgres, TestCase):
    """On PostgreSQL."""
