"""Accounts and their keys, on both engines."""

from hypothesis import given, settings
from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Account, AccountExists, Accounts, NoSuchAccount
from chatrix.store.ids import microseconds
from chatrix.store.offline import OfflineMessages
from chatrix.store.roster import RosterItem, Rosters, SubscriptionRequest
from chatrix.xmpp.sasl.keys import ScramKeys
from tests.store.engines import HOSTILE, JULIET, KEYS, TEXT, Body, OnPostgres, OnSqlite, another, together

NEW_KEYS = (ScramKeys("sha-512", b"new", 20_000, b"stored", b"server"),)


class AccountsBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.accounts = Accounts(self.database)

    async def test_create(self) -> None:
        """What was created can be read back, with its keys, by their hash."""
        before = microseconds()
        account = await self.accounts.create("juliet", "example.com", KEYS)
        self.assertEqual(account.jid, JULIET)
        self.assertTrue(before <= account.created <= microseconds())
        self.assertEqual(await self.accounts.get("juliet", "example.com"), account)
        for keys in KEYS:
            self.assertEqual(await self.accounts.keys_of("juliet", "example.com", keys.hash), keys)
        self.assertIsNone(await self.accounts.keys_of("juliet", "example.com", "sha-512"))

    async def test_unknown(self) -> None:
        """Nobody has an account of somebody else's host, or another spelling of the name."""
        await self.accounts.create("juliet", "example.com", KEYS)
        for local, host in (("juliet", "example.org"), ("Juliet", "example.com"), ("", "example.com"), ("j%", "%")):
            self.assertFalse(await self.accounts.exists(local, host))
            self.assertIsNone(await self.accounts.get(local, host))
            self.assertIsNone(await self.accounts.keys_of(local, host, "sha-1"))

    async def test_exists_already(self) -> None:
        """A second account of one name is refused, and the first keeps its password."""
        await self.accounts.create("juliet", "example.com", KEYS)
        with self.assertRaises(AccountExists):
            await self.accounts.create("juliet", "example.com", NEW_KEYS)
        self.assertEqual(await self.accounts.keys_of("juliet", "example.com", "sha-1"), KEYS[0])
        self.assertIsNone(await self.accounts.keys_of("juliet", "example.com", "sha-512"))

    async def test_race_for_a_name(self) -> None:
        """Of many who want one name at once, through two processes, exactly one gets it."""
        other = await another(self.url)
        try:
            wishes = [self.accounts.create("juliet", "example.com", KEYS) for _ in range(5)]
            wishes += [Accounts(other).create("juliet", "example.com", KEYS) for _ in range(5)]
            results = await together(wishes)
        finally:
            await other.close()
        self.assertEqual(sorted(type(each).__name__ for each in results), ["Account"] + ["AccountExists"] * 9)

    async def test_replace_keys(self) -> None:
        """After a new password no key of the old one works, for any hash."""
        await self.accounts.create("juliet", "example.com", KEYS)
        await self.accounts.replace_keys("juliet", "example.com", NEW_KEYS)
        self.assertIsNone(await self.accounts.keys_of("juliet", "example.com", "sha-1"))
        self.assertIsNone(await self.accounts.keys_of("juliet", "example.com", "sha-256"))
        self.assertEqual(await self.accounts.keys_of("juliet", "example.com", "sha-512"), NEW_KEYS[0])

    async def test_replace_keys_at_once(self) -> None:
        """Of two new passwords at one time one wins whole; the keys are not mixed."""
        await self.accounts.create("juliet", "example.com", ())
        wishes = [KEYS, NEW_KEYS] * 5
        results = await together(self.accounts.replace_keys("juliet", "example.com", keys) for keys in wishes)
        self.assertEqual(results, [None] * 10)
        found = [await self.accounts.keys_of("juliet", "example.com", keys.hash) for keys in KEYS + NEW_KEYS]
        self.assertIn(found, ([*KEYS, None], [None, None, *NEW_KEYS]))

    async def test_no_such_account(self) -> None:
        """What needs an account says that there is none, and makes none."""
        with self.assertRaises(NoSuchAccount):
            await self.accounts.replace_keys("nobody", "example.com", KEYS)
        with self.assertRaises(NoSuchAccount):
            await self.accounts.set_disabled("nobody", "example.com", True)
        self.assertFalse(await self.accounts.delete("nobody", "example.com"))
        self.assertEqual(await self.accounts.count("example.com"), 0)

    async def test_disabled(self) -> None:
        """A disabled account exists, with its keys: the log-in says that it is disabled, after the password."""
        await self.accounts.create("juliet", "example.com", KEYS)
        await self.accounts.set_disabled("juliet", "example.com", True)
        account = await self.accounts.get("juliet", "example.com")
        self.assertTrue(account is not None and account.disabled)
        self.assertEqual(await self.accounts.keys_of("juliet", "example.com", "sha-1"), KEYS[0])
        await self.accounts.create("romeo", "example.com", ())
        self.assertEqual(await self.accounts.disabled("example.com"), [account])
        self.assertEqual(await self.accounts.count_disabled("example.com"), 1)
        await self.accounts.set_disabled("juliet", "example.com", False)
        account = await self.accounts.get("juliet", "example.com")
        self.assertTrue(account is not None and not account.disabled)
        self.assertEqual(await self.accounts.disabled("example.com"), [])
        self.assertEqual(await self.accounts.count_disabled("example.com"), 0)

    async def test_delete(self) -> None:
        """With an account all it owns goes: whoever takes the name next finds nothing. Others keep theirs."""
        rosters, offline = Rosters(self.database), OfflineMessages(self.database)
        for local in ("juliet", "romeo"):
            await self.accounts.create(local, "example.com", KEYS)
            account = f"{local}@example.com"
            await rosters.save(RosterItem(account, "nurse@example.com"))
            await rosters.save_request(SubscriptionRequest(account, "paris@example.com", b"<presence/>"))
            await offline.append(account, b"<message/>", 1)
        self.assertTrue(await self.accounts.delete("juliet", "example.com"))
        self.assertFalse(await self.accounts.exists("juliet", "example.com"))
        self.assertFalse(await offline.append(JULIET, b"<message/>", 2))
        await self.accounts.create("juliet", "example.com", ())
        self.assertIsNone(await self.accounts.keys_of("juliet", "example.com", "sha-1"))
        roster = await rosters.load(JULIET)
        self.assertEqual((roster.version, roster.items, roster.requests), (0, (), ()))
        self.assertEqual(await offline.count(JULIET), 0)
        kept = await rosters.load("romeo@example.com")
        self.assertEqual((len(kept.items), len(kept.requests), await offline.count("romeo@example.com")), (1, 1, 1))

    async def test_list(self) -> None:
        """Pages follow each other in the order of code points, whatever the database's language, host by host."""
        names = ["Z", "a", "b", "c-d", "cd", "\u00e4", "\u00df", "\U0001f600"]
        for name in names:
            await self.accounts.create(name, "example.com", ())
            await self.accounts.create(name, "example.org", ())
        found: list[Account] = []
        while page := await self.accounts.list("example.com", after=found[-1].localpart if found else "", limit=3):
            found += page
        self.assertEqual([account.localpart for account in found], sorted(names))
        self.assertEqual({account.host for account in found}, {"example.com"})
        self.assertEqual(await self.accounts.count("example.com"), len(names))
        self.assertEqual(await self.accounts.count("example.net"), 0)

    async def test_hostile_text(self) -> None:
        """Text that would change a statement is only text, in every field of every verb."""
        hostile = [text for text in HOSTILE if text]
        for index, (local, host) in enumerate(zip(hostile, reversed(hostile), strict=True)):
            keys = ScramKeys(host, local.encode(), index, host.encode(), b"k")  # type: ignore[arg-type]
            account = await self.accounts.create(local, host, [keys], created=index)
            self.assertEqual(await self.accounts.get(local, host), account)
            self.assertEqual(await self.accounts.keys_of(local, host, keys.hash), keys)
            await self.accounts.replace_keys(local, host, [keys])
            self.assertIn(account, await self.accounts.list(host))
        for local, host in zip(hostile, reversed(hostile), strict=True):
            self.assertEqual(await self.accounts.count(host), 1)
            self.assertTrue(await self.accounts.delete(local, host))


class SqliteAccountsTests(AccountsBody, OnSqlite, TestCase):
    """On SQLite."""

    @given(TEXT, TEXT)
    @settings(max_examples=100, deadline=None)
    def test_any_name_reads(self, local: str, host: str) -> None:
        """A look-up by any text finds nothing, without an error; SQLite answers at once, so hypothesis can ask."""
        reading = self.accounts.get(local, host)
        with self.assertRaises(StopIteration) as answered:
            reading.send(None)
        self.assertIsNone(answered.exception.value)


class PostgresAccountsTests(AccountsBody, OnPostgres, TestCase):
    """On PostgreSQL."""
