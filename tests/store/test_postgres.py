"""PostgreSQL when things go wrong: killed, restarted, unreachable, locked, full."""

import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from chatrix.store.accounts import Accounts, touch_account
from chatrix.store.database import (
    DatabaseFull,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnavailable,
    open_database,
)
from chatrix.store.offline import OfflineMessages
from chatrix.store.postgres import PostgresDatabase
from chatrix.store.roster import RosterItem, Rosters
from tests.store.engines import JULIET, OnPostgres, together

ROMEO = RosterItem(JULIET, "romeo@example.net")

FAIL_LIKE = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'as PostgreSQL says it' USING ERRCODE = TG_ARGV[0], DETAIL = 'a stored secret';
END $$
"""


class Load:
    """Clients that store without pause, each remembering what it was told."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.offline = OfflineMessages(database)
        self.rosters = Rosters(database)
        self.stored: set[bytes] = set()
        self.saved: dict[str, int] = {}
        self.failed: list[BaseException] = []
        self.stopped = False
        self._progress: list[tuple[int, Deferred[None]]] = []

    async def client(self, number: int) -> None:
        """One client, until the load is stopped."""
        count = 0
        while not self.stopped:
            count += 1
            name = f"{number}.{count}"
            try:
                if await self.offline.append(JULIET, name.encode(), 1, limit=10**9):
                    self.stored.add(name.encode())
                self.saved[name] = await self.rosters.save(RosterItem(JULIET, name))
            except DatabaseUnavailable as error:
                self.failed.append(error)
            self._tell()

    def successes(self, more: int) -> "Deferred[None]":
        """When so many more have succeeded."""
        waiting: Deferred[None] = Deferred()
        self._progress.append((len(self.saved) + more, waiting))
        return waiting

    def _tell(self) -> None:
        due = [each for each in self._progress if each[0] <= len(self.saved)]
        self._progress = [each for each in self._progress if each[0] > len(self.saved)]
        for _, waiting in due:
            waiting.callback(None)


