"""vCards, on both engines."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts, NoSuchAccount
from chatrix.store.vcards import VCards
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite

VCARD = b"<vCard xmlns='vcard-temp'><FN>Juliet \xc3\xa9 '; --</FN></vCard>"


class VCardsBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.vcards = VCards(self.database)
        await self.create_juliet()

    async def test_save(self) -> None:
        """The last one is kept, to the octet."""
        self.assertIsNone(await self.vcards.get(JULIET))
        for vcard in (b"<old/>", VCARD):
            await self.vcards.save(JULIET, vcard)
            self.assertEqual(vcard, await self.vcards.get(JULIET))

    async def test_delete(self) -> None:
        """One that is deleted is gone; there need not be one."""
        await self.vcards.save(JULIET, VCARD)
        for _ in range(2):
            await self.vcards.delete(JULIET)
            self.assertIsNone(await self.vcards.get(JULIET))

    async def test_no_such_account(self) -> None:
        """Nobody has no vCard, and can have none; a name that would change a statement is only a name."""
        await self.vcards.save(JULIET, VCARD)
        for nobody in ("nobody@example.com", *HOSTILE):
            self.assertIsNone(await self.vcards.get(nobody))
            with self.assertRaises(NoSuchAccount):
                await self.vcards.save(nobody, VCARD)
            await self.vcards.delete(nobody)
        self.assertEqual(VCARD, await self.vcards.get(JULIET))

    async def test_goes_with_the_account(self) -> None:
        """Whoever gets the name next does not find the vCard."""
        await self.vcards.save(JULIET, VCARD)
        await Accounts(self.database).delete("juliet", "example.com")
        await self.create_juliet()
        self.assertIsNone(await self.vcards.get(JULIET))


class SqliteVCardsTests(VCardsBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresVCardsTests(VCardsBody, OnPostgres, TestCase):
    """On PostgreSQL."""
