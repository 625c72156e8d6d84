"""Accounts as log-in and delivery see them: whether they exist, and the keys they log in with.

Security: what a stranger can ask about, an unknown account answers like a known one: with decoy keys that are the same
for a name each time.
"""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from chatrix.store.accounts import Accounts as AccountStore
from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.sasl.keys import MIN_ITERATIONS, Decoys, Hash, ScramKeys

KNOWN_KEPT = 20_000
SECRET_OCTETS = 32


class Accounts:
    """The accounts of all hosts."""

    def __init__(self, store: AccountStore, secret: bytes) -> None:
        self.store = store
        self.decoys = Decoys(secret, MIN_ITERATIONS)
        self._known: OrderedDict[str, None] = OrderedDict()
        "Bare JIDs of accounts that exist; bounded, the oldest are forgotten."

    async def exists(self, jid: JID) -> bool:
        """Whether there is an account of this (bare or full) JID."""
        key = str(jid.bare)
        if key in self._known:
            return True
        exists = await self.store.exists(jid.local, jid.domain)
        if exists:
            self._known[key] = None
            if len(self._known) > KNOWN_KEPT:
                self._known.popitem(last=False)
        return exists

    async def keys(self, jid: JID, hashes: Iterable[Hash]) -> ScramKeys | None:
        """The account's keys for the first of these hashes that it has any for."""
        found = None
        # As many reads for an account that exists as for one that does not: each may be a round trip (threat A7).
        for hash_name in hashes:
            keys = await self.store.keys_of(jid.local, jid.domain, hash_name)
            found = found or keys
        return found

    async def check_enabled(self, jid: JID) -> None:
        """Whoever has shown the right password may still not be let in.

        Raises:
            SASLError: account-disabled; not-authorized when the account was deleted meanwhile.

        Source: RFC 6120 section 6.5.2.
        """
        account = await self.store.get(jid.local, jid.domain)
        if account is None:
            raise SASLError("not-authorized")
        if account.disabled:
            raise SASLError("account-disabled")

    def forget(self, jid: JID) -> None:
        """An account was deleted."""
        self._known.pop(str(jid.bare), None)


def server_secret(path: Path) -> bytes:
    """The server's own secret, made on first use; decoy keys are derived from it.

    Raises:
        ValueError: the file is not what it should be.
    """
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        secret = secrets.token_bytes(SECRET_OCTETS)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
    if len(secret) < SECRET_OCTETS:
        raise ValueError(f"{path} should hold a secret of {SECRET_OCTETS} octets; delete it to have a new one made")
    return secret
