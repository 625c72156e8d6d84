"""Block lists in memory: with a connected account, or among a bounded number of others.

What module `blocking` reads and changes is asked here by all who send on behalf of an account. Without that module no
list is ever known, and nobody is blocked.

Source: XEP-0191 section 6.
"""

from __future__ import annotations

from collections import OrderedDict

from chatrix.server.directory import Account, Directory
from chatrix.xmpp.jid import JID

LISTS_KEPT = 10_000
"""Of accounts that are not connected, or do not exist; the ones not asked for longest are forgotten."""


class Blocklist:
    """Who is blocked by one account; it does not change, there is a new one when items come or go."""

    __slots__ = ("account", "jids")

    def __init__(self, account: JID, jids: frozenset[str]) -> None:
        self.account = account
        "The bare JID of the one who blocks."
        self.jids = jids
        "The items' prepared JIDs. Look here first: almost always there is none."

    def blocks(self, jid: JID) -> bool:
        """Whether the JID, its bare JID or its domain is blocked; one's own account and server never are."""
        jids = self.jids
        if str(jid) not in jids and str(jid.bare) not in jids and jid.domain not in jids:
            return False
        own = self.account
        return jid.bare != own and (jid.local != "" or jid.domain != own.domain)


class Blocklists:
    """The lists that are known."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._recent: OrderedDict[str, Blocklist] = OrderedDict()

    def known(self, account: Account) -> Blocklist | None:
        """The list of an account if it is in memory; `account.state(Blocklist)` is faster where it is there."""
        blocklist: Blocklist | None = account.state(Blocklist)
        if blocklist is not None:
            return blocklist
        key = str(account.jid)
        blocklist = self._recent.get(key)
        if blocklist is not None:
            if account.sessions:
                del self._recent[key]
                account.keep(Blocklist, blocklist)
            else:
                self._recent.move_to_end(key)
        return blocklist

    def of(self, jid: JID) -> Blocklist | None:
        """The list of the account of a JID if it is in memory."""
        return self.known(self._directory.account(jid) or Account(jid.bare))

    def remember(self, blocklist: Blocklist) -> None:
        """This is what an account's list is now."""
        account = self._directory.account(blocklist.account)
        if account is not None and account.sessions:
            account.keep(Blocklist, blocklist)
            return
        self._recent[str(blocklist.account)] = blocklist
        self._recent.move_to_end(str(blocklist.account))
        if len(self._recent) > LISTS_KEPT:
            self._recent.popitem(last=False)

    def leave(self, account: Account) -> None:
        """A session of an account ended: after its last one its list is one of many."""
        blocklist = account.state(Blocklist)
        if blocklist is not None and not account.sessions:
            self.remember(blocklist)

    def forget(self, jid: JID) -> None:
        """An account was deleted."""
        self._recent.pop(str(jid.bare), None)
        account = self._directory.account(jid)
        if account is not None:
            account.keep(Blocklist, None)
