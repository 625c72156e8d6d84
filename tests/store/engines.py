"""What the store's tests run on: a fresh, migrated database of either engine for each test.

A test's body is written once, in a class that inherits `Body`; two classes join it with `OnSqlite` and `OnPostgres`.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Awaitable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import Accounts
from chatrix.store.database import open_database
from chatrix.store.migrate import migrate
from chatrix.store.postgres import PostgresDatabase
from chatrix.store.sqlite import SqliteDatabase
from chatrix.xmpp.sasl.keys import ScramKeys
from tests.postgres import Cluster, cluster

if TYPE_CHECKING:
    Mixin = TestCase
else:
    # Trial runs every TestCase it finds: a body is one only together with its engine.
    Mixin = object

JULIET = "juliet@example.com"
KEYS = (
    ScramKeys("sha-1", b"salt\0", 4096, b"stored-1", b"server-1"),
    ScramKeys("sha-256", b"\xff'salt", 10_000, b"stored-256", b"server-256"),
)

HOSTILE = (
    "'; DROP TABLE accounts; --",
    "' OR '1'='1",
    "\\'; DELETE FROM roster_items; --",
    '"); DROP TABLE accounts; --',
    "%s %(account)s %% ? :account $1 {0} _%",
    "' UNION SELECT stored_key FROM scram_keys --",
    "E'\\x27'",
    "\u02bc\uff07\U0001f4a9 $$ ; $tag$",
    "a\nb\r\n\tc\x7f\x01",
    "",
)
"""What would change a statement that was put together from text."""

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    HOSTILE
)


class Body(Mixin):
    """What a test's body may use."""

    database: IDatabase
    url: str
    timeout = 60

    def make_database(self) -> tuple[str, IDatabase]:
        """A fresh database with tables; its engine is not open."""
        raise NotImplementedError

    def setUp(self) -> Any:
        # Trial waits for what a coroutine does, although its annotations do not say so.
        return self.set_up()

    async def set_up(self) -> None:
        """Before each test; whoever needs more adds it to this."""
        self.url, self.database = self.make_database()
        await self.database.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.close()))

    async def create_juliet(self) -> None:
        """The account JULIET, who owns what the test stores."""
        await Accounts(self.database).create("juliet", "example.com", KEYS)


@lru_cache(maxsize=1)
def _migrated_file() -> str:
    folder = tempfile.mkdtemp(prefix="chatrix-sqlite-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "template.sqlite")
    migrate("sqlite:" + path, "")
    return path


class OnSqlite(Body):
    """One file per test, copied from one that was migrated."""

    def make_database(self, **options: Any) -> tuple[str, SqliteDatabase]:
        path = self.mktemp() + ".sqlite"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(_migrated_file(), path)
        return f"sqlite:{path}", SqliteDatabase(path, reactor, **options)


class OnPostgres(Body):
    """One database per test in the tests' own cluster, copied from one that was migrated."""

    cluster: Cluster

    def make_database(self, **options: Any) -> tuple[str, PostgresDatabase]:
        self.cluster = cluster()
        url = self.cluster.new_database()
        self.addCleanup(self.cluster.drop, url)
        return url, PostgresDatabase(url, reactor, **options)


async def together(coroutines: Iterable[Awaitable[Any]]) -> list[Any]:
    """Run them at once; what each returned, or the exception it raised."""
    started = [Deferred.fromCoroutine(_awaiting(each)) for each in coroutines]
    results = await DeferredList(started, consumeErrors=True)
    return [result if succeeded else result.value for succeeded, result in results]


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def another(url: str) -> IDatabase:
    """A second engine on the same database, open: another process, for all that the first can tell."""
    database = open_database(url, "", reactor)
    await database.open()
    return database
