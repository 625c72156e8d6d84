"""Shared roster groups, on both engines."""

from twisted.trial.unittest import TestCase

from chatrix.store.accounts import Accounts
from chatrix.store.shared_groups import GroupExists, NoSuchMember, SharedGroups
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite

HOST = "example.com"
ROMEO = "romeo@example.com"


class SharedGroupsBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.groups = SharedGroups(self.database)
        await self.create_juliet()
        await Accounts(self.database).create("romeo", HOST, ())

    async def test_members(self) -> None:
        """Accounts join and leave; the name of a group is one of its host alone."""
        await self.groups.add(HOST, "Lovers")
        await self.groups.add("example.net", "Lovers")
        self.assertTrue(await self.groups.join(HOST, "Lovers", ROMEO))
        self.assertTrue(await self.groups.join(HOST, "Lovers", JULIET))
        self.assertFalse(await self.groups.join(HOST, "Lovers", JULIET))
        self.assertEqual(await self.groups.all(), {(HOST, "Lovers"): [JULIET, ROMEO], ("example.net", "Lovers"): []})
        self.assertTrue(await self.groups.leave(HOST, "Lovers", ROMEO))
        self.assertFalse(await self.groups.leave(HOST, "Lovers", ROMEO))
        self.assertTrue(await self.groups.delete("example.net", "Lovers"))
        self.assertFalse(await self.groups.delete("example.net", "Lovers"))
        self.assertEqual(await self.groups.all(), {(HOST, "Lovers"): [JULIET]})

    async def test_refused(self) -> None:
        """No second group of a name, no member without account, none of a group that is not there."""
        await self.groups.add(HOST, "Lovers")
        with self.assertRaises(GroupExists):
            await self.groups.add(HOST, "Lovers")
        with self.assertRaises(NoSuchMember):
            await self.groups.join(HOST, "Lovers", "nobody@example.com")
        with self.assertRaises(NoSuchMember):
            await self.groups.join(HOST, "Haters", JULIET)
        self.assertEqual(await self.groups.all(), {(HOST, "Lovers"): []})

    async def test_gone(self) -> None:
        """With an account its memberships go, with a group those in it."""
        for name in ("Lovers", "Capulets"):
            await self.groups.add(HOST, name)
            await self.groups.join(HOST, name, JULIET)
        await self.groups.delete(HOST, "Capulets")
        await self.groups.add(HOST, "Capulets")
        self.assertEqual(await self.groups.all(), {(HOST, "Capulets"): [], (HOST, "Lovers"): [JULIET]})
        await Accounts(self.database).delete("juliet", HOST)
        self.assertEqual(await self.groups.all(), {(HOST, "Capulets"): [], (HOST, "Lovers"): []})

    async def test_hostile_text(self) -> None:
        """Text that would change a statement is only a name."""
        for text in HOSTILE:
            await self.groups.add(HOST, text)
            await self.groups.join(HOST, text, JULIET)
        self.assertEqual({name for _, name in await self.groups.all()}, set(HOSTILE))
        for text in HOSTILE:
            self.assertTrue(await self.groups.leave(HOST, text, JULIET))
            self.assertTrue(await self.groups.delete(HOST, text))


class SqliteSharedGroupsTests(SharedGroupsBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresSharedGroupsTests(SharedGroupsBody, OnPostgres, TestCase):
    """On PostgreSQL."""
