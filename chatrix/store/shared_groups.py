"""Roster groups that an admin defines, and the accounts in them."""

from __future__ import annotations

from typing import Any

from chatrix.interfaces import IDatabase
from chatrix.store.database import DatabaseConflict
from chatrix.store.statements import SERVER, Dialect, key, sa, statement


class GroupExists(Exception):
    """The host has a group of this name already."""


class NoSuchMember(Exception):
    """There is no such group, or no such account."""


@SERVER.table
def shared_groups(metadata: sa.MetaData) -> sa.Table:
    """A host's groups."""
    return sa.Table(
        "shared_groups",
        metadata,
        sa.Column("host", key(), primary_key=True),
        sa.Column("name", key(), primary_key=True),
    )


@SERVER.table
def shared_group_members(metadata: sa.MetaData) -> sa.Table:
    """Who is in them: accounts of the same host."""
    return sa.Table(
        "shared_group_members",
        metadata,
        sa.Column("account", key(), sa.ForeignKey("accounts.account", ondelete="CASCADE"), primary_key=True),
        sa.Column("host", key(), primary_key=True),
        sa.Column("name", key(), primary_key=True),
        sa.ForeignKeyConstraint(["host", "name"], ["shared_groups.host", "shared_groups.name"], ondelete="CASCADE"),
    )


@statement
def all_memberships() -> Any:
    """A row for each member, and one without an account for a group that has none."""
    group, member = shared_groups().c, shared_group_members().c
    return (
        sa.select(group.host, group.name, member.account)
        .select_from(shared_groups())
        .outerjoin(shared_group_members(), sa.and_(member.host == group.host, member.name == group.name))
        .order_by(group.host, group.name, member.account)
    )


@statement
def insert_group() -> Any:
    return sa.insert(shared_groups())


@statement
def delete_group() -> Any:
    here = shared_groups().c
    return sa.delete(shared_groups()).where(here.host == sa.bindparam("host"), here.name == sa.bindparam("name"))


@statement
def insert_member(dialect: Dialect) -> Any:
    return dialect.insert(shared_group_members()).on_conflict_do_nothing()


@statement
def delete_member() -> Any:
    here = shared_group_members().c
    return sa.delete(shared_group_members()).where(
        here.host == sa.bindparam("host"),
        here.name == sa.bindparam("name"),
        here.account == sa.bindparam("account"),
    )


class SharedGroups:
    """The groups of all hosts."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def all(self) -> dict[tuple[str, str], list[str]]:
        """The bare JIDs of the members by (host, name), all in order."""
        groups: dict[tuple[str, str], list[str]] = {}
        for host, name, account in await self._database.fetch(all_memberships):
            members = groups.setdefault((host, name), [])
            if account is not None:
                members.append(account)
        return groups

    async def add(self, host: str, name: str) -> None:
        """Make a group without members.

        Raises: GroupExists.
        """
        try:
            await self._database.execute(insert_group, host=host, name=name)
        except DatabaseConflict as conflict:
            raise GroupExists(name) from conflict

    async def delete(self, host: str, name: str) -> bool:
        """Remove a group; False when there was none."""
        return await self._database.execute(delete_group, host=host, name=name) > 0

    async def join(self, host: str, name: str, account: str) -> bool:
        """Put an account into a group; False when it was in it.

        Raises: NoSuchMember.
        """
        try:
            return await self._database.execute(insert_member, account=account, host=host, name=name) > 0
        except DatabaseConflict as conflict:
            raise NoSuchMember(account) from conflict

    async def leave(self, host: str, name: str, account: str) -> bool:
        """Take an account out of a group; False when it was not in it."""
        return await self._database.execute(delete_member, host=host, name=name, account=account) > 0
