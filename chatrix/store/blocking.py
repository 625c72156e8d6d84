"""Who an account wants nothing to do with (XEP-0191), and what it reports of them to the admins (XEP-0377)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import accounts
from chatrix.store.ids import Ids
from chatrix.store.statements import SERVER, Dialect, key, sa, statement

ITEMS = 1000
"""Items in one block list, unless the admin says otherwise."""
REPORTS = 10_000
"""Reports kept in all."""
REPORTS_OF_ONE = 100
"""Reports kept of one account: nobody fills the admins' list alone."""


class TooManyItems(Exception):
    """The block list is full; nothing of the request was stored."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an account says of a JID that it has blocked."""

    account: str
    """The bare JID of who reports."""
    jid: str
    """What was blocked."""
    reason: str
    """A URN; XEP-0377 has those of spam and abuse."""
    reported_at: int
    """Microseconds UTC."""
    text: str = ""
    stanza_ids: tuple[tuple[str, str], ...] = ()
    """(by, id) of the messages that are reported."""
    to_origin: bool = False
    """The reporter agrees that the report is passed on to the domain that the messages came from."""
    to_third_parties: bool = False
    """The reporter agrees that it is passed on to block list services and the like."""
    id: int = 0
    """Greater than those of all reports before; the store makes it."""


@SERVER.table
def blocked(metadata: sa.MetaData) -> sa.Table:
    """One row for each item of a block list."""
    return sa.Table(
        "blocked",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("jid", key(), primary_key=True),
    )


@SERVER.table
def reports(metadata: sa.MetaData) -> sa.Table:
    """What admins are to look at; goes with the account that reported."""
    return sa.Table(
        "reports",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("jid", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reported_at", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("stanza_ids", sa.Text, nullable=False),
        sa.Column("to_origin", sa.Boolean, nullable=False),
        sa.Column("to_third_parties", sa.Boolean, nullable=False),
    )


@statement
def items_of() -> Any:
    here = blocked().c
    return sa.select(here.jid).where(here.account == sa.bindparam("account")).order_by(here.jid)


@statement
def number_of_items() -> Any:
    here = blocked()
    return sa.select(sa.func.count()).select_from(here).where(here.c.account == sa.bindparam("account"))


@statement
def insert_item(dialect: Dialect) -> Any:
    return dialect.insert(blocked()).on_conflict_do_nothing()


@statement
def delete_item() -> Any:
    here = blocked().c
    return sa.delete(blocked()).where(here.account == sa.bindparam("account"), here.jid == sa.bindparam("jid"))


@statement
def delete_items() -> Any:
    return sa.delete(blocked()).where(blocked().c.account == sa.bindparam("account"))


def _number_of_reports(*conditions: Any) -> Any:
    return sa.select(sa.func.count()).select_from(reports()).where(*conditions).scalar_subquery()


@statement
def insert_report() -> Any:
    """Stored while there is room, for the account and in all."""
    table = reports()
    row = (
        sa.select(*(sa.cast(sa.bindparam(column.name), column.type) for column in table.columns))
        .select_from(accounts())
        .where(accounts().c.account == sa.bindparam("account"))
        .where(_number_of_reports(table.c.account == sa.bindparam("account")) < sa.bindparam("at_most_of_one"))
        .where(_number_of_reports() < sa.bindparam("at_most"))
    )
    return sa.insert(table).from_select([column.name for column in table.columns], row)


@statement
def reports_after() -> Any:
    here = reports().c
    return (
        sa.select(
            here.account, here.jid, here.reason, here.reported_at, here.text,
            here.stanza_ids, here.to_origin, here.to_third_parties, here.id,
        )
        .where(here.id > sa.bindparam("after"))
        .order_by(here.id)
        .limit(sa.bindparam("at_most"))
    )  # fmt: skip


@statement
def delete_report() -> Any:
    return sa.delete(reports()).where(reports().c.id == sa.bindparam("id"))


@statement
def expire_reports() -> Any:
    return sa.delete(reports()).where(reports().c.reported_at < sa.bindparam("before"))


class Blocking:
    """The block lists, by the account's bare JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def load(self, account: str) -> list[str]:
        """The JIDs that the account blocks, in order; none for an account that does not exist."""
        return [row[0] for row in await self._database.fetch(items_of, account=account)]

    async def block(self, account: str, jids: Iterable[str], limit: int = ITEMS) -> None:
        """Add these JIDs, whether or not some are blocked already; all of them or, on an error, none.

        Raises: TooManyItems when there would be more than `limit`; DatabaseConflict when there is no such account.
        """
        async with self._database.transaction() as transaction:
            await transaction.execute_many(insert_item, [{"account": account, "jid": jid} for jid in jids])
            row = await transaction.fetch_one(number_of_items, account=account)
            if row is None or row[0] > limit:
                raise TooManyItems

    async def unblock(self, account: str, jids: Iterable[str] | None = None) -> None:
        """Remove these JIDs, or all when none are named; what is not blocked does not matter."""
        if jids is None:
            await self._database.execute(delete_items, account=account)
        else:
            await self._database.execute_many(delete_item, [{"account": account, "jid": jid} for jid in jids])


class Reports:
    """What accounts have reported, for the admins."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database
        self._ids = Ids()

    async def add(self, report: Report, limit: int = REPORTS, limit_of_one: int = REPORTS_OF_ONE) -> bool:
        """Keep a report; False when there are too many already, of this account or in all."""
        stored = await self._database.execute(
            insert_report,
            account=report.account,
            id=self._ids.next(),
            jid=report.jid,
            reason=report.reason,
            reported_at=report.reported_at,
            text=report.text,
            stanza_ids=json.dumps(report.stanza_ids, ensure_ascii=False),
            to_origin=report.to_origin,
            to_third_parties=report.to_third_parties,
            at_most=limit,
            at_most_of_one=limit_of_one,
        )
        return stored > 0

    async def after(self, id: int = 0, limit: int = 100) -> list[Report]:
        """The reports that came after that id, the oldest first, a page at a time."""
        rows = await self._database.fetch(reports_after, after=id, at_most=limit)
        return [_report(*row) for row in rows]

    async def delete(self, id: int) -> bool:
        """An admin is done with a report; False when there was none."""
        return await self._database.execute(delete_report, id=id) > 0

    async def expire(self, before: int) -> int:
        """Forget the reports made before that time; how many there were."""
        return await self._database.execute(expire_reports, before=before)


def _report(
    account: str,
    jid: str,
    reason: str,
    reported_at: int,
    text: str,
    stanza_ids: str,
    to_origin: bool,
    to_third_parties: bool,
    id: int,
) -> Report:
    pairs = tuple((str(by), str(stanza_id)) for by, stanza_id in json.loads(stanza_ids))
    return Report(account, jid, reason, reported_at, text, pairs, to_origin, to_third_parties, id)
