"""vCards as clients send them (XEP-0054): one for each account."""

from __future__ import annotations

from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import NoSuchAccount, accounts
from chatrix.store.statements import SERVER, Dialect, key, sa, statement


@SERVER.table
def vcards(metadata: sa.MetaData) -> sa.Table:
    """The whole element, as XML."""
    return sa.Table(
        "vcards",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("vcard", sa.LargeBinary, nullable=False),
    )


@statement
def vcard_of() -> Any:
    here = vcards().c
    return sa.select(here.vcard).where(here.account == sa.bindparam("account"))


@statement
def save_vcard(dialect: Dialect) -> Any:
    """Of an account that exists."""
    table = vcards()
    row = (
        sa.select(*(sa.cast(sa.bindparam(column.name), column.type) for column in table.columns))
        .select_from(accounts())
        .where(accounts().c.account == sa.bindparam("account"))
    )
    insert = dialect.insert(table).from_select(["account", "vcard"], row)
    return insert.on_conflict_do_update(index_elements=["account"], set_={"vcard": insert.excluded.vcard})


@statement
def delete_vcard() -> Any:
    return sa.delete(vcards()).where(vcards().c.account == sa.bindparam("account"))


class VCards:
    """The vCards of all accounts, by the account's bare JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def get(self, account: str) -> bytes | None:
        """The vCard; None when there is none, or no such account."""
        row = await self._database.fetch_one(vcard_of, account=account)
        return bytes(row[0]) if row else None

    async def save(self, account: str, vcard: bytes) -> None:
        """Keep a vCard in place of the one before.

        Raises: NoSuchAccount.
        """
        if not await self._database.execute(save_vcard, account=account, vcard=vcard):
            raise NoSuchAccount(account)

    async def delete(self, account: str) -> None:
        """Forget the vCard, if there is one."""
        await self._database.execute(delete_vcard, account=account)
