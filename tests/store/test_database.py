"""URLs: which engine they name, what of them may be shown."""

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.store.database import DatabaseError, DatabaseOutdated, open_database, redacted, sqlite_path
from chatrix.store.postgres import PostgresDatabase
from chatrix.store.sqlite import SqliteDatabase


class UrlTests(TestCase):
    def test_sqlite_path(self) -> None:
        """A relative file is in the folder of the state, however the URL is spelt; an absolute one is where it says."""
        for url, path in (
            ("sqlite:chatrix.sqlite", "/state/chatrix.sqlite"),
            ("sqlite:///chatrix.sqlite", "/state/chatrix.sqlite"),
            ("sqlite:/data/chatrix.sqlite", "/data/chatrix.sqlite"),
            ("sqlite:////data/chatrix.sqlite", "/data/chatrix.sqlite"),
            ("sqlite:a folder/ä%20b.sqlite", "/state/a folder/ä%20b.sqlite"),
            ("postgresql://localhost/x", None),
        ):
            self.assertEqual(sqlite_path(url, "/state"), path)

    def test_engines(self) -> None:
        """Each URL gets its engine; neither is opened yet."""
        self.assertIsInstance(open_database("sqlite:x", self.mktemp(), reactor), SqliteDatabase)
        for url in ("postgresql://chatrix@localhost/chatrix", "postgres:///chatrix"):
            self.assertIsInstance(open_database(url, "", reactor), PostgresDatabase)

    def test_refused(self) -> None:
        """What is no database's URL is refused, without showing a password in it."""
        for url in ("mysql://me:sesame@localhost/x", "sqlite:", "sqlite://", "", "chatrix.sqlite"):
            with self.assertRaises(DatabaseError) as caught:
                open_database(url, "", reactor)
            self.assertNotIn("sesame", str(caught.exception))

    def test_redacted(self) -> None:
        """A password is shown neither from before the host nor from the options."""
        shown = redacted("postgresql://me:sesame@db.example.com:5433/x?sslmode=require&password=sesame")
        self.assertEqual(shown, "postgresql://me@db.example.com:5433/x?sslmode=require&password=...")
        self.assertEqual(redacted("postgresql:///chatrix"), "postgresql:///chatrix")

    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="&"), min_size=6))
    def test_redacted_any_password(self, password: str) -> None:
        """No password is shown, whatever is in it."""
        self.assertEqual(redacted(f"postgresql://me:{password}@localhost/x"), "postgresql://me@localhost/x")

    async def test_not_migrated(self) -> None:
        """A file that does not exist is not made by opening it: a database without tables helps nobody."""
        state = self.mktemp()
        os.mkdir(state)
        database = open_database("sqlite:x", state, reactor)
        await self.assertFailure(Deferred.fromCoroutine(database.open()), DatabaseOutdated)
        self.assertEqual(os.listdir(state), [])
