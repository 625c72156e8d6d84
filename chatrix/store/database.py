"""Opening a database by its URL, and the errors that both engines raise in place of their own."""

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatrix.interfaces import IDatabase


class DatabaseError(Exception):
    """Whatever went wrong between a store and its database; the message is for the log and quotes no stored value."""


class DatabaseUnavailable(DatabaseError):
    """Not now: unreachable, too busy or locked. The same request may succeed later.

    A write whose connection was lost on the way has either happened whole or not at all.
    """


class DatabaseLocked(DatabaseUnavailable):
    """Another program holds the database, or a row, for longer than we wait."""


class DatabaseFull(DatabaseUnavailable):
    """The disk is full. Reading goes on; writing works again as soon as there is room."""


class DatabaseReadOnly(DatabaseUnavailable):
    """The file, its folder or the server lets us read but not write."""


class DatabaseConflict(DatabaseError):
    """The row exists already, or belongs to something that does not exist (any more)."""


class DatabaseCorrupt(DatabaseError):
    """The database says that its own files are damaged, or the file is no database."""


class DatabaseOutdated(DatabaseError):
    """The tables are older than this version of chatrix: they must be migrated first."""

    empty = False
    """There are no tables at all yet."""


class DatabaseTooNew(DatabaseError):
    """The tables were made by a newer version of chatrix than this one."""


def sqlite_path(url: str, state: str) -> str | None:
    """The file that `sqlite:FILE` names, relative to the folder `state`; None when the URL is not SQLite's."""
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite":
        return None
    # SQLAlchemy's spelling is understood as well: three slashes before a relative file, four before an absolute one.
    path = rest.removeprefix("///") if rest.startswith("///") else rest
    if not path or path.startswith("//"):
        raise DatabaseError(f"{url}: no file; write sqlite:chatrix.sqlite or sqlite:/a/folder/chatrix.sqlite")
    return os.path.join(state, path)


def is_postgresql(url: str) -> bool:
    """Whether libpq understands the URL."""
    return url.partition(":")[0] in {"postgresql", "postgres"}


def redacted(url: str) -> str:
    """The URL as it may be shown: without a password, be the URL never so wrong."""
    scheme, slashes, rest = url.partition("://")
    user, at, address = rest.rpartition("@")
    shown = scheme + slashes + user.partition(":")[0] + at + address
    return re.sub(r"(password=)[^&]*", r"\1...", shown, flags=re.IGNORECASE)


def open_database(url: str, state: str, reactor: Any) -> "IDatabase":
    """The engine for `url`; `await database.open()` connects it.

    `state` is the folder that a relative SQLite file is in. A PostgreSQL password comes from the URL or, better, from
    the file that PGPASSFILE names (`~/.pgpass`).

    Raises: DatabaseError when the URL is neither SQLite's nor PostgreSQL's.
    """
    # Each engine is imported by those who use it: psycopg2 costs 5 MiB.
    path = sqlite_path(url, state)
    if path is not None:
        from chatrix.store.sqlite import SqliteDatabase

        return SqliteDatabase(path, reactor)
    if is_postgresql(url):
        from chatrix.store.postgres import PostgresDatabase

        return PostgresDatabase(url, reactor)
    raise DatabaseError(f"{redacted(url)}: the database must be sqlite:FILE or postgresql://USER@HOST/NAME")
