"""Accounts and their SCRAM keys (RFC 5802, XEP-0438): whoever may log in. A password is never stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.database import DatabaseConflict
from chatrix.store.ids import microseconds
from chatrix.store.statements import SERVER, key, sa, statement
from chatrix.xmpp.sasl.keys import Hash, ScramKeys

PAGE = 100


class AccountExists(Exception):
    """Somebody has this address already."""


class NoSuchAccount(Exception):
    """Nobody has this address, or not any more."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account of one of our hosts."""

    localpart: str
    host: str
    created: int
    """Microseconds UTC."""
    disabled: bool
    """Exists, keeps what it owns, and cannot log in."""

    @property
    def jid(self) -> str:
        """The bare JID."""
        return f"{self.localpart}@{self.host}"


@SERVER.table
def accounts(metadata: sa.MetaData) -> sa.Table:
    """What an account owns refers to this table with ON DELETE CASCADE: with the account it goes."""
    return sa.Table(
        "accounts",
        metadata,
        sa.Column("account", key(), primary_key=True),
        sa.Column("localpart", key(), nullable=False),
        sa.Column("host", key(), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("roster_version", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("host", "localpart", name="accounts_by_host"),
    )


@SERVER.table
def scram_keys(metadata: sa.MetaData) -> sa.Table:
    """One row per account and hash."""
    return sa.Table(
        "scram_keys",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("hash", key(), primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("iterations", sa.BigInteger, nullable=False),
        sa.Column("stored_key", sa.LargeBinary, nullable=False),
        sa.Column("server_key", sa.LargeBinary, nullable=False),
    )


@statement
def insert_account() -> Any:
    return sa.insert(accounts())


@statement
def insert_keys() -> Any:
    return sa.insert(scram_keys())


@statement
def delete_keys() -> Any:
    return sa.delete(scram_keys()).where(scram_keys().c.account == sa.bindparam("account"))


@statement
def delete_account() -> Any:
    return sa.delete(accounts()).where(accounts().c.account == sa.bindparam("account"))


@statement
def set_disabled() -> Any:
    here = accounts().c.account == sa.bindparam("of_account")
    return sa.update(accounts()).where(here).values(disabled=sa.bindparam("disabled"))


@statement
def touch_account() -> Any:
    """Changes nothing, and keeps others from changing the account until the transaction ends."""
    here = accounts().c.account == sa.bindparam("of_account")
    return sa.update(accounts()).where(here).values(created=accounts().c.created)


@statement
def keys_of() -> Any:
    keys = scram_keys()
    return sa.select(keys.c.salt, keys.c.iterations, keys.c.stored_key, keys.c.server_key).where(
        keys.c.account == sa.bindparam("account"), keys.c.hash == sa.bindparam("hash")
    )


@statement
def account_of() -> Any:
    here = accounts()
    return sa.select(here.c.localpart, here.c.host, here.c.created, here.c.disabled).where(
        here.c.account == sa.bindparam("account")
    )


@statement
def page_of_accounts() -> Any:
    here = accounts()
    return (
        sa.select(here.c.localpart, here.c.host, here.c.created, here.c.disabled)
        .where(here.c.host == sa.bindparam("host"), here.c.localpart > sa.bindparam("after"))
        .order_by(here.c.localpart)
        .limit(sa.bindparam("at_most"))
    )


@statement
def page_of_disabled() -> Any:
    here = accounts()
    return (
        sa.select(here.c.localpart, here.c.host, here.c.created, here.c.disabled)
        .where(here.c.host == sa.bindparam("host"), here.c.disabled)
        .order_by(here.c.localpart)
        .limit(sa.bindparam("at_most"))
    )


@statement
def number_of_accounts() -> Any:
    return sa.select(sa.func.count()).select_from(accounts()).where(accounts().c.host == sa.bindparam("host"))


@statement
def number_of_disabled() -> Any:
    here = accounts()
    return sa.select(sa.func.count()).select_from(here).where(here.c.host == sa.bindparam("host"), here.c.disabled)


class Accounts:
    """The accounts of all hosts. `local` and `host` are the parts of a prepared JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def create(self, local: str, host: str, keys: Sequence[ScramKeys], created: int | None = None) -> Account:
        """Add an account with the keys of its password, one per hash.

        Raises: AccountExists.
        """
        account = Account(local, host, microseconds() if created is None else created, False)
        try:
            async with self._database.transaction() as transaction:
                await transaction.execute(
                    insert_account,
                    account=account.jid,
                    localpart=local,
                    host=host,
                    created=account.created,
                    disabled=False,
                    roster_version=0,
                )
                await transaction.execute_many(insert_keys, [_row(account.jid, each) for each in keys])
        except DatabaseConflict as conflict:
            raise AccountExists(account.jid) from conflict
        return account

    async def delete(self, local: str, host: str) -> bool:
        """Remove the account and all it owns, at once; False when there was none."""
        return await self._database.execute(delete_account, account=f"{local}@{host}") > 0

    async def replace_keys(self, local: str, host: str, keys: Sequence[ScramKeys]) -> None:
        """Set a new password: no key of the old one remains.

        Raises: NoSuchAccount.
        """
        account = f"{local}@{host}"
        async with self._database.transaction() as transaction:
            if not await transaction.execute(touch_account, of_account=account):
                raise NoSuchAccount(account)
            await transaction.execute(delete_keys, account=account)
            await transaction.execute_many(insert_keys, [_row(account, each) for each in keys])

    async def set_disabled(self, local: str, host: str, disabled: bool) -> None:
        """Shut the account out, or let it in again.

        Raises: NoSuchAccount.
        """
        account = f"{local}@{host}"
        if not await self._database.execute(set_disabled, of_account=account, disabled=disabled):
            raise NoSuchAccount(account)

    async def keys_of(self, local: str, host: str, hash_name: Hash) -> ScramKeys | None:
        """What SCRAM needs, in one read; None when there is no such account or key.

        Also of a disabled account: that it is disabled is only for those who know its password.
        """
        row = await self._database.fetch_one(keys_of, account=f"{local}@{host}", hash=hash_name)
        return ScramKeys(hash_name, *row) if row else None

    async def get(self, local: str, host: str) -> Account | None:
        """The account, or None."""
        row = await self._database.fetch_one(account_of, account=f"{local}@{host}")
        return Account(*row) if row else None

    async def exists(self, local: str, host: str) -> bool:
        """Whether there is such an account, disabled or not."""
        return await self.get(local, host) is not None

    async def disabled(self, host: str, limit: int = PAGE) -> list[Account]:
        """The first of the host's accounts that are disabled, in the order of their localparts."""
        rows = await self._database.fetch(page_of_disabled, host=host, at_most=limit)
        return [Account(*row) for row in rows]

    async def list(self, host: str, after: str = "", limit: int = PAGE) -> list[Account]:
        """A page of the host's accounts in the order of their localparts, from the first beyond `after`."""
        rows = await self._database.fetch(page_of_accounts, host=host, after=after, at_most=limit)
        return [Account(*row) for row in rows]

    async def count_disabled(self, host: str) -> int:
        """How many of the host's accounts are disabled."""
        row = await self._database.fetch_one(number_of_disabled, host=host)
        assert row is not None
        return int(row[0])

    async def count(self, host: str) -> int:
        """How many accounts the host has."""
        row = await self._database.fetch_one(number_of_accounts, host=host)
        assert row is not None
        return int(row[0])


def _row(account: str, keys: ScramKeys) -> dict[str, Any]:
    return {
        "account": account,
        "hash": keys.hash,
        "salt": keys.salt,
        "iterations": keys.iterations,
        "stored_key": keys.stored_key,
        "server_key": keys.server_key,
    }
