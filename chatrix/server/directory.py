"""Who is connected: accounts with sessions in this process, by domain and localpart.

The seam for several workers: a directory that also knows the sessions of other workers will answer the same questions
by the `IBus`. With one worker nothing but dictionaries is needed. Keyed by strings, whose hashes Python caches, because
the router asks once per stanza.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from chatrix.xmpp.jid import JID

if TYPE_CHECKING:
    from chatrix.server.session import Session


class Account:
    """One account and its connected sessions.

    Lives in the directory while it has a session; for an account without sessions, or an unknown one, the router makes
    one for the moment, so that modules need not tell the cases apart.
    """

    __slots__ = ("_state", "jid", "sessions")

    def __init__(self, jid: JID) -> None:
        self.jid = jid
        "The bare JID."
        self.sessions: dict[str, Session] = {}
        "By resource, in the order of binding."
        self._state: dict[type, Any] | None = None

    @property
    def available(self) -> list[Session]:
        """The sessions that sent available presence, RFC 6121's available resources."""
        return [session for session in self.sessions.values() if session.presence is not None]

    def state(self, key: type[Any]) -> Any | None:
        """What the owner of the class `key` keeps with this account while it is connected, or None."""
        return None if self._state is None else self._state.get(key)

    def keep(self, key: type[Any], value: Any) -> None:
        """Keep `value` with this account until its last session ends; `key` is a class of the one who keeps it."""
        if self._state is None:
            self._state = {}
        self._state[key] = value


class Directory:
    """All connected accounts of the hosts of this process."""

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Account]] = {}
        "Domain to localpart to account; a domain is here as long as the ini has it, connected accounts or not."
        self.session_count = 0

    def serve(self, domain: str) -> None:
        """Make `domain` a host of ours."""
        self.hosts.setdefault(domain, {})

    def serves(self, domain: str) -> bool:
        """Whether `domain` is a host of ours."""
        return domain in self.hosts

    def account(self, jid: JID) -> Account | None:
        """The connected account of a JID (its resource does not matter), or None."""
        accounts = self.hosts.get(jid.domain)
        return None if accounts is None else accounts.get(jid.local)

    def session(self, jid: JID) -> Session | None:
        """The session of a full JID, or None."""
        account = self.account(jid)
        return None if account is None else account.sessions.get(jid.resource)

    def __iter__(self) -> Iterator[Session]:
        """All sessions."""
        for accounts in list(self.hosts.values()):
            for account in list(accounts.values()):
                yield from list(account.sessions.values())

    def enter(self, jid: JID) -> Account:
        """The account in which a session is about to be bound, made when it is the first."""
        accounts = self.hosts[jid.domain]
        account = accounts.get(jid.local)
        if account is None:
            account = accounts[jid.local] = Account(jid.bare)
        return account

    def add(self, session: Session) -> None:
        """A session was bound; its resource must be free."""
        assert session.jid.resource not in session.account.sessions
        self.hosts[session.jid.domain][session.jid.local] = session.account
        session.account.sessions[session.jid.resource] = session
        self.session_count += 1

    def remove(self, session: Session) -> bool:
        """A session ended; False if it was not (or no more) in the directory."""
        account = session.account
        if account.sessions.get(session.jid.resource) is not session:
            return False
        del account.sessions[session.jid.resource]
        self.session_count -= 1
        if not account.sessions:
            accounts = self.hosts.get(session.jid.domain)
            if accounts is not None and accounts.get(session.jid.local) is account:
                del accounts[session.jid.local]
        return True
