"""What clients keep for themselves (XEP-0049): elements by account and namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.accounts import NoSuchAccount, touch_account
from chatrix.store.statements import SERVER, Dialect, key, sa, statement


class TooMuch(Exception):
    """The account would keep more octets, or more namespaces, than it may; nothing was stored."""


@SERVER.table
def private_xml(metadata: sa.MetaData) -> sa.Table:
    """All elements of one namespace, one after the other, as XML."""
    return sa.Table(
        "private_xml",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("namespace", key(), primary_key=True),
        sa.Column("elements", sa.LargeBinary, nullable=False),
    )


@statement
def elements_of() -> Any:
    here = private_xml().c
    return sa.select(here.elements).where(
        here.account == sa.bindparam("account"), here.namespace == sa.bindparam("namespace")
    )


@statement
def save_elements(dialect: Dialect) -> Any:
    insert = dialect.insert(private_xml())
    keys = ("account", "namespace")
    return insert.on_conflict_do_update(index_elements=keys, set_={"elements": insert.excluded.elements})


@statement
def usage_of() -> Any:
    here = private_xml().c
    octets = sa.func.coalesce(sa.func.sum(sa.func.length(here.elements)), sa.literal_column("0"))
    return sa.select(sa.func.count(), octets).where(here.account == sa.bindparam("account"))


class PrivateXML:
    """The private elements of all accounts, by the account's bare JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def get(self, account: str, namespaces: Iterable[str]) -> dict[str, bytes]:
        """The elements of each of these namespaces that has any."""
        found = {}
        for namespace in dict.fromkeys(namespaces):
            row = await self._database.fetch_one(elements_of, account=account, namespace=namespace)
            if row:
                found[namespace] = bytes(row[0])
        return found

    async def save(self, account: str, elements: Mapping[str, bytes], octets: int, namespaces: int) -> None:
        """Keep the elements of these namespaces in place of those before: all of them, or none.

        `octets` and `namespaces` are what the account may keep in all.

        Raises: TooMuch; NoSuchAccount.
        """
        async with self._database.transaction() as transaction:
            # First, so that nobody else changes what is counted below.
            if not await transaction.execute(touch_account, of_account=account):
                raise NoSuchAccount(account)
            for namespace, xml in elements.items():
                await transaction.execute(save_elements, account=account, namespace=namespace, elements=xml)
            row = await transaction.fetch_one(usage_of, account=account)
            assert row is not None
            if int(row[0]) > namespaces or int(row[1]) > octets:
                raise TooMuch(account)
