"""Rosters in memory: read once per session or rare need, changed under a lock, written before anybody is told.

What an account keeps of a contact (`items`) and what it sees of him (`visible`) differ for the members of the shared
groups that it is in: those are contacts with subscription both, whatever the account's own item says.

Source: RFC 6121 section 2.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock

from chatrix.interfaces import IDatabase
from chatrix.server.directory import Account, Directory
from chatrix.server.session import Session
from chatrix.server.shared_groups import SharedGroup, SharedGroups
from chatrix.store.accounts import NoSuchAccount
from chatrix.store.roster import RosterItem, SubscriptionRequest
from chatrix.store.roster import Rosters as RosterStore
from chatrix.xmpp.element import Element
from chatrix.xmpp.jid import JID
from chatrix.xmpp.namespaces import NS_ROSTER
from chatrix.xmpp.stanza import IQ, Stanza
from chatrix.xmpp.subscription import State, state_of

ROSTERS_KEPT = 2000

__all__ = ["Roster", "RosterItem", "Rosters"]


class Roster:
    """The contacts of one account, and who waits for its answer. Changed by `Rosters` alone."""

    __slots__ = ("groups", "items", "jid", "lock", "requests", "version")

    def __init__(self, jid: JID, version: int) -> None:
        self.jid = jid
        self.version = version
        self.items: dict[str, RosterItem] = {}
        "By text of the contact's bare JID."
        self.requests: dict[str, bytes] = {}
        "The whole stanza of each subscription request that waits, by text of the bare JID of who asks."
        self.groups: tuple[SharedGroup, ...] = ()
        "The shared groups that the account is in."
        self.lock = DeferredLock()

    @property
    def ver(self) -> str:
        """The version as clients know it (RFC 6121 section 2.6): the roster's own, and that of the shared groups."""
        return self.ver_at(self.version)

    def ver_at(self, version: int) -> str:
        """The same for an earlier version of the account's own items."""
        return f"{version}-{self.shared_ver}" if self.groups else str(version)

    @property
    def shared_ver(self) -> str:
        """What changes with the shared groups; empty when there are none."""
        return hashlib.sha256(b"".join(group.digest for group in self.groups)).hexdigest()[:16] if self.groups else ""

    def shared_with(self, contact: str) -> list[str]:
        """The names of the shared groups that a contact, by the text of its bare JID, and the account are both in."""
        if not self.groups or contact == str(self.jid):
            return []
        return [group.name for group in self.groups if contact in group.members]

    def visible(self, contact: str) -> RosterItem | None:
        """A contact as the account's clients see it; None when they do not."""
        item = self.items.get(contact)
        shared = self.shared_with(contact)
        if not shared:
            return item
        item = item or RosterItem(str(self.jid), contact)
        groups = tuple(dict.fromkeys((*item.groups, *shared)))
        return dataclasses.replace(item, subscription="both", ask=False, groups=groups)

    def visible_items(self) -> Iterator[RosterItem]:
        """All contacts as the account's clients see them."""
        if not self.groups:
            yield from self.items.values()
            return
        for contact in {**self.items, **dict.fromkeys(self._members())}:
            item = self.visible(contact)
            if item is not None:
                yield item

    def _members(self) -> list[str]:
        """Those who are in a shared group with the account."""
        own = str(self.jid)
        return [member for group in self.groups for member in group.members if member != own]

    def state(self, contact: JID) -> State:
        """The subscription between the account and a contact."""
        key = str(contact.bare)
        if self.groups and self.shared_with(key):
            return State.BOTH
        item = self.items.get(key)
        asked = key in self.requests
        return state_of("none", False, asked) if item is None else state_of(item.subscription, item.ask, asked)

    def lets_see(self, contact: JID) -> bool:
        """Whether a contact, or the account itself, may see the account's presence."""
        key = str(contact.bare)
        item = self.items.get(key)
        if item is not None and item.subscription in ("from", "both"):
            return True
        return contact.bare == self.jid or (bool(self.groups) and bool(self.shared_with(key)))

    @property
    def subscribers(self) -> list[str]:
        """Bare JIDs of those who get the account's presence."""
        own = [item.jid for item in self.items.values() if item.subscription in ("from", "both")]
        return list(dict.fromkeys((*own, *self._members()))) if self.groups else own

    @property
    def subscriptions(self) -> list[str]:
        """Bare JIDs of those whose presence the account gets."""
        own = [item.jid for item in self.items.values() if item.subscription in ("to", "both")]
        return list(dict.fromkeys((*own, *self._members()))) if self.groups else own


