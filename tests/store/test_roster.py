"""Rosters, their versions and subscription requests, on both engines."""

from dataclasses import replace

from twisted.trial.unittest import TestCase

from chatrix.store import roster
from chatrix.store.accounts import NoSuchAccount
from chatrix.store.roster import RosterItem, Rosters, SubscriptionRequest
from tests.store.engines import HOSTILE, JULIET, Body, OnPostgres, OnSqlite, another, together

ROMEO = RosterItem(JULIET, "romeo@example.net", "Romeo", "both", False, True, ("Friends", "Lovers"))
NURSE = RosterItem(JULIET, "nurse@example.com", ask=True)


class RostersBody(Body):
    async def set_up(self) -> None:
        await super().set_up()
        self.rosters = Rosters(self.database)
        await self.create_juliet()

    async def test_empty(self) -> None:
        """A new account's roster is empty and has version 0."""
        self.assertEqual(await self.rosters.load(JULIET), roster.Roster(0, (), ()))

    async def test_save(self) -> None:
        """Items come back with all their fields, and with the version that each change made."""
        self.assertEqual(await self.rosters.save(ROMEO), 1)
        self.assertEqual(await self.rosters.save(NURSE), 2)
        loaded = await self.rosters.load(JULIET)
        self.assertEqual(loaded.version, 2)
        self.assertEqual(set(loaded.items), {replace(ROMEO, changed=1), replace(NURSE, changed=2)})
        self.assertEqual(await self.rosters.item(JULIET, ROMEO.jid), replace(ROMEO, changed=1))
        self.assertIsNone(await self.rosters.item(JULIET, "paris@example.com"))

    async def test_replace(self) -> None:
        """Saving a contact again replaces all of it."""
        await self.rosters.save(ROMEO)
        changed = replace(ROMEO, name="", subscription="none", approved=False, groups=())
        self.assertEqual(await self.rosters.save(changed), 2)
        self.assertEqual((await self.rosters.load(JULIET)).items, (replace(changed, changed=2),))

    async def test_remove(self) -> None:
        """A removed contact is gone; removing what is not there changes no version."""
        await self.rosters.save(ROMEO)
        self.assertEqual(await self.rosters.remove(JULIET, ROMEO.jid), 2)
        self.assertIsNone(await self.rosters.remove(JULIET, ROMEO.jid))
        self.assertIsNone(await self.rosters.remove(JULIET, "paris@example.com"))
        self.assertEqual(await self.rosters.load(JULIET), roster.Roster(2, (), ()))
        self.assertIsNone(await self.rosters.item(JULIET, ROMEO.jid))
        self.assertEqual(await self.rosters.save(ROMEO), 3)
        self.assertEqual((await self.rosters.load(JULIET)).items, (replace(ROMEO, changed=3),))

    async def test_changes(self) -> None:
        """Who knows a version is told what has changed since, what was removed included, in order."""
        await self.rosters.save(ROMEO)
        await self.rosters.save(NURSE)
        await self.rosters.remove(JULIET, ROMEO.jid)
        gone = RosterItem(JULIET, ROMEO.jid, subscription="remove", changed=3)
        self.assertEqual(await self.rosters.changes(JULIET, 0), [replace(NURSE, changed=2), gone])
        self.assertEqual(await self.rosters.changes(JULIET, 2), [gone])
        self.assertEqual(await self.rosters.changes(JULIET, 3), [])

    async def test_changes_forgotten(self) -> None:
        """Of a version that is too old, or that never was, nobody knows the changes: the whole roster must be sent."""
        self.patch(roster, "KEPT_CHANGES", 3)
        await self.rosters.save(ROMEO)
        await self.rosters.remove(JULIET, ROMEO.jid)
        for _ in range(3):
            await self.rosters.save(NURSE)
        self.assertIsNone(await self.rosters.changes(JULIET, 1))
        self.assertEqual([item.jid for item in await self.rosters.changes(JULIET, 2) or ()], [NURSE.jid])
        self.assertIsNone(await self.rosters.changes(JULIET, 6))
        self.assertIsNone(await self.rosters.changes("nobody@example.com", 0))
        await self.rosters.remove(JULIET, NURSE.jid)
        self.assertEqual([item.jid for item in await self.rosters.changes(JULIET, 3) or ()], [NURSE.jid])

    async def test_changes_at_once(self) -> None:
        """Every change has a version of its own, whichever process makes it."""
        other = await another(self.url)
        try:
            saved = [self.rosters.save(replace(ROMEO, jid=f"a{index}@example.net")) for index in range(10)]
            saved += [Rosters(other).save(replace(ROMEO, jid=f"b{index}@example.net")) for index in range(10)]
            versions = await together(saved)
        finally:
            await other.close()
        self.assertEqual(sorted(versions), list(range(1, 21)))
        loaded = await self.rosters.load(JULIET)
        self.assertEqual(loaded.version, 20)
        self.assertEqual(sorted(item.changed for item in loaded.items), list(range(1, 21)))

    async def test_no_such_account(self) -> None:
        """Nothing is stored for who does not exist."""
        with self.assertRaises(NoSuchAccount):
            await self.rosters.load("nobody@example.com")
        with self.assertRaises(NoSuchAccount):
            await self.rosters.save(replace(ROMEO, account="nobody@example.com"))
        with self.assertRaises(NoSuchAccount):
            await self.rosters.remove("nobody@example.com", ROMEO.jid)
        request = SubscriptionRequest("nobody@example.com", ROMEO.jid, b"<presence/>")
        self.assertFalse(await self.rosters.save_request(request))

    async def test_requests(self) -> None:
        """A request is kept whole, the last of each contact, without an item and without a new version."""
        stanza = b"<presence type='subscribe'><status>it's \xc3\xa4 me</status></presence>"
        for text in (b"<presence/>", stanza):
            self.assertTrue(await self.rosters.save_request(SubscriptionRequest(JULIET, ROMEO.jid, text)))
        expected = SubscriptionRequest(JULIET, ROMEO.jid, stanza)
        self.assertEqual(await self.rosters.load(JULIET), roster.Roster(0, (), (expected,)))
        self.assertTrue(await self.rosters.drop_request(JULIET, ROMEO.jid))
        self.assertFalse(await self.rosters.drop_request(JULIET, ROMEO.jid))
        self.assertEqual((await self.rosters.load(JULIET)).requests, ())

    async def test_requests_are_bounded(self) -> None:
        """Strangers cannot fill the disk with requests; who asked already may ask again."""
        requests = [SubscriptionRequest(JULIET, f"stranger{index}@example.net", b"<presence/>") for index in range(4)]
        accepted = [await self.rosters.save_request(request, limit=3) for request in requests]
        self.assertEqual(accepted, [True, True, True, False])
        self.assertTrue(await self.rosters.save_request(replace(requests[2], stanza=b"<presence id='2'/>"), limit=3))
        self.assertEqual(len((await self.rosters.load(JULIET)).requests), 3)

    async def test_hostile_text(self) -> None:
        """Text that would change a statement is only text, in every field of every verb."""
        items = [
            RosterItem(JULIET, text, text, text, True, False, (text, text + '"'), index)
            for index, text in enumerate(HOSTILE, start=1)
        ]
        for item in items:
            await self.rosters.save(item)
            await self.rosters.save_request(SubscriptionRequest(JULIET, item.jid, item.name.encode()))
            with self.assertRaises(NoSuchAccount):
                await self.rosters.load(item.jid)
        loaded = await self.rosters.load(JULIET)
        self.assertEqual(sorted(loaded.items, key=lambda item: item.changed), items)
        self.assertEqual(
            {(each.jid, each.stanza) for each in loaded.requests}, {(i.jid, i.jid.encode()) for i in items}
        )
        for item in items:
            self.assertEqual(await self.rosters.item(JULIET, item.jid), item)
            self.assertTrue(await self.rosters.drop_request(JULIET, item.jid))
            self.assertIsNotNone(await self.rosters.remove(JULIET, item.jid))


class SqliteRostersTests(RostersBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresRostersTests(RostersBody, OnPostgres, TestCase):
    """On PostgreSQL."""
