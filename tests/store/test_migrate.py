"""Migrations: from nothing to this version on both engines, at once or not at all."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.store import (
    accounts,
    announcements,
    blocking,
    last_activity,
    log_ins,
    offline,
    private_xml,
    roster,
    shared_groups,
    tiers,
    vcards,
)
from chatrix.store.database import DatabaseConflict, DatabaseError, DatabaseOutdated, DatabaseTooNew, open_database
from chatrix.store.libpq import connected
from chatrix.store.migrate import migrate
from chatrix.store.revisions import MIGRATIONS, check_revision, known_revisions
from chatrix.store.statements import SERVER
from tests.postgres import cluster

if TYPE_CHECKING:
    Mixin = TestCase
else:
    Mixin = object

STORES = (
    accounts, announcements, blocking, last_activity, log_ins, offline, private_xml, roster, shared_groups, tiers,
    vcards,
)  # fmt: skip
"""Imported, so that their tables are declared."""

CONFLICT = """
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{after}"


def upgrade() -> None:
    op.create_table("half_done", sa.Column("a", sa.Text, primary_key=True))
    op.execute("INSERT INTO half_done VALUES ('x')")
    op.execute("INSERT INTO half_done VALUES ('x')")
"""


class Migrations(Mixin):
    def empty(self) -> str:
        """The URL of a database without tables."""
        raise NotImplementedError

    def engine(self, url: str) -> sqlalchemy.Engine:
        """SQLAlchemy's own view of it."""
        raise NotImplementedError

    def tables(self, url: str) -> set[str]:
        """What tables there are."""
        engine = self.engine(url)
        try:
            return set(sqlalchemy.inspect(engine).get_table_names())
        finally:
            engine.dispose()

    def execute(self, url: str, text: str) -> None:
        """Change it behind our back."""
        engine = self.engine(url)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(text)
        finally:
            engine.dispose()

    def test_tables_are_as_declared(self) -> None:
        """The revisions together make exactly the tables, columns and keys that the stores declare."""
        url = self.empty()
        self.assertTrue(migrate(url, ""))
        engine = self.engine(url)
        try:
            with engine.connect() as connection:
                context = MigrationContext.configure(connection, opts={"compare_type": True})
                self.assertEqual(compare_metadata(context, SERVER.metadata()), [])
        finally:
            engine.dispose()

    def test_again(self) -> None:
        """The second time there is nothing to do."""
        url = self.empty()
        self.assertTrue(migrate(url, ""))
        self.assertFalse(migrate(url, ""))

    async def test_open_refuses_what_is_not_migrated(self) -> None:
        """A database without tables is refused when it is opened, and accepted once it is migrated."""
        url = self.empty()
        migrate(url, "")
        self.execute(url, "DELETE FROM alembic_version")
        database = open_database(url, "", reactor)
        await self.assertFailure(Deferred.fromCoroutine(database.open()), DatabaseOutdated)
        self.execute(url, f"INSERT INTO alembic_version VALUES ('{known_revisions()[-1]}')")
        await database.open()
        await database.close()

    async def test_too_new(self) -> None:
        """A database of a newer chatrix is refused, by opening and by migrating, and is not changed."""
        url = self.empty()
        migrate(url, "")
        self.execute(url, "UPDATE alembic_version SET version_num = '9999'")
        with self.assertRaises(DatabaseTooNew) as caught:
            migrate(url, "")
        self.assertIn("newer", str(caught.exception))
        database = open_database(url, "", reactor)
        await self.assertFailure(Deferred.fromCoroutine(database.open()), DatabaseTooNew)

    def test_all_or_nothing(self) -> None:
        """A revision that fails leaves no trace, and the database works as before."""
        url = self.empty()
        migrate(url, "")
        before = self.tables(url)
        newer = Path(self.mktemp())
        shutil.copytree(MIGRATIONS, newer)
        (newer / "versions" / "9000_conflict.py").write_text(CONFLICT.format(after=known_revisions()[-1]))
        with self.assertRaises(DatabaseConflict):
            migrate(url, "", newer)
        self.assertEqual(self.tables(url), before)
        self.assertFalse(migrate(url, ""))

    def test_at_once(self) -> None:
        """Of several processes that start at once one migrates; the others find it done."""
        url = self.empty()
        program = "import sys; from chatrix.store.migrate import migrate; migrate(sys.argv[1], '')"
        started = [
            subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, cwd=os.getcwd(), env=PATH)
            for _ in range(3)
        ]
        for process in started:
            _, errors = process.communicate()
            self.assertEqual((process.returncode, errors.decode()), (0, ""))
        self.assertFalse(migrate(url, ""))


