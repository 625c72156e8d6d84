"""SQLite when things go wrong: full, locked, damaged, killed."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from chatrix.store.accounts import Accounts, keys_of
from chatrix.store.database import (
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnavailable,
    open_database,
)
from chatrix.store.migrate import migrate
from chatrix.store.offline import OfflineMessages
from chatrix.store.roster import RosterItem, Rosters
from chatrix.store.sqlite import SqliteDatabase
from tests.store.engines import JULIET, OnSqlite, together

STORE_UNTIL_KILLED = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from chatrix.store.database import open_database
from chatrix.store.offline import OfflineMessages
from chatrix.store.roster import RosterItem, Rosters

async def store(database, account):
    offline, rosters = OfflineMessages(database), Rosters(database)
    async def one(index):
        while True:
            stanza = b"%s %d %d" % (sys.argv[3].encode(), index, one.next)
            one.next += 1
            if await offline.append(account, stanza, 1, 10**9):
                print("stored", stanza.decode(), flush=True)
            jid = "%d@x" % one.next
            version = await rosters.save(RosterItem(account, jid))
            print("saved", jid, version, flush=True)
    one.next = 0
    await database.open()
    for index in range(20):
        Deferred.fromCoroutine(one(index))

Deferred.fromCoroutine(store(open_database(sys.argv[1], "", reactor), sys.argv[2]))
reactor.run()
"""


def make_small(connection: sqlite3.Connection) -> None:
    """As if the disk had room for little more than the empty tables."""
    connection.execute("PRAGMA max_page_count=40")


