"""Which accounts have a tier, of those that the ini names; most have none."""

from __future__ import annotations

from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import NoSuchAccount, touch_account
from chatrix.store.statements import SERVER, Dialect, key, sa, statement


@SERVER.table
def account_tiers(metadata: sa.MetaData) -> sa.Table:
    """A row for each account that has a tier."""
    return sa.Table(
        "account_tiers",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("tier", sa.Text, nullable=False),
    )


@statement
def all_tiers() -> Any:
    return sa.select(account_tiers().c.account, account_tiers().c.tier)


@statement
def tier_of() -> Any:
    here = account_tiers().c
    return sa.select(here.tier).where(here.account == sa.bindparam("account"))


@statement
def set_tier(dialect: Dialect) -> Any:
    insert = dialect.insert(account_tiers())
    return insert.on_conflict_do_update(index_elements=["account"], set_={"tier": insert.excluded.tier})


@statement
def drop_tier() -> Any:
    return sa.delete(account_tiers()).where(account_tiers().c.account == sa.bindparam("account"))


class Tiers:
    """The tiers of all accounts, by bare JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def all(self) -> dict[str, str]:
        """The name of the tier of each account that has one."""
        return {str(account): str(tier) for account, tier in await self._database.fetch(all_tiers)}

    async def of(self, account: str) -> str:
        """The name of the account's tier, "" for none."""
        row = await self._database.fetch_one(tier_of, account=account)
        return str(row[0]) if row else ""

    async def set(self, account: str, tier: str) -> None:
        """Give the account a tier, or with "" none.

        Raises: NoSuchAccount.
        """
        async with self._database.transaction() as transaction:
            if not await transaction.execute(touch_account, of_account=account):
                raise NoSuchAccount(account)
            if tier:
                await transaction.execute(set_tier, account=account, tier=tier)
            else:
                await transaction.execute(drop_tier, account=account)
