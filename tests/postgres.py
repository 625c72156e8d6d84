"""A PostgreSQL cluster of the tests' own: Debian's programs, a temporary folder, a UNIX socket, nothing else.

One cluster per test process, started by the first test that asks and stopped at exit; one database per test, copied
from a template that has been migrated once.
"""

import atexit
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import SkipTest

import psycopg2
from psycopg2.sql import SQL, Composable, Identifier, Literal

from chatrix.store.migrate import migrate

TEMPLATE = "chatrix_template"


def programs() -> Path | None:
    """The folder of the newest PostgreSQL that Debian has installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    return found[-1].parent if found else None


def name_in(url: str) -> str:
    """The database's name in one of our URLs."""
    return url.partition("?")[0].rpartition("/")[2]


class Cluster:
    """One running server."""

    def __init__(self, bin: Path, *, fsync: bool = False) -> None:  # noqa: A002 # what the folder is called
        self._bin = bin
        self._fsync = fsync
        # Short, because a UNIX socket's path may have 107 octets; not below the tests' folder, which root may own.
        self._folder = Path(tempfile.mkdtemp(prefix="chatrix-pg-"))
        self._server: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        # The server refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        options = ["--auth=trust", "--username=chatrix", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run("initdb", "-D", str(self._data), *options)
        self.start()
        self.sql(SQL("CREATE DATABASE {}").format(Identifier(TEMPLATE)))
        migrate(self.url(TEMPLATE), str(self._folder))

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def url(self, database: str) -> str:
        """What the ini would say."""
        return f"postgresql://chatrix@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """The URL of a fresh database with all tables and no rows."""
        name = "test_" + secrets.token_hex(6)
        self.sql(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(TEMPLATE)))
        return self.url(name)

    def empty_database(self) -> str:
        """The URL of a database without tables."""
        name = "empty_" + secrets.token_hex(6)
        self.sql(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove the database, whoever is connected to it."""
        self.sql(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name_in(url))))

    def sql(self, text: str | Composable, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute as the cluster's owner, outside a transaction. Blocking."""
        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def kill_backends(self, url: str) -> int:
        """End all connections to the database, as an admin might; how many there were."""
        ended = SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
        return len(self.sql(ended.format(Literal(name_in(url)))))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        # The server ends with us, even when the test run is killed.
        server = ["setpriv", "--pdeathsig", "QUIT", str(self._bin / "postgres"), "-D", str(self._data)]
        server += ["-k", str(self._folder), "-h", ""]
        fsync = "on" if self._fsync else "off"
        for setting in (f"fsync={fsync}", f"full_page_writes={fsync}", "shared_buffers=16MB", "max_connections=60"):
            server += ["-c", setting]
        with open(self._folder / "log", "ab") as log:
            self._server = subprocess.Popen(server, stdout=log, stderr=log, cwd="/", **self._as_user())
        while self._run("pg_isready", "-q", "-h", str(self._folder), "-t", "60", check=False):
            if self._server.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text())

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server, its clients' connections included; `immediate` is a crash."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            self._server.wait()
            self._server = None

    def remove(self) -> None:
        """Stop the server and remove its files."""
        self.stop(immediate=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _as_user(self) -> dict[str, Any]:
        if os.getuid():
            return {}
        account = pwd.getpwnam(self._user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, capture_output=True, cwd="/", check=False, **self._as_user())
        if check and done.returncode:
            raise RuntimeError(f"{program}: {done.stdout.decode()}{done.stderr.decode()}")
        return done.returncode


@lru_cache(maxsize=1)
def _shared() -> Cluster | None:
    found = programs()
    return Cluster(found) if found else None


def cluster() -> Cluster:
    """The cluster of this test process.

    Raises: SkipTest when PostgreSQL is not installed; an AssertionError in its place with CHATRIX_REQUIRE_ALL=1.
    """
    shared = _shared()
    if shared is not None:
        return shared
    reason = "POSTGRESQL IS MISSING, HALF OF THE STORE IS NOT TESTED: apt-get install postgresql"
    if os.environ.get("CHATRIX_REQUIRE_ALL") == "1":
        raise AssertionError(reason)
    raise SkipTest(reason)