class FaultTests(OnPostgres, TestCase):
    database: PostgresDatabase

    async def set_up(self) -> None:
        await super().set_up()
        await self.create_juliet()

    def engine(self, **options: Any) -> PostgresDatabase:
        """A second engine on the same database; it closes by itself."""
        database = PostgresDatabase(self.url, reactor, **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(database.close()))
        return database

    async def settled(self, database: PostgresDatabase, number: int = 4) -> None:
        """When all connections of the pool are there: each is taken once, all at the same time."""
        async with AsyncExitStack() as stack:
            for _ in range(number):
                await stack.enter_async_context(database.transaction())

    async def under_load(self, disturb: Callable[[Load], Any]) -> Load:
        """Disturb a database that is in full use, and see that it kept every promise and works again."""
        load = Load(self.database)
        clients = [Deferred.fromCoroutine(load.client(number)) for number in range(20)]
        await load.successes(50)
        await disturb(load)
        await load.successes(50)
        load.stopped = True
        self.assertEqual(await together(clients), [None] * 20)
        messages = await load.offline.take(JULIET, limit=10**6)
        self.assertEqual(load.stored - {message.stanza for message in messages}, set())
        roster = await load.rosters.load(JULIET)
        items = {item.jid: item.changed for item in roster.items}
        self.assertEqual({n: v for n, v in load.saved.items() if items.get(n) != v}, {})
        # Half of a change would be a version without its item.
        self.assertEqual(sorted(items.values()), list(range(1, roster.version + 1)))
        return load

    async def test_idle_connections_killed(self) -> None:
        """Connections that are ended while nobody uses them are replaced, and nobody notices."""
        await self.settled(self.database)
        self.assertEqual(self.cluster.kill_backends(self.url), 4)
        self.assertEqual(await together(self.database_verbs()), [True, 1])
        await self.settled(self.database)

    def database_verbs(self) -> list[Any]:
        """A read and a write."""
        return [Accounts(self.database).exists("juliet", "example.com"), Rosters(self.database).save(ROMEO)]

    async def test_killed_in_a_transaction(self) -> None:
        """A transaction whose connection is ended fails as unavailable, and has done nothing."""
        with self.assertRaises(DatabaseUnavailable):
            async with self.database.transaction() as transaction:
                rosters = Rosters(transaction)  # type: ignore[arg-type]
                self.assertIsNone(await rosters.item(JULIET, ROMEO.jid))
                self.cluster.kill_backends(self.url)
                await rosters.item(JULIET, ROMEO.jid)
        self.assertEqual((await Rosters(self.database).load(JULIET)).version, 0)
        self.assertEqual(await Rosters(self.database).save(ROMEO), 1)

    async def test_killed_under_load(self) -> None:
        """Whoever was told that something is stored finds it, however often all connections are ended."""

        async def kill(load: Load) -> None:
            for _ in range(4):
                self.cluster.kill_backends(self.url)
                await load.successes(20)

        await self.under_load(kill)

    async def test_restarted_under_load(self) -> None:
        """A server that restarts, or crashes, loses nothing that was acknowledged; service goes on by itself."""

        async def restart(load: Load) -> None:
            for immediate in (False, True):
                await deferToThread(self.cluster.stop, immediate=immediate)
                # Here, not in a thread: the server ends with the thread that started it.
                self.cluster.start()
                await load.successes(20)

        await self.under_load(restart)

    async def test_requests_wait_for_the_server(self) -> None:
        """What is asked while the server is away is answered when it is back."""
        await self.settled(self.database)
        await deferToThread(self.cluster.stop)
        try:
            asked = [Deferred.fromCoroutine(each) for each in self.database_verbs()]
            # The reactor turns until the pool knows that all its connections are gone.
            while self.database._turns.free:
                await deferToThread(int)
            for each in asked:
                self.assertNoResult(each)
        finally:
            self.cluster.start()
        self.assertEqual(await together(asked), [True, 1])

    async def test_server_stays_away(self) -> None:
        """Whoever waits too long, or is one too many, gets a clear error; when the server is back all is well."""
        database = self.engine(patience=0.2, waiting=3)
        await database.open()
        await deferToThread(self.cluster.stop)
        try:
            results = await together(Accounts(database).exists("juliet", "example.com") for _ in range(10))
            self.assertEqual({type(each) for each in results}, {DatabaseUnavailable})
            self.assertTrue(any("wait already" in str(each) for each in results))
            self.assertTrue(any("0.2 s" in str(each) for each in results))
            with self.assertRaises(DatabaseUnavailable):
                await OfflineMessages(database).append(JULIET, b"x", 1)
            await self.assertFailure(Deferred.fromCoroutine(self.engine().open()), DatabaseUnavailable)
        finally:
            self.cluster.start()
        while True:
            try:
                self.assertTrue(await Accounts(database).exists("juliet", "example.com"))
                break
            except DatabaseUnavailable:
                pass
        self.assertEqual(await OfflineMessages(database).count(JULIET), 0)

    async def test_close_while_away(self) -> None:
        """A server that is away does not keep us from closing, attempts to connect and all."""
        database = self.engine()
        await database.open()
        await deferToThread(self.cluster.stop)
        try:
            asked = Deferred.fromCoroutine(Accounts(database).exists("juliet", "example.com"))
            while database._turns.free:
                await deferToThread(int)
            await database.close()
            await self.assertFailure(asked, DatabaseUnavailable)
        finally:
            self.cluster.start()

    async def test_locked(self) -> None:
        """A row that somebody else holds is waited for in bounded time; nothing is written, and later all is well."""
        database = self.engine(patience=0.1)
        await database.open()
        async with self.database.transaction() as transaction:
            await transaction.execute(touch_account, of_account=JULIET)
            with self.assertRaises(DatabaseLocked):
                await Rosters(database).save(ROMEO)
        self.assertEqual(await Rosters(database).save(ROMEO), 1)

    async def test_full_and_others(self) -> None:
        """A full disk and a server that may not write are told apart; the server's details stay out of the message."""
        self.sql(FAIL_LIKE)
        for code, kind in (("53100", DatabaseFull), ("25006", DatabaseReadOnly), ("53300", DatabaseUnavailable)):
            self.sql(f"CREATE TRIGGER fail BEFORE INSERT ON roster_items EXECUTE FUNCTION fail('{code}')")
            self.sql(f"CREATE TRIGGER fail BEFORE INSERT ON offline_messages EXECUTE FUNCTION fail('{code}')")
            with self.assertRaises(kind) as caught:
                await Rosters(self.database).save(ROMEO)
            self.assertIn("as PostgreSQL says it", str(caught.exception))
            self.assertNotIn("secret", str(caught.exception))
            results = await together(OfflineMessages(self.database).append(JULIET, b"x", 1) for _ in range(3))
            self.assertEqual([type(each) for each in results], [kind] * 3)
            self.sql("DROP TRIGGER fail ON roster_items")
            self.sql("DROP TRIGGER fail ON offline_messages")
            self.assertEqual((await Rosters(self.database).load(JULIET)).version, 0)
        self.assertEqual(await Rosters(self.database).save(ROMEO), 1)
        self.assertTrue(await OfflineMessages(self.database).append(JULIET, b"x", 1))

    def sql(self, text: str) -> None:
        """Change the database as its owner."""
        self.cluster.sql(text, self.url.partition("?")[0].rpartition("/")[2])

    async def test_password(self) -> None:
        """A password is in no message and in no log, neither from the URL nor from libpq's own file."""
        logged: list[str] = []

        @implementer(ILogObserver)
        def remember(event: LogEvent) -> None:
            logged.append(repr(event))

        globalLogPublisher.addObserver(remember)
        self.addCleanup(globalLogPublisher.removeObserver, remember)
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        port = listening.getsockname()[1]
        listening.close()
        file = Path(self.mktemp()).absolute()
        file.write_text("*:*:*:*:sesame\n")
        file.chmod(0o600)
        self.patch(os, "environ", os.environ | {"PGPASSFILE": str(file)})
        for user in ("me:sesame", "me"):
            database = open_database(f"postgresql://{user}@127.0.0.1:{port}/x", "", reactor)
            with self.assertRaises(DatabaseUnavailable) as caught:
                await database.open()
            self.assertNotIn("sesame", str(caught.exception) + repr(caught.exception) + repr(database))
            await database.close()
        self.assertNotIn("sesame", "".join(logged))
