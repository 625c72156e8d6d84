"""PostgreSQL through psycopg2 alone: how one connects, what the errors mean. Knows nothing of the reactor."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions

from chatrix.store.database import (
    DatabaseConflict,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseUnavailable,
    redacted,
)
from chatrix.store.revisions import REVISION_OF_DATABASE

CONNECT_SECONDS = 10
SETTINGS = {
    "application_name": "chatrix",
    "client_encoding": "UTF8",
    # A server that vanished without a word is noticed after so many milliseconds.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "30",
}

HAS_REVISION = "SELECT to_regclass('alembic_version') IS NOT NULL"
LOCK_FOR_MIGRATION = "SELECT pg_advisory_xact_lock(7166374872)"

# PostgreSQL's appendix A: classes by their first two characters, and single codes
ERRORS: dict[str, type[DatabaseError]] = {
    "08": DatabaseUnavailable,
    "22": DatabaseError,
    "23": DatabaseConflict,
    "25006": DatabaseReadOnly,
    "40": DatabaseUnavailable,
    "53": DatabaseUnavailable,
    "53100": DatabaseFull,
    "55P03": DatabaseLocked,
    "57": DatabaseUnavailable,
    "58": DatabaseUnavailable,
    "XX001": DatabaseCorrupt,
    "XX002": DatabaseCorrupt,
}

# bytea comes as bytes, as it does from SQLite, not as a memoryview
BYTES = psycopg2.extensions.new_type(
    psycopg2.BINARY.values,
    "BYTES",
    lambda value, cursor: None if value is None else bytes(psycopg2.BINARY(value, cursor)),
)


def translated(error: psycopg2.Error, where: str) -> DatabaseError:
    """The error in the words that both engines share; without the server's details, which quote what is stored."""
    code = error.pgcode or ""
    words = (error.diag.message_primary if error.diag else None) or str(error).strip() or type(error).__name__
    lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or not code
    kind = ERRORS.get(code) or ERRORS.get(code[:2]) or (DatabaseUnavailable if lost else DatabaseError)
    return kind(f"{where}: {words}{f' ({code})' if code else ''}")


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A connection for work without a reactor: migrations. Blocking.

    Raises: DatabaseError, also in place of what psycopg2 raises inside.
    """
    try:
        with closing(psycopg2.connect(url, connect_timeout=CONNECT_SECONDS, **SETTINGS)) as connection:
            yield connection
    except psycopg2.Error as error:
        raise translated(error, redacted(url)) from error


def revision(connection: Any) -> str | None:
    """The revision of the tables; None when there are none."""
    with connection.cursor() as cursor:
        cursor.execute(HAS_REVISION)
        found = None
        if cursor.fetchone()[0]:
            cursor.execute(REVISION_OF_DATABASE)
            found = cursor.fetchone()
    connection.rollback()
    return str(found[0]) if found else None
