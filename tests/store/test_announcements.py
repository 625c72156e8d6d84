"""Announcements, on both engines."""

from twisted.trial.unittest import TestCase

from chatrix.store.announcements import MOTD, WELCOME, Announcement, Announcements
from tests.store.engines import HOSTILE, Body, OnPostgres, OnSqlite


class AnnouncementsBody(Body):
    async def test_one_of_each(self) -> None:
        """A host has one text of each kind; the next takes its place, other hosts keep theirs."""
        store = Announcements(self.database)
        elsewhere = Announcement("example.net", MOTD, 9, "there")
        for announcement in (
            Announcement("example.com", MOTD, 1, "one"),
            Announcement("example.com", WELCOME, 2, "welcome"),
            elsewhere,
            Announcement("example.com", MOTD, 3, "two"),
        ):
            await store.save(announcement)
        found = {(each.host, each.kind): (each.id, each.text) for each in await store.all()}
        self.assertEqual(
            found,
            {
                ("example.com", MOTD): (3, "two"),
                ("example.com", WELCOME): (2, "welcome"),
                ("example.net", MOTD): (9, "there"),
            },
        )
        self.assertTrue(await store.delete("example.com", MOTD))
        self.assertFalse(await store.delete("example.com", MOTD))
        self.assertTrue(await store.delete("example.com", WELCOME))
        self.assertEqual(await store.all(), [elsewhere])

    async def test_hostile_text(self) -> None:
        """Text that would change a statement is only text."""
        store = Announcements(self.database)
        for index, text in enumerate(HOSTILE):
            await store.save(Announcement(text, text, index, text))
        self.assertEqual({each.text for each in await store.all()}, set(HOSTILE))
        for text in HOSTILE:
            self.assertTrue(await store.delete(text, text))


class SqliteAnnouncementsTests(AnnouncementsBody, OnSqlite, TestCase):
    """On SQLite."""


class PostgresAnnouncementsTests(AnnouncementsBody, OnPostgres, TestCase):
    """On PostgreSQL."""
