"""Accounts changed straight in the database, whether the server runs or not; what is behind `chatrixctl user`."""

import os
import pwd
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react

import chatrix.store.database
import twisted
from chatrix.admin.errors import AdminError
from chatrix.config.load import Config
from chatrix.config.problems import nearest
from chatrix.interfaces import IDatabase
from chatrix.store.accounts import AccountExists, Accounts, NoSuchAccount
from chatrix.store.database import DatabaseError, DatabaseOutdated, open_database
from chatrix.store.tiers import Tiers
from chatrix.xmpp.jid import JID, InvalidJID
from chatrix.xmpp.sasl.keys import ScramKeys, derive_all
from chatrix.xmpp.sasl.saslprep import InvalidPassword

Result = TypeVar("Result")

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without those that are taken for each other: 32 of them, so that a letter is worth 5 bits."""


def in_accounts(config: Config, work: Callable[[Accounts], Awaitable[Result]]) -> Result:
    """Do some work with the accounts; as `in_database`."""
    return in_database(config, lambda database: work(Accounts(database)))


def in_database(config: Config, work: Callable[[IDatabase], Awaitable[Result]]) -> Result:
    """Open the database, do some work in it, and close it. Runs the reactor, so only once in a process.

    Raises: AdminError, also for whatever the database has against it.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    async def do(reactor: Any) -> None:
        try:
            async with _opened(config, reactor) as database:
                results.append(await work(database))
        except Exception as error:
            errors.append(error)

    # SystemExit is how react() ends, always.
    with suppress(SystemExit):
        react(lambda reactor: Deferred.fromCoroutine(do(reactor)))
    for error in errors:
        if isinstance(error, DatabaseOutdated):
            raise AdminError(f"{error} (chatrixctl -c {config.path} migrate)") from None
        if isinstance(error, DatabaseError):
            raise AdminError(str(error)) from None
        raise error
    if not results:
        raise AdminError("interrupted")
    return results[0]


@asynccontextmanager
async def _opened(config: Config, reactor: Any) -> AsyncIterator[IDatabase]:
    database = open_database(config.chatrix.database, str(config.chatrix.state), reactor)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


def become_owner(state: Path) -> None:
    """As root, go on as the user whose folder this is: files that root makes there would lock the server out.

    Nothing for others, for a folder that is root's own, and for one that does not exist yet.

    Raises: AdminError when that user cannot even read this program.
    """
    if os.geteuid() != 0 or not state.exists():
        return
    owner = state.stat()
    if owner.st_uid == 0:
        return
    name = str(owner.st_uid)
    try:
        user = pwd.getpwuid(owner.st_uid)
    except KeyError:
        os.setgroups([owner.st_gid])
    else:
        name = user.pw_name
        os.initgroups(name, owner.st_gid)
        os.environ["HOME"] = user.pw_dir  # PostgreSQL's password may be in .pgpass there
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    # Python's own library, that of the virtual environment, and ours: more of each is imported later.
    for module in (os, twisted, chatrix.store.database):
        if not os.access(str(module.__file__), os.R_OK):
            raise AdminError(f"{state} belongs to {name}, who cannot read this program in {module.__file__}")


def account_jid(text: str, config: Config) -> JID:
    """The bare JID of an account on one of our hosts.

    Raises: AdminError when it is not.
    """
    try:
        jid = JID.parse(text)
    except InvalidJID as error:
        raise AdminError(f"{text!r} is not an address: {error}") from None
    if not jid.local or jid.resource:
        raise AdminError(f"{text!r} is not the address of an account, such as juliet@{next(iter(config.hosts))}")
    known_host(jid.domain, config, f"{jid.local}@")
    return jid


def known_host(domain: str, config: Config, before: str = "") -> str:
    """The domain as the ini has it; `before` is what stands before it in a guess.

    Raises: AdminError when it is not one of our hosts.
    """
    if domain in config.hosts:
        return domain
    guess = nearest(domain, config.hosts)
    hint = f'; did you mean "{before}{guess}"?' if guess else ""
    raise AdminError(f"{domain} is not a host of {config.path}{hint}")


def keys_for(password: str) -> tuple[ScramKeys, ...]:
    """What is kept of a password; takes some milliseconds.

    Raises: AdminError when it cannot be a password.
    """
    try:
        return derive_all(password)
    except InvalidPassword as error:
        raise AdminError(f"this cannot be a password: {error}") from None


def new_password() -> str:
    """A random password of 80 bits that can be read out on the telephone."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(16))
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))


async def add(accounts: Accounts, jid: JID, keys: tuple[ScramKeys, ...]) -> None:
    """Make an account.

    Raises: AdminError when it exists.
    """
    try:
        await accounts.create(jid.local, jid.domain, keys)
    except AccountExists:
        raise AdminError(f"{jid} exists already") from None


async def delete(accounts: Accounts, jid: JID) -> None:
    """Remove an account and all it owns.

    Raises: AdminError when there is none.
    """
    if not await accounts.delete(jid.local, jid.domain):
        raise AdminError(f"there is no account {jid}")


async def set_password(accounts: Accounts, jid: JID, keys: tuple[ScramKeys, ...]) -> None:
    """Replace an account's password.

    Raises: AdminError when there is no such account.
    """
    try:
        await accounts.replace_keys(jid.local, jid.domain, keys)
    except NoSuchAccount:
        raise AdminError(f"there is no account {jid}") from None


async def disable(accounts: Accounts, jid: JID, disabled: bool) -> None:
    """Shut an account out, or let it in again.

    Raises: AdminError when there is no such account.
    """
    try:
        await accounts.set_disabled(jid.local, jid.domain, disabled)
    except NoSuchAccount:
        raise AdminError(f"there is no account {jid}") from None


async def set_tier(tiers: Tiers, jid: JID, tier: str) -> None:
    """Put an account into a tier, or with "" into none.

    Raises: AdminError when there is no such account.
    """
    try:
        await tiers.set(str(jid), tier)
    except NoSuchAccount:
        raise AdminError(f"there is no account {jid}") from None


async def every(accounts: Accounts, host: str) -> AsyncIterator[str]:
    """The addresses of all accounts of a host, in order, a page at a time."""
    after = ""
    while page := await accounts.list(host, after):
        for account in page:
            yield account.jid + (" (disabled)" if account.disabled else "")
        after = page[-1].localpart
