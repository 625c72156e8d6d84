"""When an account was last seen, and what it said then (XEP-0012, RFC 6121 section 4.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import accounts
from chatrix.store.batch import Batch
from chatrix.store.statements import SERVER, Dialect, key, sa, statement


@dataclass(frozen=True, slots=True)
class LastActivity:
    """The last time that an account became unavailable."""

    at: int
    """Microseconds UTC."""
    status: bytes = b""
    """The `<status/>` elements of its unavailable presence, as XML; none when the server had to say it."""


@SERVER.table
def last_activity(metadata: sa.MetaData) -> sa.Table:
    """One row for each account that was ever available."""
    return sa.Table(
        "last_activity",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.LargeBinary, nullable=False),
    )


@statement
def activity_of() -> Any:
    here = last_activity().c
    return sa.select(here.at, here.status).where(here.account == sa.bindparam("account"))


@statement
def note_activity(dialect: Dialect) -> Any:
    """Of accounts that exist; an older one does not replace a newer one."""
    table, here = last_activity(), accounts()
    if dialect.name == "sqlite":
        columns: Any = [sa.bindparam(column.name, type_=column.type) for column in table.columns]
        rows: Any = sa.select(*columns).select_from(here).where(here.c.account == sa.bindparam("account"))
    else:
        given = dialect.rows(*table.columns)
        rows = sa.select(given).join(here, here.c.account == sa.collate(given.c.account, "C"))
    insert = dialect.insert(table).from_select(["account", "at", "status"], rows)
    return insert.on_conflict_do_update(
        index_elements=["account"],
        set_={"at": insert.excluded.at, "status": insert.excluded.status},
        where=insert.excluded.at >= table.c.at,
    )


class LastActivities:
    """The last activity of all accounts, by the account's bare JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database
        self._batch: Batch[tuple[str, LastActivity], None] = Batch(self._flush, lambda row: len(row[1].status) + 100)

    async def get(self, account: str) -> LastActivity | None:
        """When the account was last seen; None when it never was, or there is no such account."""
        row = await self._database.fetch_one(activity_of, account=account)
        return LastActivity(int(row[0]), bytes(row[1])) if row else None

    async def note(self, account: str, activity: LastActivity) -> None:
        """Keep it, unless a later one is kept; together with those of others who leave now."""
        await self._batch.append((account, activity))

    async def _flush(self, rows: Sequence[tuple[str, LastActivity]]) -> list[None]:
        # One row for each account: PostgreSQL changes no row twice in one statement.
        latest: dict[str, LastActivity] = {}
        for account, activity in rows:
            if account not in latest or latest[account].at <= activity.at:
                latest[account] = activity
        await self._database.execute_many(
            note_activity,
            [{"account": account, "at": each.at, "status": each.status} for account, each in latest.items()],
        )
        return [None] * len(rows)
