"""Accounts for tests, straight in the database."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatrix.store.accounts import Accounts
from chatrix.store.database import open_database
from chatrix.xmpp.jid import JID
from chatrix.xmpp.sasl.keys import ScramKeys, derive_all


async def add_accounts(url: str, state: Path, accounts: Iterable[tuple[str, str]], reactor: Any) -> None:
    """Make accounts, given as (bare JID, password), beside a server that may be running.

    Raises: chatrix.store.database.DatabaseError; chatrix.store.accounts.AccountExists.
    """
    database = open_database(url, str(state), reactor)
    await database.open()
    try:
        for text, password in accounts:
            jid = JID.parse(text)
            await Accounts(database).create(jid.local, jid.domain, _keys(password))
    finally:
        await database.close()


@lru_cache(maxsize=32)
def _keys(password: str) -> tuple[ScramKeys, ...]:
    """Derive the keys once for each password: a server would draw fresh salts, a test need not wait for them."""
    return derive_all(password)
