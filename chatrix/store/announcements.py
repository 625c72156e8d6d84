"""What a host says to everybody who logs in: the message of the day and the welcome message (XEP-0133)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.statements import SERVER, Dialect, key, sa, statement

MOTD = "motd"
WELCOME = "welcome"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One text of one host."""

    host: str
    kind: str
    """`MOTD` or `WELCOME`."""
    id: int
    """Greater than that of any earlier one: who has heard which is told by it. A corrected text keeps it."""
    text: str


@SERVER.table
def announcements(metadata: sa.MetaData) -> sa.Table:
    """At most one of each kind for each host."""
    return sa.Table(
        "announcements",
        metadata,
        sa.Column("host", key(), primary_key=True),
        sa.Column("kind", key(), primary_key=True),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )


@statement
def all_announcements() -> Any:
    here = announcements().c
    return sa.select(here.host, here.kind, here.id, here.text)


@statement
def save_announcement(dialect: Dialect) -> Any:
    insert = dialect.insert(announcements())
    new = {"id": insert.excluded.id, "text": insert.excluded.text}
    return insert.on_conflict_do_update(index_elements=["host", "kind"], set_=new)


@statement
def delete_announcement() -> Any:
    here = announcements().c
    return sa.delete(announcements()).where(here.host == sa.bindparam("host"), here.kind == sa.bindparam("kind"))


class Announcements:
    """The announcements of all hosts."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def all(self) -> list[Announcement]:
        """Every one of them."""
        return [Announcement(*row) for row in await self._database.fetch(all_announcements)]

    async def save(self, announcement: Announcement) -> None:
        """Set it, in place of the one of its kind."""
        await self._database.execute(
            save_announcement,
            host=announcement.host,
            kind=announcement.kind,
            id=announcement.id,
            text=announcement.text,
        )

    async def delete(self, host: str, kind: str) -> bool:
        """False when there was none."""
        return await self._database.execute(delete_announcement, host=host, kind=kind) > 0
