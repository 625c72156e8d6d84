"""Last activity, on both engines."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts
from chatrix.store.last_activity import LastActivities, LastActivity
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite, together

ROMEO = "romeo@example.com"


class LastActivityBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.last = LastActivities(self.database)
        await self.create_juliet()

    async def test_note(self) -> None:
        """The latest is kept, in whatever order they come."""
        self.assertIsNone(await self.last.get(JULIET))
        for at, expected in ((5, 5), (3, 5), (5, 5), (9, 9)):
            await self.last.note(JULIET, LastActivity(at, b"<status>%d</status>" % at))
            self.assertEqual(LastActivity(expected, b"<status>%d</status>" % expected), await self.last.get(JULIET))

    async def test_together(self) -> None:
        """Many that leave at once are written at once, the same account twice among them."""
        await Accounts(self.database).create("romeo", "example.com", ())
        accounts = [JULIET, ROMEO, "nobody@example.com"]
        results = await together(
            self.last.note(account, LastActivity(at, b"x")) for at in (7, 9, 8) for account in accounts
        )
        self.assertEqual([None] * 9, results)
        self.assertEqual([9, 9], [found.at for found in [await self.last.get(each) for each in accounts] if found])
        self.assertLess(self.last._batch.flushes, 4)

    async def test_no_such_account(self) -> None:
        """Nobody was never seen; a name that would change a statement is only a name."""
        await self.last.note(JULIET, LastActivity(1))
        for nobody in HOSTILE:
            await self.last.note(nobody, LastActivity(2))
            self.assertIsNone(await self.last.get(nobody))
        self.assertEqual(LastActivity(1), await self.last.get(JULIET))

    async def test_goes_with_the_account(self) -> None:
        """Whoever gets the name next was never seen."""
        await self.last.note(JULIET, LastActivity(1))
        await Accounts(self.database).delete("juliet", "example.com")
        await self.create_juliet()
        self.assertIsNone(await self.last.get(JULIET))


class SqliteLastActivityTests(LastActivityBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresLastActivityTests(LastActivityBody, OnPostgres, TestCase):
    """On PostgreSQL."""
