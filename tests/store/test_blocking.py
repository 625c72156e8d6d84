"""Block lists and reports, on both engines."""

from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts
from chatrix.store.blocking import Blocking, Report, Reports, TooManyItems
from chatrix.store.database import DatabaseConflict
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite

ROMEO = "romeo@example.com"
SPAM = "urn:xmpp:reporting:spam"


class BlockingBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.blocking = Blocking(self.database)
        await self.create_juliet()
        await Accounts(self.database).create("romeo", "example.com", ())

    async def test_block_and_unblock(self) -> None:
        """Items come back in order, blocked twice they are there once, and each account has its own."""
        self.assertEqual([], await self.blocking.load(JULIET))
        await self.blocking.block(JULIET, ["b@x", "a@x", "x/r"])
        await self.blocking.block(JULIET, ["a@x", "x"])
        self.assertEqual(["a@x", "b@x", "x", "x/r"], await self.blocking.load(JULIET))
        self.assertEqual([], await self.blocking.load(ROMEO))
        await self.blocking.unblock(JULIET, ["a@x", "nobody@x", "x/r"])
        self.assertEqual(["b@x", "x"], await self.blocking.load(JULIET))

    async def test_unblock_all(self) -> None:
        """All of one account's items go at once, nobody else's."""
        for account in (JULIET, ROMEO):
            await self.blocking.block(account, ["a@x", "b@x"])
        await self.blocking.unblock(JULIET)
        self.assertEqual([], await self.blocking.load(JULIET))
        self.assertEqual(["a@x", "b@x"], await self.blocking.load(ROMEO))

    async def test_limit(self) -> None:
        """What would make the list too long is refused as a whole; what is on it already does not count twice."""
        await self.blocking.block(JULIET, ["a@x", "b@x"], limit=3)
        with self.assertRaises(TooManyItems):
            await self.blocking.block(JULIET, ["c@x", "d@x"], limit=3)
        self.assertEqual(["a@x", "b@x"], await self.blocking.load(JULIET))
        await self.blocking.block(JULIET, ["a@x", "c@x"], limit=3)
        self.assertEqual(["a@x", "b@x", "c@x"], await self.blocking.load(JULIET))

    async def test_hostile(self) -> None:
        """What would change a statement is only a name."""
        await self.blocking.block(JULIET, HOSTILE)
        self.assertEqual(sorted(HOSTILE), await self.blocking.load(JULIET))
        for text in HOSTILE:
            self.assertEqual([], await self.blocking.load(text))
            await self.blocking.unblock(text)
        await self.blocking.unblock(JULIET, HOSTILE[1:])
        self.assertEqual([HOSTILE[0]], await self.blocking.load(JULIET))

    async def test_no_such_account(self) -> None:
        """Who does not exist blocks nobody."""
        self.assertEqual([], await self.blocking.load("nobody@example.com"))
        with self.assertRaises(DatabaseConflict):
            await self.blocking.block("nobody@example.com", ["a@x"])

    async def test_account_deleted(self) -> None:
        """List and reports go with their account."""
        await self.blocking.block(JULIET, ["a@x"])
        reports = Reports(self.database)
        await reports.add(Report(JULIET, "a@x", SPAM, 1))
        await Accounts(self.database).delete("juliet", "example.com")
        await self.create_juliet()
        self.assertEqual([], await self.blocking.load(JULIET))
        self.assertEqual([], await reports.after())


class ReportsBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.reports = Reports(self.database)
        await self.create_juliet()
        await Accounts(self.database).create("romeo", "example.com", ())

    async def test_whole(self) -> None:
        """A report comes back as it was made; whatever it says, it is only text."""
        for number, text in enumerate(HOSTILE):
            made = Report(JULIET, text, text, number, text, ((text, text), ("a@x", "2")), number % 2 == 0, True)
            self.assertTrue(await self.reports.add(made))
        found = await self.reports.after()
        self.assertEqual(
            [(text, text, number, text, ((text, text), ("a@x", "2"))) for number, text in enumerate(HOSTILE)],
            [(each.jid, each.reason, each.reported_at, each.text, each.stanza_ids) for each in found],
        )
        self.assertEqual([number % 2 == 0 for number in range(len(HOSTILE))], [each.to_origin for each in found])
        self.assertEqual({(JULIET, True)}, {(each.account, each.to_third_parties) for each in found})

    async def test_pages(self) -> None:
        """Reports are read in pages, in the order in which they came, and deleted one by one."""
        for number in range(5):
            await self.reports.add(Report(JULIET, f"{number}@x", SPAM, number))
        first = await self.reports.after(limit=3)
        rest = await self.reports.after(first[-1].id, limit=3)
        self.assertEqual([f"{number}@x" for number in range(5)], [each.jid for each in first + rest])
        self.assertTrue(await self.reports.delete(first[1].id))
        self.assertFalse(await self.reports.delete(first[1].id))
        self.assertEqual(["0@x", "2@x", "3@x", "4@x"], [each.jid for each in await self.reports.after()])

    async def test_limits(self) -> None:
        """One account cannot fill the list, and all together cannot fill the disk."""
        made = [Report(account, "a@x", SPAM, 1) for account in [JULIET] * 4 + [ROMEO] * 4]
        kept = [await self.reports.add(report, limit=5, limit_of_one=3) for report in made]
        self.assertEqual([True, True, True, False, True, True, False, False], kept)
        self.assertFalse(await self.reports.add(Report("nobody@example.com", "a@x", SPAM, 1)))

    async def test_expire(self) -> None:
        """Old reports are forgotten."""
        for number in range(4):
            await self.reports.add(Report(JULIET, f"{number}@x", SPAM, number))
        self.assertEqual(2, await self.reports.expire(before=2))
        self.assertEqual(["2@x", "3@x"], [each.jid for each in await self.reports.after()])


class SqliteBlockingTests(BlockingBody, OnSqlite, TestCase):
    """Block lists on SQLite."""


class PostgresBlockingTests(BlockingBody, OnPostgres, TestCase):
    """Block lists on PostgreSQL."""


class SqliteReportsTests(ReportsBody, OnSqlite, TestCase):
    """Reports on SQLite."""


class PostgresReportsTests(ReportsBody, OnPostgres, TestCase):
    """Reports on PostgreSQL."""