class FaultTests(OnSqlite, TestCase):
    async def set_up(self) -> None:
        await super().set_up()
        await self.create_juliet()
        self.path = self.url.removeprefix("sqlite:")

    def reopened(self, **options: Any) -> SqliteDatabase:
        """A second engine on the same file; it closes by itself."""
        database = SqliteDatabase(self.path, reactor, **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(database.close()))
        return database

    async def test_full(self) -> None:
        """With the disk full nothing is accepted and nothing lost; reading goes on, and later so does writing."""
        database = self.reopened(prepare=make_small)
        await database.open()
        offline, rosters = OfflineMessages(database), Rosters(database)
        results = await together(offline.append(JULIET, b"x" * 20_000, index, limit=1000) for index in range(20))
        accepted = [result for result in results if result is True]
        refused = [result for result in results if isinstance(result, DatabaseFull)]
        self.assertEqual(len(accepted) + len(refused), 20)
        self.assertTrue(accepted and refused)
        self.assertEqual(await offline.count(JULIET), len(accepted))
        large = [RosterItem(JULIET, f"{index}@example.net", "x" * 50_000) for index in range(3)]
        results = await together(rosters.save(item) for item in large)
        self.assertIsInstance(results[-1], DatabaseFull)
        saved = [result for result in results if isinstance(result, int)]
        roster = await rosters.load(JULIET)
        self.assertEqual((roster.version, len(roster.items)), (len(saved), len(saved)))
        # Room again, without the server noticing anything but that it can write.
        await database._writer.do(lambda connection: connection.execute("PRAGMA max_page_count=4000"))  # type: ignore[union-attr]
        self.assertTrue(await offline.append(JULIET, b"x" * 20_000, 21, limit=1000))
        self.assertEqual(await rosters.save(large[0]), len(saved) + 1)

    async def test_full_disk(self) -> None:
        """The same on a real disk that is full, until something else on it is removed."""
        disk = os.path.abspath(self.mktemp())
        os.mkdir(disk)
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
        ).returncode:
            raise SkipTest("A FULL DISK IS NOT TESTED: it takes root, and the right to mount a small one")
        self.addCleanup(subprocess.run, ["umount", "--lazy", disk], check=True)
        ballast = os.path.join(disk, "ballast")
        migrate("sqlite:x", disk)
        database = open_database("sqlite:x", disk, reactor)
        await database.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.close()))
        await Accounts(database).create("juliet", "example.com", ())
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        offline = OfflineMessages(database)
        results = await together(offline.append(JULIET, b"x" * 20_000, index, limit=1000) for index in range(50))
        accepted = [result for result in results if result is True]
        refused = [result for result in results if isinstance(result, DatabaseFull)]
        self.assertEqual(len(accepted) + len(refused), 50)
        self.assertTrue(refused)
        self.assertEqual(await offline.count(JULIET), len(accepted))
        self.assertTrue(await Accounts(database).exists("juliet", "example.com"))
        os.remove(ballast)
        self.assertTrue(await offline.append(JULIET, b"y", 51, limit=1000))
        self.assertEqual(await offline.count(JULIET), len(accepted) + 1)

    async def test_locked(self) -> None:
        """While another program holds the file, writing fails in bounded time and reading goes on; then all is well."""
        database = self.reopened(patience=0.05)
        await database.open()
        accounts, rosters = Accounts(database), Rosters(database)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with self.assertRaises(DatabaseLocked) as caught:
                await rosters.save(RosterItem(JULIET, "romeo@example.net"))
            self.assertIn("locked by another program", str(caught.exception))
            with self.assertRaises(DatabaseUnavailable):
                await OfflineMessages(database).append(JULIET, b"x", 1)
            self.assertTrue(await accounts.exists("juliet", "example.com"))
        self.assertEqual(await rosters.save(RosterItem(JULIET, "romeo@example.net")), 1)
        self.assertTrue(await OfflineMessages(database).append(JULIET, b"x", 1))

    async def test_waits_for_a_short_lock(self) -> None:
        """Another program's short transaction only delays ours."""
        with closing(sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            saving = Deferred.fromCoroutine(Rosters(self.database).save(RosterItem(JULIET, "romeo@example.net")))
            reading = await Accounts(self.database).exists("juliet", "example.com")
            await deferToThread(other.execute, "COMMIT")
            self.assertEqual((reading, await saving), (True, 1))

    async def test_too_many_wait(self) -> None:
        """Behind a writer that hangs only so many may wait; the rest are refused at once."""
        database = self.reopened(waiting=3)
        await database.open()
        rosters = Rosters(database)
        async with database.transaction():
            items = [RosterItem(JULIET, f"{index}@example.net") for index in range(5)]
            saving = [Deferred.fromCoroutine(rosters.save(item)) for item in items]
            for each in saving[3:]:
                self.failureResultOf(each, DatabaseUnavailable)
        self.assertEqual(await together(saving[:3]), [1, 2, 3])

    async def test_waits_too_long(self) -> None:
        """Whoever waits too long for its turn is told so; asking inside one's own transaction ends like this, too."""
        database = self.reopened(patience=0.05)
        await database.open()
        async with database.transaction():
            with self.assertRaises(DatabaseUnavailable):
                await Rosters(database).save(RosterItem(JULIET, "romeo@example.net"))

    async def test_damaged(self) -> None:
        """A damaged file is called so, by reading and by writing."""
        await self.database.close()
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (os.path.getsize(self.path) - 4096))
        database = self.reopened()
        with self.assertRaises(DatabaseCorrupt):
            await database.open()

    async def test_read_only(self) -> None:
        """Where nothing may be written, writing says so and reading goes on."""

        def refuse_writing(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA query_only=ON")

        database = self.reopened(prepare=refuse_writing)
        await database.open()
        with self.assertRaises(DatabaseReadOnly):
            await Rosters(database).save(RosterItem(JULIET, "romeo@example.net"))
        self.assertTrue(await Accounts(database).exists("juliet", "example.com"))

    async def test_private(self) -> None:
        """All of SQLite's files are their owner's alone, also when the database was not made so."""
        await self.database.close()
        os.chmod(self.path, 0o644)
        database = self.reopened()
        await database.open()
        await Rosters(database).save(RosterItem(JULIET, "romeo@example.net"))
        for suffix in ("", "-wal", "-shm"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path + suffix).st_mode), 0o600)

    async def test_reading_cannot_write(self) -> None:
        """The connection that reads on the reactor's thread cannot change anything, whatever a statement says."""
        await self.database.fetch(keys_of, account=JULIET, hash="sha-1")
        reader = self.database._reader  # type: ignore[attr-defined]
        with self.assertRaises(sqlite3.OperationalError):
            reader.execute("DELETE FROM accounts")

    async def test_killed(self) -> None:
        """A server killed at any moment has everything it said was stored, and opens again."""
        await self.database.close()
        for lines in (1, 7, 60, 200):
            stored, saved = await deferToThread(self.kill_after, lines)
            database = self.reopened()
            await database.open()
            found = {each.stanza.decode() for each in await OfflineMessages(database).take(JULIET, limit=10**6)}
            roster = await Rosters(database).load(JULIET)
            items = {item.jid: item.changed for item in roster.items}
            self.assertEqual(stored - found, set())
            self.assertEqual({jid for jid, version in saved.items() if items.get(jid, 0) < version}, set())
            # Half of a change would be a version without its item, or an item beyond the version.
            self.assertEqual(max(items.values(), default=0), roster.version)
            with closing(sqlite3.connect(self.path)) as connection:
                self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            await database.close()

    def kill_after(self, lines: int) -> tuple[set[str], dict[str, int]]:
        """Run a server until it has said so many lines, then kill it; what it said to have stored, and saved."""
        command = [sys.executable, "-c", STORE_UNTIL_KILLED, self.url, JULIET, str(lines)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(lines)]
            process.kill()
            said += process.stdout.readlines()
        words = [line.split() for line in said if line.endswith("\n")]
        stored = {" ".join(each[1:]) for each in words if each[0] == "stored"}
        return stored, {each[1]: int(each[2]) for each in words if each[0] == "saved"}


class ErrorTests(TestCase):
    async def test_folder_that_cannot_be_made(self) -> None:
        """A folder that is a file is a clear error."""
        path = self.mktemp()
        with open(path, "w"):
            pass
        with self.assertRaises(DatabaseError) as caught:
            migrate(f"sqlite:{os.path.abspath(path)}/x", "")
        self.assertIn(path, str(caught.exception))

    def test_read_only_is_unavailable(self) -> None:
        """Whoever plans for a database that is not available need not know why."""
        for kind in (DatabaseFull, DatabaseLocked, DatabaseReadOnly):
            self.assertTrue(issubclass(kind, DatabaseUnavailable))
