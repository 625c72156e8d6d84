"""Rosters (RFC 6121 section 2) with the versions that XEP-0237 counts, and pending subscription requests (3.1.3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from chatrix.interfaces import IDatabase, IStatements
from chatrix.store.accounts import NoSuchAccount, accounts
from chatrix.store.statements import SERVER, Dialect, key, sa, statement

KEPT_CHANGES = 1000
"""A removed item is remembered for so many changes of its roster."""
REQUESTS = 500
"""Strangers may leave so many requests with one account."""

VERSION = "version"
ITEM = "item"
REQUEST = "request"
REMOVED = "remove"


@dataclass(frozen=True, slots=True)
class RosterItem:
    """One contact of an account."""

    account: str
    """The bare JID of the account whose roster it is in."""
    jid: str
    name: str = ""
    subscription: str = "none"
    """'none', 'to', 'from' or 'both'; 'remove' for an item that is gone, in a list of changes."""
    ask: bool = False
    """A subscription request is out."""
    approved: bool = False
    """The account has approved a subscription request before it came."""
    groups: tuple[str, ...] = ()
    changed: int = 0
    """The roster's version when the item was last changed; the store sets it."""


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """A request to see the account's presence that awaits the account's answer."""

    account: str
    jid: str
    """The bare JID of who asks."""
    stanza: bytes
    """The whole presence stanza, for every new session of the account to see."""


@dataclass(frozen=True, slots=True)
class Roster:
    """All that is stored of an account's roster."""

    version: int
    items: tuple[RosterItem, ...]
    requests: tuple[SubscriptionRequest, ...]


