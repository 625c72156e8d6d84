"""Bringing a database's tables to this version: by start-up and by `chatrixctl migrate`, before the reactor runs.

Importing Alembic takes half a second, so the revision is asked for by a plain query first.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from chatrix.store import sqlite_file
from chatrix.store.database import DatabaseError, DatabaseOutdated, is_postgresql, redacted, sqlite_path
from chatrix.store.revisions import MIGRATIONS, check_revision

PATIENCE = 60.0
"""Seconds to wait for another process that migrates."""


def migrate(url: str, state: str, migrations: Path = MIGRATIONS) -> bool:
    """Create the tables, or bring them to this version; False when there was nothing to do. Blocking.

    All revisions that are missing run in one transaction: the tables are those of before, or those of now. Of several
    processes that start at once, one migrates and the others wait for it.

    Raises: DatabaseTooNew; another DatabaseError when the database cannot be reached or changed.
    """
    path = sqlite_path(url, state)
    if path is not None:
        return _migrate_sqlite(path, migrations)
    if is_postgresql(url):
        return _migrate_postgresql(url, migrations)
    raise DatabaseError(f"{redacted(url)}: the database must be sqlite:FILE or postgresql://USER@HOST/NAME")


def _migrate_sqlite(path: str, migrations: Path) -> bool:
    sqlite_file.create_file(path)
    try:
        with closing(sqlite_file.connect(path, PATIENCE)) as connection:
            if _is_current(path, sqlite_file.revision(connection), migrations):
                return False
            # A table that is rebuilt must not take with it what refers to it.
            connection.execute("PRAGMA foreign_keys=OFF")
            _upgrade("sqlite://", lambda: connection, "BEGIN EXCLUSIVE", migrations, check="PRAGMA foreign_key_check")
    except sqlite3.Error as error:
        raise sqlite_file.translated(error, path) from error
    return True


def _migrate_postgresql(url: str, migrations: Path) -> bool:
    from chatrix.store import libpq

    with libpq.connected(url) as connection:
        if _is_current(redacted(url), libpq.revision(connection), migrations):
            return False
        _upgrade("postgresql+psycopg2://", lambda: connection, libpq.LOCK_FOR_MIGRATION, migrations)
    return True


def _is_current(where: str, revision: str | None, migrations: Path) -> bool:
    try:
        check_revision(where, revision, migrations)
    except DatabaseOutdated:
        return False
    return True


def _upgrade(dialect: str, connect: Callable[[], Any], lock: str, migrations: Path, check: str = "") -> None:
    """Run what is missing, on the one connection, in one transaction that begins with the lock.

    `check` is a query that finds nothing when all is well.
    """
    import sqlalchemy
    from alembic.command import upgrade
    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    engine = sqlalchemy.create_engine(dialect, creator=connect, poolclass=sqlalchemy.StaticPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(lock)
            config.attributes["connection"] = connection
            upgrade(config, "head")
            if check and connection.exec_driver_sql(check).first():
                raise DatabaseError("after the migration rows refer to rows that do not exist; nothing was changed")
            connection.commit()
    except DBAPIError as error:
        # What the driver raised is what our callers translate.
        raise error.orig or error from error
