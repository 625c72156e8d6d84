"""Messages that wait, on both engines."""

from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts
from chatrix.store.ids import Ids
from chatrix.store.offline import OfflineMessages
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite, another, together


class OfflineBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.offline = OfflineMessages(self.database)
        await self.create_juliet()

    async def test_take(self) -> None:
        """Messages come back as they were stored, the oldest first, and wait on until they are deleted."""
        stanzas = [f"<message><body>{text}</body></message>".encode() for text in HOSTILE]
        for index, stanza in enumerate(stanzas):
            self.assertIs(await self.offline.append(JULIET, stanza, index), True)
        for _ in range(2):
            taken = await self.offline.take(JULIET)
            self.assertEqual([message.stanza for message in taken], stanzas)
            self.assertEqual([message.stored_at for message in taken], list(range(len(stanzas))))
        self.assertEqual(await self.offline.take("romeo@example.com"), [])

    async def test_pages(self) -> None:
        """A large number is taken in pages."""
        for index in range(5):
            await self.offline.append(JULIET, b"%d" % index, index)
        first = await self.offline.take(JULIET, limit=3)
        rest = await self.offline.take(JULIET, after=first[-1].id, limit=3)
        self.assertEqual([message.stanza for message in first + rest], [b"0", b"1", b"2", b"3", b"4"])

    async def test_delete(self) -> None:
        """Only what was written to a session is deleted; what came meanwhile waits."""
        await self.offline.append(JULIET, b"1", 1)
        await self.offline.append(JULIET, b"2", 2)
        taken = await self.offline.take(JULIET)
        await self.offline.append(JULIET, b"3", 3)
        self.assertEqual(await self.offline.delete(JULIET, taken[-1].id), 2)
        self.assertEqual([message.stanza for message in await self.offline.take(JULIET)], [b"3"])

    async def test_limit(self) -> None:
        """When as many wait as may, the next is refused, until there is room again."""
        accepted = [await self.offline.append(JULIET, b"%d" % index, index, limit=3) for index in range(5)]
        self.assertEqual(accepted, [True, True, True, False, False])
        self.assertEqual(await self.offline.count(JULIET), 3)
        taken = await self.offline.take(JULIET)
        await self.offline.delete(JULIET, taken[0].id)
        self.assertTrue(await self.offline.append(JULIET, b"5", 5, limit=3))
        self.assertFalse(await self.offline.append(JULIET, b"6", 6, limit=3))

    async def test_limit_in_one_batch(self) -> None:
        """The limit holds among messages that are written together, account by account, and keeps the first ones."""
        await Accounts(self.database).create("romeo", "example.com", ())
        accounts = [JULIET, "romeo@example.com", "nobody@example.com"]
        results = await together(
            self.offline.append(account, b"%d" % index, index, limit=7) for index in range(20) for account in accounts
        )
        self.assertEqual(sum(results), 14)
        for account in accounts[:2]:
            taken = await self.offline.take(account)
            self.assertEqual([message.stanza for message in taken], [b"%d" % index for index in range(7)])
        self.assertEqual(await self.offline.count("nobody@example.com"), 0)

    async def test_limit_between_processes(self) -> None:
        """The limit holds when two processes store for one account at once."""
        other = await another(self.url)
        try:
            second = OfflineMessages(other, Ids(1))
            appends = [
                each.append(JULIET, b"%d" % index, index, limit=30)
                for index in range(40)
                for each in (self.offline, second)
            ]
            results = await together(appends)
        finally:
            await other.close()
        self.assertEqual(sum(results), 30)
        self.assertEqual(await self.offline.count(JULIET), 30)

    async def test_no_such_account(self) -> None:
        """Nothing waits for who does not exist."""
        self.assertIs(await self.offline.append("nobody@example.com", b"1", 1), False)
        self.assertEqual(await self.offline.count("nobody@example.com"), 0)

    async def test_hostile_account(self) -> None:
        """An account's name that would change a statement is only a name."""
        await self.offline.append(JULIET, b"1", 1)
        for text in HOSTILE:
            self.assertFalse(await self.offline.append(text, b"1", 1))
            self.assertEqual(await self.offline.take(text), [])
            self.assertEqual(await self.offline.delete(text, 2**63 - 1), 0)
            self.assertEqual(await self.offline.purge(text), 0)
        self.assertEqual(await self.offline.count(JULIET), 1)

    async def test_poison(self) -> None:
        """A row that cannot be stored fails alone; those written with it are stored."""
        accounts = [JULIET, JULIET, "ju\0liet@example.com", JULIET]
        results = await together(self.offline.append(account, b"x", 1) for account in accounts)
        self.assertEqual([each for each in results if each is True], [True] * 3)
        self.assertIsInstance(results[2], ValueError)
        self.assertEqual(await self.offline.count(JULIET), 3)

    async def test_purge_and_expire(self) -> None:
        """All messages of an account can be forgotten, and all old ones of everybody."""
        for index in range(4):
            await self.offline.append(JULIET, b"%d" % index, index)
        self.assertEqual(await self.offline.expire(before=2), 2)
        self.assertEqual([message.stanza for message in await self.offline.take(JULIET)], [b"2", b"3"])
        self.assertEqual(await self.offline.purge(JULIET), 2)
        self.assertEqual(await self.offline.count(JULIET), 0)


class SqliteOfflineTests(OfflineBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresOfflineTests(OfflineBody, OnPostgres, TestCase):
    """On PostgreSQL."""


class IdsTests(TestCase):
    """Ids, without a database."""

    def test_grow(self) -> None:
        """Every id is greater than the one before, however fast they are drawn, and fits into a BIGINT."""
        ids = Ids()
        drawn = [ids.next() for _ in range(5000)]
        self.assertEqual(drawn, sorted(set(drawn)))
        self.assertLess(drawn[-1], 2**63)

    def test_processes(self) -> None:
        """Ids of processes with different numbers never agree."""
        first, second = Ids(1), Ids(2)
        self.assertFalse({first.next() for _ in range(2000)} & {second.next() for _ in range(2000)})
