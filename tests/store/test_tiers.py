"""The tiers of accounts, on both engines."""

from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts, NoSuchAccount
from chatrix.store.tiers import Tiers
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite


class TiersBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.tiers = Tiers(self.database)
        await self.create_juliet()

    async def test_set(self) -> None:
        """A tier stays until another one, or none, takes its place."""
        self.assertEqual(await self.tiers.of(JULIET), "")
        for tier in ("sponsor", "founder", *filter(None, HOSTILE)):
            await self.tiers.set(JULIET, tier)
            self.assertEqual(await self.tiers.of(JULIET), tier)
            self.assertEqual(await self.tiers.all(), {JULIET: tier})
        await self.tiers.set(JULIET, "")
        self.assertEqual(await self.tiers.all(), {})

    async def test_no_such_account(self) -> None:
        """Nobody has no tier, and with an account its tier goes."""
        for tier in ("sponsor", ""):
            with self.assertRaises(NoSuchAccount):
                await self.tiers.set("nobody@example.com", tier)
        await self.tiers.set(JULIET, "sponsor")
        await Accounts(self.database).delete("juliet", "example.com")
        await self.create_juliet()
        self.assertEqual(await self.tiers.of(JULIET), "")


class SqliteTiersTests(TiersBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresTiersTests(TiersBody, OnPostgres, TestCase):
    """On PostgreSQL."""
