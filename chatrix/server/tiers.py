"""What an account may use: the limits of its tier, or those of everybody.

The names of the tiers are kept in memory, of those accounts that have one: an admin gives them out, so their number is
not for strangers to raise, and no limit costs a read.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from chatrix.config.load import Config
from chatrix.config.sections import LimitOptions
from chatrix.config.tiers import TierOptions
from chatrix.interfaces import IDatabase
from chatrix.store.tiers import Tiers as TierStore
from chatrix.xmpp.jid import JID

_NO_TIER = TierOptions()


class Limit(NamedTuple):
    """How much an account may have of something; its text is for the account's user."""

    most: int
    tier: str
    "The name of the account's tier, when it says something about this; else empty."

    def __str__(self) -> str:
        return f"{self.most} (tier {self.tier})" if self.tier else str(self.most)


class Tiers:
    """The tiers of all accounts, and what they grant."""

    def __init__(self, database: IDatabase) -> None:
        self.store = TierStore(database)
        self._names: dict[str, str] = {}
        "By bare JID."
        self._tiers: Mapping[str, TierOptions] = {}
        self._limits = LimitOptions()

    def configure(self, config: Config) -> None:
        """Take what the ini says of tiers, and of everybody."""
        self._tiers = config.tiers
        self._limits = config.limits

    async def load(self) -> None:
        """Learn who has which tier, when the server starts."""
        self._names = {account: sys.intern(tier) for account, tier in (await self.store.all()).items()}

    async def refresh(self, jid: JID) -> None:
        """Somebody gave an account a tier, or took it, or deleted the account."""
        tier = await self.store.of(str(jid.bare))
        if tier:
            self._names[str(jid.bare)] = sys.intern(tier)
        else:
            self.forget(jid)

    def forget(self, jid: JID) -> None:
        """An account was deleted."""
        self._names.pop(str(jid.bare), None)

    def name_of(self, jid: JID) -> str:
        """The account's tier: empty when it has none, or one that the ini does not know (any more)."""
        name = self._names.get(str(jid.bare), "") if self._names else ""
        return name if name in self._tiers else ""

    def sessions(self, jid: JID) -> Limit:
        """Clients of the account at the same time."""
        name = self.name_of(jid)
        return _limit(name, self._tiers.get(name, _NO_TIER).sessions, self._limits.sessions_per_account)

    def roster_items(self, jid: JID) -> Limit:
        """Contacts in the account's roster."""
        name = self.name_of(jid)
        return _limit(name, self._tiers.get(name, _NO_TIER).roster_items, self._limits.roster_items)

    def offline_messages(self, jid: JID, otherwise: int) -> Limit:
        """Messages kept for the account; `otherwise` is what the one who keeps them grants everybody."""
        name = self.name_of(jid)
        return _limit(name, self._tiers.get(name, _NO_TIER).offline_messages, otherwise)

    def storage(self, jid: JID, otherwise: int) -> Limit:
        """Octets that the account's clients may keep; `otherwise` is what the one who keeps them grants everybody."""
        name = self.name_of(jid)
        return _limit(name, self._tiers.get(name, _NO_TIER).storage, otherwise)


def _limit(name: str, granted: int | None, otherwise: int) -> Limit:
    return Limit(otherwise, "") if granted is None else Limit(granted, name)
