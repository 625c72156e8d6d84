"""Which revision of the tables a database has, and which this version of chatrix wants; without importing Alembic."""

from functools import lru_cache
from pathlib import Path

from chatrix.store.database import DatabaseOutdated, DatabaseTooNew

MIGRATIONS = Path(__file__).parent / "migrations"
REVISION_OF_DATABASE = "SELECT version_num FROM alembic_version"
"""The table is Alembic's; no such table: an empty database."""


@lru_cache(maxsize=16)
def known_revisions(migrations: Path = MIGRATIONS) -> tuple[str, ...]:
    """All revisions, in order: they are numbered, and a file's name begins with its number."""
    return tuple(sorted(path.name.partition("_")[0] for path in (migrations / "versions").glob("[0-9]*.py")))


def check_revision(where: str, revision: str | None, migrations: Path = MIGRATIONS) -> None:
    """Compare the database's revision, None when it is empty, with ours.

    Raises: DatabaseOutdated; DatabaseTooNew.
    """
    known = known_revisions(migrations)
    if revision == known[-1]:
        return
    if revision is not None and revision not in known:
        raise DatabaseTooNew(
            f"{where}: made by a newer chatrix; install that one, or restore a backup "
            f"(the tables have revision {revision}, this version knows up to {known[-1]})"
        )
    error = DatabaseOutdated(
        f"{where}: the tables are of revision {revision or 'none'}, not {known[-1]}; migrate first"
    )
    error.empty = revision is None
    raise error
