"""The server: what belongs together in one process, and the life of sessions and modules.

Made by `chatrix.tap`, and in memory by `chatrix.testing.host`. It knows no sockets: doors bind streams to it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any, TypeVar

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from chatrix.config.load import Config
from chatrix.hooks import Hooks, IQMark, Target, Verdict, walk
from chatrix.interfaces import IDatabase
from chatrix.server.account import Accounts
from chatrix.server.background import in_background
from chatrix.server.capabilities import Capabilities
from chatrix.server.commands import CommandTable
from chatrix.server.directory import Account, Directory
from chatrix.server.events import AccountDeleted, SessionBound, SessionEnded
from chatrix.server.host import Host
from chatrix.server.iq import Requests
from chatrix.server.last_seen import LastSeen
from chatrix.server.limits import Connections, Failures
from chatrix.server.rosters import Roster, Rosters
from chatrix.server.router import Router
from chatrix.server.session import Session, Stream
from chatrix.server.tiers import Tiers
from chatrix.store.accounts import Accounts as AccountStore
from chatrix.store.log_ins import LogIns
from chatrix.store.offline import OfflineMessages
from chatrix.xmpp.disco import Identity, info
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError, StreamError
from chatrix.xmpp.jid import JID, InvalidJID
from chatrix.xmpp.namespaces import NS_BIND, NS_SESSION
from chatrix.xmpp.sasl.keys import ScramKeys, derive_all
from chatrix.xmpp.stanza import IQ, Presence

log = Logger(namespace="chatrix.server")

Kind = TypeVar("Kind")

SERVER_IDENTITY = Identity("server", "im", "chatrix")


class Server:
    """Hosts, accounts, sessions, router and modules of one process."""

    def __init__(self, config: Config, database: IDatabase, secret: bytes, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self.database = database
        self.hosts: dict[str, Host] = {}
        "By domain, in the order of the ini; the first is the one that answers a stranger who names no host."
        self.directory = Directory()
        self.accounts = Accounts(AccountStore(database), secret)
        self.router = Router(self.directory, self.accounts)
        self.requests = Requests(self.router.route, reactor)
        self.router.iq_table.replied = self.requests.replied
        self.capabilities = Capabilities(self.requests)
        self.rosters = Rosters(database, self.directory)
        self.offline = OfflineMessages(database)
        self.log_ins = LogIns(database)
        self.last_seen = LastSeen(database)
        self.tiers = Tiers(database)
        self.hooks = Hooks()
        self.commands = CommandTable()
        self.modules: dict[str, Any] = {}
        "By word, in the order of the ini."
        self.configured = 0
        "How often the ini was taken; what was made from it is old when this has grown."
        for kind, payload, answer in (
            ("set", (NS_SESSION, "session"), self._start_session),
            ("set", (NS_BIND, "bind"), self._refuse_bind),
        ):
            mark = IQMark(kind, payload, (Target.OWN_ACCOUNT, Target.HOST))
            self.router.iq_table.add("the server itself", answer, mark)
        self._opening: dict[str, set[Stream]] = {}
        "Streams that log in, by the account they name; as many as there are connections before log-in."
        self.connections = Connections(0, 0)
        self.failures = Failures(0, 0)
        self.hashing = DeferredSemaphore(max(1, len(os.sched_getaffinity(0)) - 1))
        "Passwords hashed at a time: one processor is left for everybody else."
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take what an ini says that can change while the server runs."""
        self.config = config
        self.configured += 1
        self.limits = config.limits
        self.tiers.configure(config)
        self.connections.per_origin = config.limits.connections_per_address
        self.connections.in_all = config.limits.connection_ceiling
        self.failures.most = config.limits.auth_failures
        self.failures.ban = config.limits.ban_time
        self.hosts = {domain: Host(domain, options) for domain, options in config.hosts.items()}
        for domain in self.hosts:
            self.directory.serve(domain)

    # Modules

    def module(self, kind: type[Kind]) -> Kind | None:
        """The module of this class, if it is enabled."""
        return next((module for module in self.modules.values() if isinstance(module, kind)), None)

    def features(self) -> list[str]:
        """What disco#info says of a host of ours, besides the modules' identities."""
        return sorted({feature for module in self.modules.values() for feature in module.features})

    def account_features(self) -> list[str]:
        """What disco#info says of an account of ours."""
        return sorted({feature for module in self.modules.values() for feature in module.account_features})

    def stream_features(self, domain: str = "") -> Iterator[Element]:
        """What the modules advertise on a stream that is logged in, to this host of ours if one is named."""
        host = self.hosts.get(domain)
        for module in self.modules.values():
            yield from module.stream_features()
            if host is not None:
                yield from module.host_features(host)

    def info(self, host: Host, node: str = "") -> Element:
        """What disco#info of a host of ours says, for a node that stands for the host itself if one is named."""
        forms = [form for module in self.modules.values() for form in module.forms(host)]
        return info((SERVER_IDENTITY,), self.features(), forms, node)

    def occurred(self, fact: object) -> None:
        """Tell the modules a fact, such as `SessionBound`."""
        steps = self.hooks.steps(type(fact))
        if not steps:
            return
        try:
            result = walk(steps, fact)
        except StanzaError:
            return
        if result is not None and not isinstance(result, Verdict):
            in_background(result, f"acting on {type(fact).__name__}")

    # Sessions

    def _start_session(self, request: IQ) -> None:
        """RFC 3921's session, which old clients ask for and which means nothing (RFC 6121 appendix E)."""

    def _refuse_bind(self, request: IQ) -> None:
        raise StanzaError("cancel", "not-allowed", "a resource is bound already")

    def bind(self, account_jid: JID, wanted: str, stream: Stream) -> Session:
        """Bind a resource of an account to a stream; `wanted` is what the client asks for, or "".

        Raises:
            StanzaError: bad-request, conflict, resource-constraint (RFC 6120 section 7.7.2).
            StreamError: host-gone, for a host that left the ini since the client logged in.
        """
        if account_jid.domain not in self.hosts:
            raise StreamError("host-gone")
        try:
            jid = account_jid.with_resource(wanted or secrets.token_urlsafe(9))
        except InvalidJID:
            raise StanzaError("modify", "bad-request", "not a resource") from None
        account = self.directory.enter(jid)
        existing = account.sessions.get(jid.resource)
        if existing is not None:
            policy = self.hosts[jid.domain].options.conflict
            if policy == "refuse":
                raise StanzaError("cancel", "conflict")
            if policy == "rename":
                jid = account_jid.with_resource(secrets.token_urlsafe(9))
            else:
                existing.stream.close(StreamError("conflict", "replaced by a new session"))
                account = self.directory.enter(jid)
        limit = self.tiers.sessions(account_jid)
        if len(account.sessions) >= limit.most:
            raise StanzaError("wait", "resource-constraint", f"an account has at most {limit} sessions")
        session = Session(jid, account, stream, self.router)
        self.directory.add(session)
        return session

    def bound(self, session: Session) -> None:
        """The client was told its JID: the session may be used."""
        self.occurred(SessionBound(session))

    def end(self, session: Session) -> None:
        """A session's stream is closing or gone; called once or more."""
        if self.directory.remove(session):
            presence, session.presence = session.presence, None
            self.rosters.leave(session.account)
            self.requests.gone(session.jid)
            self.occurred(SessionEnded(session, presence))

    async def new_keys(self, password: str) -> tuple[ScramKeys, ...]:
        """What is kept of a new password.

        Raises:
            InvalidPassword
        """
        keys: tuple[ScramKeys, ...] = await self.hashing.run(deferToThread, derive_all, password)
        return keys

    async def delete_account(self, jid: JID) -> bool:
        """Delete an account with all it owns, and tell its contacts; False when there was none."""
        roster = await self.rosters.of(jid)
        if not await self.accounts.store.delete(jid.local, jid.domain):
            return False
        self.account_deleted(jid)
        for presence in _farewells(roster) if roster is not None else ():
            self.router.send_answer(presence)
        return True

    async def disable_account(self, jid: JID) -> None:
        """Shut an account out, and close its sessions.

        Raises:
            NoSuchAccount
        """
        await self.accounts.store.set_disabled(jid.local, jid.domain, True)
        self.end_sessions(jid, StreamError("not-authorized", "the account was disabled"))

    def account_deleted(self, jid: JID) -> None:
        """An account was deleted from the database: close its sessions, tell the modules."""
        self.accounts.forget(jid)
        self.tiers.forget(jid)
        self.end_sessions(jid, StreamError("not-authorized", "the account was deleted"))
        # After the sessions, which leave their roster behind: whoever gets the name next must not find it.
        self.rosters.forget(jid)
        self.occurred(AccountDeleted(jid.bare))

    def logging_in(self, jid: JID, stream: Stream) -> None:
        """A stream names this account to log in; until it has a session, it ends with the account's sessions."""
        self._opening.setdefault(str(jid.bare), set()).add(stream)

    def not_logging_in(self, jid: JID, stream: Stream) -> None:
        """A stream has a session now, is gone, or names another account."""
        streams = self._opening.get(str(jid.bare), set())
        streams.discard(stream)
        if not streams:
            self._opening.pop(str(jid.bare), None)

    def end_sessions(self, jid: JID, error: StreamError) -> None:
        """Close all sessions of an account, and what is about to become one."""
        for stream in list(self._opening.get(str(jid.bare), ())):
            stream.close(error)
        account = self.directory.account(jid)
        if account is not None:
            _close(account, error)

    def close_host(self, domain: str) -> None:
        """A host is gone from the ini: close its sessions."""
        for account in list(self.directory.hosts.pop(domain, {}).values()):
            _close(account, StreamError("host-gone"))

    def close_all(self, error: StreamError) -> None:
        """Close all sessions, because the server stops."""
        for session in self.directory:
            session.stream.close(error)


def _farewells(roster: Roster) -> Iterator[Presence]:
    """What ends all subscriptions of a deleted account, both ways (RFC 6121 sections 3.2 and 3.3)."""
    account = str(roster.jid)
    for item in roster.items.values():
        attributes = {"from": account, "to": item.jid}
        if item.subscription in ("to", "both") or item.ask:
            yield Presence({**attributes, "type": "unsubscribe"})
        if item.subscription in ("from", "both"):
            yield Presence({**attributes, "type": "unsubscribed"})
    for contact in roster.requests:
        yield Presence({"from": account, "to": contact, "type": "unsubscribed"})


def _close(account: Account, error: StreamError) -> None:
    for session in list(account.sessions.values()):
        session.stream.close(error)
