"""SQLite's file: how it is created and opened, and what its errors mean. Knows nothing of the reactor."""

import os
import sqlite3
from urllib.parse import quote

from chatrix.store.database import (
    DatabaseConflict,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnavailable,
)
from chatrix.store.revisions import REVISION_OF_DATABASE

# https://sqlite.org/rescode.html; the lowest byte of the extended code
ERRORS: dict[int, tuple[type[DatabaseError], str]] = {
    sqlite3.SQLITE_BUSY: (DatabaseLocked, "locked by another program"),
    sqlite3.SQLITE_LOCKED: (DatabaseLocked, "locked"),
    sqlite3.SQLITE_FULL: (DatabaseFull, "the disk is full"),
    sqlite3.SQLITE_READONLY: (DatabaseReadOnly, "not writable"),
    sqlite3.SQLITE_PERM: (DatabaseReadOnly, "not permitted"),
    sqlite3.SQLITE_IOERR: (DatabaseUnavailable, "the disk reports an error"),
    sqlite3.SQLITE_CANTOPEN: (DatabaseUnavailable, "cannot be opened"),
    sqlite3.SQLITE_CORRUPT: (DatabaseCorrupt, "damaged"),
    sqlite3.SQLITE_NOTADB: (DatabaseCorrupt, "not an SQLite database"),
    sqlite3.SQLITE_CONSTRAINT: (DatabaseConflict, "in conflict with what is stored"),
}


def translated(error: sqlite3.Error, path: str) -> DatabaseError:
    """The error in the words that both engines share."""
    code = getattr(error, "sqlite_errorcode", 0)
    kind, words = ERRORS.get(code & 0xFF, (DatabaseError, str(error)))
    name = getattr(error, "sqlite_errorname", "")
    return kind(f"{path}: {words} ({name})" if name else f"{path}: {words}")


def create_file(path: str) -> None:
    """Make sure that the file exists and that nobody but its owner may read it; SQLite's other files follow its mode.

    Raises: DatabaseUnavailable when it cannot be created.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_mode & 0o077:
                os.fchmod(file, 0o600)
        finally:
            os.close(file)
    except OSError as error:
        raise DatabaseUnavailable(f"{path}: {error.strerror}") from error


def connect(path: str, patience: float, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the file, which must exist, as all of chatrix uses it; without the module's own transactions.

    `patience` is for how many seconds it waits for another program's lock.
    """
    uri = f"file:{quote(path)}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(uri, timeout=patience, isolation_level=None, uri=True)
    if not read_only:
        connection.execute("PRAGMA journal_mode=WAL")
        # What is acknowledged must survive a power cut: NORMAL would only survive the end of this process.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=16777216")
    return connection


def revision(connection: sqlite3.Connection) -> str | None:
    """The revision of the tables; None when there are none."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    row = connection.execute(REVISION_OF_DATABASE).fetchone()
    return str(row[0]) if row else None