class Rosters:
    """All rosters: those of connected accounts lie with their account, a bounded number of others here."""

    def __init__(self, database: IDatabase, directory: Directory) -> None:
        self.store = RosterStore(database)
        self.shared = SharedGroups(database)
        self._regrouping = DeferredLock()
        self._directory = directory
        self._recent: OrderedDict[str, Roster] = OrderedDict()
        self._pairs: dict[frozenset[str], DeferredLock] = {}

    def known(self, account: Account) -> Roster | None:
        """The roster of an account if it is in memory."""
        roster = account.state(Roster)
        if roster is None:
            roster = self._recent.pop(str(account.jid), None)
            if roster is not None:
                self._remember(account, roster)
        return roster

    async def of(self, jid: JID) -> Roster | None:
        """The roster of an account, None when there is no such account."""
        account = self._directory.account(jid) or Account(jid.bare)
        roster = self.known(account)
        if roster is not None:
            return roster
        try:
            stored = await self.store.load(str(account.jid))
        except NoSuchAccount:
            return None
        # While the database was asked, somebody else may have got the answer, and changed it.
        account = self._directory.account(jid) or account
        roster = self.known(account)
        if roster is None:
            roster = Roster(account.jid, stored.version)
            roster.items = {item.jid: item for item in stored.items}
            roster.requests = {request.jid: request.stanza for request in stored.requests}
            roster.groups = self.shared.of(str(account.jid))
            self._remember(account, roster)
        return roster

    def _remember(self, account: Account, roster: Roster) -> None:
        if account.sessions:
            account.keep(Roster, roster)
            return
        self._recent[str(account.jid)] = roster
        if len(self._recent) > ROSTERS_KEPT:
            # One that is being changed must stay, or there would be two of it.
            free = next((key for key, kept in self._recent.items() if not kept.lock.locked), None)
            if free is not None:
                del self._recent[free]

    def leave(self, account: Account) -> None:
        """The last session of an account ended: its roster is one of many again."""
        roster = account.state(Roster)
        if roster is not None and not account.sessions:
            self._remember(account, roster)

    def forget(self, jid: JID) -> None:
        """An account was deleted."""
        self._recent.pop(str(jid.bare), None)

    async def regroup(self) -> list[tuple[JID, str, bool]]:
        """Read the shared groups anew, and push to every account what it sees otherwise now.

        Returns whose presence is for whom now, and whose is not any more: (account, contact, whether it is).
        """
        await self._regrouping.acquire()
        try:
            groups = await self.shared.read()
            affected = self.shared.take(groups)
            pushes: list[tuple[Roster, list[str]]] = []
            presences: list[tuple[JID, str, bool]] = []
            for text, contacts in affected.items():
                jid = JID.parse(text)
                # Whoever has no roster in memory has neither seen one nor sent presence by it.
                roster = self.known(self._directory.account(jid) or Account(jid))
                if roster is None:
                    continue
                everybody = dict.fromkeys(contact for some in contacts for contact in some if contact != text)
                before = {contact: (roster.visible(contact), roster.state(JID.parse(contact))) for contact in everybody}
                roster.groups = self.shared.of(text)
                changed = [contact for contact, (item, _) in before.items() if roster.visible(contact) != item]
                pushes.append((roster, changed))
                for contact in changed:
                    sees = roster.state(JID.parse(contact)).sends
                    if sees != before[contact][1].sends:
                        presences.append((jid, contact, sees))
            for roster, changed in pushes:
                async with self.changing(roster.jid):
                    for contact in changed:
                        gone = RosterItem(str(roster.jid), contact, subscription="remove")
                        self._push(roster, roster.items.get(contact, gone))
            return presences
        finally:
            self._regrouping.release()

    @asynccontextmanager
    async def changing(self, jid: JID) -> AsyncIterator[Roster | None]:
        """The roster of an account, for one who changes it: nobody else does meanwhile."""
        roster = await self.of(jid)
        if roster is None:
            yield None
            return
        await roster.lock.acquire()
        try:
            yield roster
        finally:
            roster.lock.release()

    @asynccontextmanager
    async def between(self, one: JID, other: JID) -> AsyncIterator[None]:
        """The time in which one stanza about the subscription between two accounts of ours has all its effects.

        With it two rosters on this server never disagree: no answer overtakes what came after the question. Begun
        before `changing` the roster of either, never inside; for a contact elsewhere it is nothing.
        """
        if not (self._directory.serves(one.domain) and self._directory.serves(other.domain)):
            yield
            return
        pair = frozenset((str(one.bare), str(other.bare)))
        lock = self._pairs.setdefault(pair, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked and self._pairs.get(pair) is lock:
                del self._pairs[pair]

    async def save(self, roster: Roster, item: RosterItem) -> None:
        """Keep a new or changed item and push it; called while `changing`."""
        if roster.groups:
            # A client sends back what it sees; what it sees because of a shared group is not the account's own.
            shared = roster.shared_with(item.jid)
            item = dataclasses.replace(item, groups=tuple(group for group in item.groups if group not in shared))
        roster.version = await self.store.save(item)
        roster.items[item.jid] = item
        self._push(roster, item)

    async def remove(self, roster: Roster, contact: str) -> None:
        """Remove an item and push that; called while `changing`."""
        version = await self.store.remove(str(roster.jid), contact)
        roster.items.pop(contact, None)
        if version is not None:
            roster.version = version
        self._push(roster, RosterItem(str(roster.jid), contact, subscription="remove"))

    async def keep_request(self, roster: Roster, contact: JID, stanza: Stanza) -> bool:
        """Keep a subscription request until it is answered; False when too many wait already."""
        raw = stanza.to_bytes()
        kept = await self.store.save_request(SubscriptionRequest(str(roster.jid), str(contact.bare), raw))
        if kept:
            roster.requests[str(contact.bare)] = raw
        return kept

    async def drop_request(self, roster: Roster, contact: JID) -> None:
        """A subscription request was answered or withdrawn."""
        key = str(contact.bare)
        if key in roster.requests:
            await self.store.drop_request(str(roster.jid), key)
            roster.requests.pop(key, None)

    def _push(self, roster: Roster, item: RosterItem) -> None:
        """Tell every session that asked for its roster (RFC 6121 section 2.1.6)."""
        account = self._directory.account(roster.jid)
        visible = roster.visible(item.jid) or item
        for session in account.sessions.values() if account is not None else ():
            if session.interested:
                self.push_to(session, visible, roster.ver)

    def push_to(self, session: Session, item: RosterItem, ver: str) -> None:
        """Tell one session of an item as it is now, in this version of the roster."""
        query = Element(NS_ROSTER, "query", {"ver": ver})
        query.append(self.element(item))
        session.write(IQ.build({"type": "set", "id": secrets.token_hex(8), "to": str(session.jid)}, query))

    @staticmethod
    def element(item: RosterItem) -> Element:
        """A roster item as the account's clients see it (RFC 6121 section 2.1.2)."""
        attributes = {"jid": item.jid, "subscription": item.subscription}
        if item.name:
            attributes["name"] = item.name
        if item.ask:
            attributes["ask"] = "subscribe"
        if item.approved:
            attributes["approved"] = "true"
        element = Element(NS_ROSTER, "item", attributes)
        for group in item.groups:
            element.add(NS_ROSTER, "group", text=group)
        return element