@SERVER.table
def roster_items(metadata: sa.MetaData) -> sa.Table:
    """A removed item leaves its row behind, with the subscription 'remove', for those who ask what has changed."""
    return sa.Table(
        "roster_items",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("jid", key(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("subscription", sa.Text, nullable=False),
        sa.Column("ask", sa.Boolean, nullable=False),
        sa.Column("approved", sa.Boolean, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
    )


@SERVER.table
def subscription_requests(metadata: sa.MetaData) -> sa.Table:
    """Not a part of the roster: a request may exist without an item."""
    return sa.Table(
        "subscription_requests",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("jid", key(), primary_key=True),
        sa.Column("stanza", sa.LargeBinary, nullable=False),
    )


def _item_columns() -> list[Any]:
    item = roster_items().c
    return [item.jid, item.name, item.subscription, item.ask, item.approved, item.groups, item.changed]


@statement
def load_roster() -> Any:
    """The version, the items and the requests at one moment, in one read."""
    account: Any = sa.bindparam("account")
    requests = subscription_requests()

    def kind(word: str) -> Any:
        return sa.literal(word, sa.Text).label("kind")

    empty = [sa.cast(sa.null(), column.type) for column in _item_columns()]
    no_stanza = sa.cast(sa.null(), sa.LargeBinary).label("stanza")
    return sa.union_all(
        sa.select(kind(VERSION), *empty[:-1], accounts().c.roster_version, no_stanza)
        .where(accounts().c.account == account),
        sa.select(kind(ITEM), *_item_columns(), no_stanza)
        .where(roster_items().c.account == account, roster_items().c.subscription != REMOVED),
        sa.select(kind(REQUEST), requests.c.jid, *empty[1:], requests.c.stanza)
        .where(requests.c.account == account),
    )  # fmt: skip


@statement
def version_of() -> Any:
    return sa.select(accounts().c.roster_version).where(accounts().c.account == sa.bindparam("account"))


@statement
def changed_since() -> Any:
    item = roster_items().c
    return (
        sa.select(*_item_columns())
        .where(item.account == sa.bindparam("account"), item.changed > sa.bindparam("version"))
        .order_by(item.changed)
    )


@statement
def one_item() -> Any:
    item = roster_items().c
    return sa.select(*_item_columns()).where(
        item.account == sa.bindparam("account"), item.jid == sa.bindparam("jid"), item.subscription != REMOVED
    )


@statement
def next_version() -> Any:
    """Comes first in every change: who has it keeps others from changing the roster until the transaction ends."""
    here = accounts()
    return (
        sa.update(here)
        .where(here.c.account == sa.bindparam("of_account"))
        .values(roster_version=here.c.roster_version + 1)
        .returning(here.c.roster_version)
    )


@statement
def save_item(dialect: Dialect) -> Any:
    insert = dialect.insert(roster_items())
    keys = ("account", "jid")
    new = {column.name: insert.excluded[column.name] for column in roster_items().columns if column.name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=new)


@statement
def remove_item() -> Any:
    item = roster_items()
    return (
        sa.update(item)
        .where(item.c.account == sa.bindparam("of_account"), item.c.jid == sa.bindparam("of_jid"))
        .where(item.c.subscription != REMOVED)
        .values(name="", subscription=REMOVED, ask=sa.false(), approved=sa.false(), groups="[]")
        .values(changed=sa.bindparam("changed"))
    )


@statement
def forget_removed() -> Any:
    item = roster_items().c
    return sa.delete(roster_items()).where(
        item.account == sa.bindparam("account"), item.subscription == REMOVED, item.changed <= sa.bindparam("until")
    )


@statement
def save_request(dialect: Dialect) -> Any:
    """The last one of each contact is kept; a new one only while there are few, and the account exists."""
    table = subscription_requests()
    known = sa.select(sa.true()).where(table.c.account == sa.bindparam("account"), table.c.jid == sa.bindparam("jid"))
    number = sa.select(sa.func.count()).select_from(table).where(table.c.account == sa.bindparam("account"))
    row = (
        sa.select(
            sa.cast(sa.bindparam("account"), sa.Text),
            sa.cast(sa.bindparam("jid"), sa.Text),
            sa.bindparam("stanza", type_=sa.LargeBinary),
        )
        .select_from(accounts())
        .where(accounts().c.account == sa.bindparam("account"))
        .where(sa.or_(number.scalar_subquery() < sa.bindparam("at_most"), known.exists()))
    )
    insert = dialect.insert(table).from_select(["account", "jid", "stanza"], row)
    return insert.on_conflict_do_update(index_elements=["account", "jid"], set_={"stanza": insert.excluded.stanza})


@statement
def drop_request() -> Any:
    table = subscription_requests()
    return sa.delete(table).where(table.c.account == sa.bindparam("account"), table.c.jid == sa.bindparam("jid"))


class Rosters:
    """The rosters of all accounts, by the account's bare JID."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def load(self, account: str) -> Roster:
        """Everything, in one read.

        Raises: NoSuchAccount.
        """
        version: int | None = None
        items: list[RosterItem] = []
        requests: list[SubscriptionRequest] = []
        for kind, *columns, stanza in await self._database.fetch(load_roster, account=account):
            if kind == ITEM:
                items.append(_item(account, columns))
            elif kind == REQUEST:
                requests.append(SubscriptionRequest(account, columns[0], stanza))
            else:
                version = columns[-1]
        if version is None:
            raise NoSuchAccount(account)
        return Roster(version, tuple(items), tuple(requests))

    async def item(self, account: str, jid: str) -> RosterItem | None:
        """One contact, or None."""
        row = await self._database.fetch_one(one_item, account=account, jid=jid)
        return _item(account, row) if row else None

    async def save(self, item: RosterItem) -> int:
        """Add or replace a contact; the roster's new version.

        Raises: NoSuchAccount.
        """
        async with self._database.transaction() as transaction:
            version = await _next_version(transaction, item.account)
            await transaction.execute(
                save_item,
                account=item.account,
                jid=item.jid,
                name=item.name,
                subscription=item.subscription,
                ask=item.ask,
                approved=item.approved,
                groups=json.dumps(item.groups, ensure_ascii=False),
                changed=version,
            )
        return version

    async def remove(self, account: str, jid: str) -> int | None:
        """Remove a contact; the roster's new version, or None when there was no such contact.

        Raises: NoSuchAccount.
        """
        try:
            async with self._database.transaction() as transaction:
                version = await _next_version(transaction, account)
                if not await transaction.execute(remove_item, of_account=account, of_jid=jid, changed=version):
                    raise _NothingToRemove
                await transaction.execute(forget_removed, account=account, until=version - KEPT_CHANGES)
        except _NothingToRemove:
            return None
        return version

    async def changes(self, account: str, version: int) -> list[RosterItem] | None:
        """The contacts changed or removed since that version, oldest change first; None when nobody remembers.

        Source: XEP-0237 section 4.
        """
        row = await self._database.fetch_one(version_of, account=account)
        if row is None or not row[0] - KEPT_CHANGES <= version <= row[0]:
            return None
        rows = await self._database.fetch(changed_since, account=account, version=version)
        return [_item(account, row) for row in rows]

    async def save_request(self, request: SubscriptionRequest, limit: int = REQUESTS) -> bool:
        """Keep a request, in place of an earlier one of the same contact.

        False when the account has `limit` others already, or does not exist.
        """
        return (
            await self._database.execute(
                save_request, account=request.account, jid=request.jid, stanza=request.stanza, at_most=limit
            )
            > 0
        )

    async def drop_request(self, account: str, jid: str) -> bool:
        """The request was answered or withdrawn; False when there was none."""
        return await self._database.execute(drop_request, account=account, jid=jid) > 0


class _NothingToRemove(Exception):
    """Undoes the transaction: a roster that did not change keeps its version."""


async def _next_version(transaction: IStatements, account: str) -> int:
    row = await transaction.fetch_one(next_version, of_account=account)
    if row is None:
        raise NoSuchAccount(account)
    return int(row[0])


def _item(account: str, columns: Any) -> RosterItem:
    jid, name, subscription, ask, approved, groups, changed = columns
    return RosterItem(account, jid, name, subscription, ask, approved, tuple(json.loads(groups)), changed)
