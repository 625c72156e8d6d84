"""Roster groups that an admin defines: their members are each other's contacts, with subscription both.

A group is one object, whoever looks at it: a roster holds the groups that its account is in, never a copy of their
members. Groups do not change; a group with other members is another object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from chatrix.interfaces import IDatabase
from chatrix.store.shared_groups import SharedGroups as SharedGroupStore


class SharedGroup:
    """One group of one host."""

    __slots__ = ("digest", "members", "name")

    def __init__(self, name: str, members: Iterable[str]) -> None:
        self.name = name
        self.members = dict.fromkeys(members)
        "Bare JIDs, in order."
        self.digest = hashlib.sha256("\0".join((name, *self.members)).encode()).digest()
        "What tells whether somebody who saw the group long ago has seen this one."


class SharedGroups:
    """All groups of all hosts, in memory: as many as admins have defined."""

    def __init__(self, database: IDatabase) -> None:
        self.store = SharedGroupStore(database)
        self._groups: Mapping[tuple[str, str], SharedGroup] = {}
        "By (host, name)."
        self._of: dict[str, tuple[SharedGroup, ...]] = {}
        "The groups that an account is in, by its bare JID."

    def of(self, account: str) -> tuple[SharedGroup, ...]:
        """The groups of an account; none for most."""
        return self._of.get(account, ())

    def names(self, host: str) -> list[str]:
        """The names of a host's groups."""
        return [name for domain, name in self._groups if domain == host]

    def members(self, host: str, name: str) -> list[str] | None:
        """The bare JIDs in a group, None when the host has no such group."""
        group = self._groups.get((host, name))
        return None if group is None else list(group.members)

    async def read(self) -> dict[tuple[str, str], SharedGroup]:
        """The groups as the database has them now; those that did not change are the same objects."""
        groups = {}
        for key, members in (await self.store.all()).items():
            group = self._groups.get(key)
            same = group is not None and list(group.members) == members
            groups[key] = group if group is not None and same else SharedGroup(key[1], members)
        return groups

    def take(self, groups: Mapping[tuple[str, str], SharedGroup]) -> dict[str, list[Collection[str]]]:
        """Let these be the groups. Returns the contacts that are, or were, seen otherwise, by account."""
        affected: dict[str, list[Collection[str]]] = {}
        for key in {**self._groups, **groups}:
            old, new = self._groups.get(key), groups.get(key)
            if old is new:
                continue
            before = old.members if old is not None else {}
            after = new.members if new is not None else {}
            changed = before.keys() ^ after.keys()
            for account in {**before, **after}:
                contacts: Collection[str] = changed
                if account in changed:
                    contacts = after if account in after else before
                affected.setdefault(account, []).append(contacts)
        self._groups = groups
        of: dict[str, list[SharedGroup]] = {}
        for group in groups.values():
            for account in group.members:
                of.setdefault(account, []).append(group)
        self._of = {account: tuple(theirs) for account, theirs in of.items()}
        return affected