PATH = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class SqliteMigrationTests(Migrations, TestCase):
    """On SQLite."""

    def empty(self) -> str:
        return f"sqlite:{os.path.abspath(self.mktemp())}"

    def engine(self, url: str) -> sqlalchemy.Engine:
        return sqlalchemy.create_engine("sqlite:///" + url.removeprefix("sqlite:"))

    def test_file_mode(self) -> None:
        """The file is its owner's alone, and so are those that SQLite puts beside it; a new folder is, too."""
        folder = Path(self.mktemp())
        previous = os.umask(0)
        try:
            migrate("sqlite:var/x.sqlite", str(folder))
        finally:
            os.umask(previous)
        path = folder / "var" / "x.sqlite"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(path.parent.stat().st_mode & 0o777, 0o700)

    def test_no_database(self) -> None:
        """A file that is something else is refused with a clear error, and kept as it is."""
        path = Path(self.mktemp())
        path.write_text("This is a letter, not a database. " * 40)
        with self.assertRaises(DatabaseError) as caught:
            migrate(f"sqlite:{path.absolute()}", "")
        self.assertIn("not an SQLite database", str(caught.exception))
        self.assertIn("This is a letter", path.read_text())

    def test_foreign_keys_are_checked(self) -> None:
        """Rows that would refer to nothing after a migration stop it."""
        url = self.empty()
        migrate(url, "")
        with closing(sqlite3.connect(url.removeprefix("sqlite:"))) as connection:
            connection.execute("INSERT INTO offline_messages VALUES ('nobody', 1, 1, x'00')")
            connection.execute("DELETE FROM alembic_version")
            for table in ("accounts", "scram_keys", "roster_items", "subscription_requests"):
                connection.execute(f"DROP TABLE {table}")
            connection.execute("ALTER TABLE offline_messages RENAME TO other")
            connection.commit()
        before = self.tables(url)
        with self.assertRaises(DatabaseError):
            migrate(url, "")
        self.assertEqual(self.tables(url), before)


class PostgresMigrationTests(Migrations, TestCase):
    """On PostgreSQL."""

    def empty(self) -> str:
        url = cluster().empty_database()
        self.addCleanup(cluster().drop, url)
        return url

    def engine(self, url: str) -> sqlalchemy.Engine:
        return sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))

    def test_unreachable(self) -> None:
        """A server that is not there is a clear error, which shows no password."""
        with self.assertRaises(DatabaseError) as caught:
            migrate("postgresql://me:sesame@localhost:1/x", "")
        self.assertNotIn("sesame", str(caught.exception))
        self.assertIn("me@localhost", str(caught.exception))

    def test_error_inside(self) -> None:
        """What psycopg2 raises inside `connected` is translated as well."""
        with self.assertRaises(DatabaseError), connected(self.empty()) as connection:
            self.fail_in(connection)

    def fail_in(self, connection: Any) -> None:
        """Ask for a table that is not there."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")


class RevisionTests(TestCase):
    def test_as_alembic_sees_them(self) -> None:
        """The numbers in the files' names are the revisions, one after the other, as Alembic knows them."""
        script = ScriptDirectory(str(MIGRATIONS))
        walked = [revision.revision for revision in script.walk_revisions()]
        self.assertEqual(tuple(reversed(walked)), known_revisions())
        self.assertEqual(script.get_heads(), [known_revisions()[-1]])

    def test_check(self) -> None:
        """Older is outdated, unknown is too new, ours is right."""
        check_revision("x", known_revisions()[-1])
        self.assertRaises(DatabaseOutdated, check_revision, "x", None)
        self.assertRaises(DatabaseTooNew, check_revision, "x", "9999")
