"""When an account was last seen: noted when a session becomes unavailable, written once when it ends.

Source: RFC 6121 section 4.3.2, XEP-0012 section 3.
"""

from __future__ import annotations

from typing import Final

from chatrix.interfaces import IDatabase
from chatrix.server.directory import Account
from chatrix.server.session import Session
from chatrix.store.ids import microseconds
from chatrix.store.last_activity import LastActivities, LastActivity
from chatrix.xmpp.element import serialise
from chatrix.xmpp.stanza import Presence

LONGEST_STATUS: Final = 4096
"""Octets of the `<status/>` elements; longer ones are not kept."""


class LastSeen:
    """The last unavailable presence of all accounts; filled by the module `last`."""

    def __init__(self, database: IDatabase) -> None:
        self._store = LastActivities(database)
        self.in_use = False
        "Whether anybody fills it; else there is nothing to look for."
        self._leaving: dict[str, LastActivity] = {}
        "What is on its way into the database, by account; bounded by the batch that takes it there."

    def became_unavailable(self, session: Session, presence: Presence) -> None:
        """A session said goodbye; it may come back, so nothing is written yet."""
        statuses = b"".join(serialise(child) for child in presence.tree if child.tag == "status")
        activity = LastActivity(microseconds(), statuses if len(statuses) <= LONGEST_STATUS else b"")
        session.keep(LastSeen, activity)
        session.account.keep(LastSeen, activity)

    async def ended(self, session: Session, presence: Presence | None) -> None:
        """A session ended; `presence` is the last that it had broadcast, if it had not taken it back.

        One that was never available was not seen, and does not count.
        """
        activity: LastActivity | None = session.state(LastSeen)
        if presence is not None:
            activity = LastActivity(microseconds())
        if activity is not None:
            session.account.keep(LastSeen, activity)
            account = str(session.account.jid)
            self._leaving[account] = activity
            try:
                await self._store.note(account, activity)
            finally:
                if self._leaving.get(account) is activity:
                    del self._leaving[account]

    async def of(self, account: Account) -> LastActivity | None:
        """When an account became unavailable; None when it never was there. Means nothing while it is available."""
        current: LastActivity | None = account.state(LastSeen) or self._leaving.get(str(account.jid))
        if current is not None or not self.in_use:
            return current
        return await self._store.get(str(account.jid))
