"""When an account logged in first and last, and which message of the day it has heard (XEP-0133)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import accounts
from chatrix.store.batch import Batch
from chatrix.store.statements import SERVER, Dialect, key, sa, statement


@dataclass(frozen=True, slots=True)
class LogIn:
    """What is known of an account's log-ins."""

    account: str
    first: int
    """Microseconds UTC; 0: before anybody took notes."""
    last: int
    """Microseconds UTC; 0: not since notes are taken."""
    motd: int
    """The id of the last message of the day that the account was sent; 0: none yet."""


@SERVER.table
def log_ins(metadata: sa.MetaData) -> sa.Table:
    """No row: the account has never logged in."""
    return sa.Table(
        "log_ins",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("motd", sa.BigInteger, nullable=False),
    )


def _columns() -> list[Any]:
    here = log_ins().c
    return [here.account, here.first, here.last, here.motd]


@statement
def record_log_ins(dialect: Dialect) -> Any:
    """Of accounts that exist; returns the rows as they are now. At most one row per account in a go."""
    table, here = log_ins(), accounts()
    names = ["account", "first", "last", "motd"]
    if dialect.name == "sqlite":
        account: Any = sa.bindparam("account", type_=sa.Text)
        at: Any = sa.bindparam("at", type_=sa.BigInteger)
        known = sa.select(account, at, at, sa.literal_column("0")).select_from(here).where(here.c.account == account)
    else:
        rows = dialect.rows(table.c.account, sa.Column("at", sa.BigInteger))
        known = sa.select(here.c.account, rows.c.at, rows.c.at, sa.literal_column("0")).join(
            here, here.c.account == sa.collate(rows.c.account, "C")
        )
    insert = dialect.insert(table).from_select(names, known)
    return insert.on_conflict_do_update(index_elements=["account"], set_={"last": insert.excluded.last}).returning(
        *_columns()
    )


@statement
def log_in_of() -> Any:
    return sa.select(*_columns()).where(log_ins().c.account == sa.bindparam("account"))


@statement
def heard_motd() -> Any:
    here = log_ins()
    return sa.update(here).where(here.c.account == sa.bindparam("of_account")).values(motd=sa.bindparam("heard"))


class LogIns:
    """The log-ins of all accounts, by bare JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database
        self._noted: dict[str, int] = {}
        "Account to its last log-in: those that `settle` will record."
        self._batch: Batch[dict[str, Any], LogIn | None] = Batch(self._flush, lambda row: len(row["account"]) + 8)

    async def record(self, account: str, at: int) -> LogIn | None:
        """The account logs in at this time; `first` equals it when it has never before. None: no such account."""
        return await self._batch.append({"account": account, "at": at})

    def note(self, account: str, at: int) -> None:
        """The same, when nobody waits for what it tells: written with the others by the next `settle`."""
        self._noted[account] = at

    async def settle(self) -> None:
        """Record what was noted; called every few seconds, so that a crash forgets no more than those."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._flush([{"account": account, "at": at} for account, at in noted.items()])
        except BaseException:
            self._noted = noted | self._noted
            raise

    async def of(self, account: str) -> LogIn | None:
        """None when the account has never logged in."""
        await self.settle()
        row = await self._database.fetch_one(log_in_of, account=account)
        return LogIn(*row) if row else None

    async def heard(self, accounts: Iterable[str], motd: int) -> None:
        """These accounts were sent the message of the day with this id."""
        await self.settle()
        rows = [{"of_account": account, "heard": motd} for account in accounts]
        if rows:
            await self._database.execute_many(heard_motd, rows)

    async def _flush(self, rows: Sequence[dict[str, Any]]) -> list[LogIn | None]:
        # PostgreSQL refuses to touch a row twice in one statement, and the last time is the one that counts.
        latest = {row["account"]: row for row in rows}
        recorded = {
            row[0]: LogIn(*row) for row in await self._database.execute_many(record_log_ins, [*latest.values()])
        }
        return [recorded.get(row["account"]) for row in rows]
