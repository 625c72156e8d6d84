"""Messages that wait until their account comes online (RFC 6121 section 8.5.2.2, XEP-0160)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import accounts
from chatrix.store.batch import Batch
from chatrix.store.ids import Ids
from chatrix.store.statements import SERVER, Dialect, key, sa, statement

LIMIT = 100
"""Messages per account, unless the admin says otherwise."""


@dataclass(frozen=True, slots=True)
class OfflineMessage:
    """One message that waits."""

    id: int
    """Greater than those of all messages that came before."""
    stored_at: int
    """Microseconds UTC, for the delay stamp."""
    stanza: bytes


@SERVER.table
def offline_messages(metadata: sa.MetaData) -> sa.Table:
    """Nothing is known of a message but for whom it is."""
    return sa.Table(
        "offline_messages",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("stanza", sa.LargeBinary, nullable=False),
    )


def _waiting(account: Any) -> Any:
    table = offline_messages().alias("waiting")
    return sa.select(sa.func.count()).select_from(table).where(table.c.account == account).scalar_subquery()


@statement
def append_messages(dialect: Dialect) -> Any:
    """Messages for which there is room, of accounts that exist; returns the ids of those that were stored."""
    table, here = offline_messages(), accounts()
    names = ["account", "id", "stored_at", "stanza"]
    if dialect.name == "sqlite":
        row = (
            sa.select(*(sa.bindparam(column.name, type_=column.type) for column in table.columns))
            .select_from(here)
            .where(here.c.account == sa.bindparam("account"))
            .where(_waiting(sa.bindparam("account")) < sa.bindparam("at_most"))
        )
        return sa.insert(table).from_select(names, row).returning(table.c.id)
    rows = dialect.rows(*table.columns, sa.Column("at_most", sa.BigInteger))
    account = sa.collate(rows.c.account, "C")
    # Two workers that store for one account take turns: each must count what the other has stored. The lock is a
    # statement of its own, because a statement counts what was there when it began.
    hashes = (
        sa.select(sa.func.hashtextextended(account, sa.literal_column("0")).label("hash"))
        .distinct()
        .order_by("hash")
        .subquery()
    )
    lock = sa.select(sa.func.count(sa.func.pg_advisory_xact_lock(hashes.c.hash)))
    place = sa.func.row_number().over(partition_by=account, order_by=rows.c.id)
    ranked = sa.select(rows, place.label("place")).subquery("ranked")
    stored = (
        sa.select(*(ranked.c[name] for name in names))
        .join(here, here.c.account == sa.collate(ranked.c.account, "C"))
        .where(_waiting(sa.collate(ranked.c.account, "C")) + ranked.c.place <= ranked.c.at_most)
    )
    return lock, sa.insert(table).from_select(names, stored).returning(table.c.id)


@statement
def messages_of() -> Any:
    table = offline_messages()
    return (
        sa.select(table.c.id, table.c.stored_at, table.c.stanza)
        .where(table.c.account == sa.bindparam("account"), table.c.id > sa.bindparam("after"))
        .order_by(table.c.id)
        .limit(sa.bindparam("at_most"))
    )


@statement
def delete_messages() -> Any:
    table = offline_messages()
    return sa.delete(table).where(table.c.account == sa.bindparam("account"), table.c.id <= sa.bindparam("up_to"))


@statement
def number_of_messages() -> Any:
    table = offline_messages()
    return sa.select(sa.func.count()).select_from(table).where(table.c.account == sa.bindparam("account"))


@statement
def purge_messages() -> Any:
    table = offline_messages()
    return sa.delete(table).where(table.c.account == sa.bindparam("account"))


@statement
def expire_messages() -> Any:
    table = offline_messages()
    return sa.delete(table).where(table.c.stored_at < sa.bindparam("before"))


class OfflineMessages:
    """The messages that wait, by the account's bare JID."""

    def __init__(self, database: IDatabase, ids: Ids | None = None) -> None:
        self._database = database
        self._ids = ids or Ids()
        self._batch: Batch[dict[str, Any], bool] = Batch(self._flush, lambda row: len(row["stanza"]) + 100)

    async def append(self, account: str, stanza: bytes, stored_at: int, limit: int = LIMIT) -> bool:
        """Keep a message; True once it is on disk. False when `limit` wait already, or there is no such account."""
        row = {
            "account": account, "id": self._ids.next(), "stored_at": stored_at, "stanza": stanza, "at_most": limit
        }  # fmt: skip
        return await self._batch.append(row)

    async def take(self, account: str, after: int = 0, limit: int = LIMIT) -> list[OfflineMessage]:
        """The messages that wait, the oldest first, a page at a time. They wait on until `delete`."""
        rows = await self._database.fetch(messages_of, account=account, after=after, at_most=limit)
        return [OfflineMessage(*row) for row in rows]

    async def delete(self, account: str, up_to: int) -> int:
        """Forget the messages up to this id: they have been written to a session. How many there were."""
        return await self._database.execute(delete_messages, account=account, up_to=up_to)

    async def count(self, account: str) -> int:
        """How many wait."""
        row = await self._database.fetch_one(number_of_messages, account=account)
        assert row is not None
        return int(row[0])

    async def purge(self, account: str) -> int:
        """Forget all of the account's messages; how many there were."""
        return await self._database.execute(purge_messages, account=account)

    async def expire(self, before: int) -> int:
        """Forget everybody's messages stored before that time; how many there were."""
        return await self._database.execute(expire_messages, before=before)

    async def _flush(self, rows: Sequence[dict[str, Any]]) -> list[bool]:
        stored = {row[0] for row in await self._database.execute_many(append_messages, rows)}
        return [row["id"] in stored for row in rows]
