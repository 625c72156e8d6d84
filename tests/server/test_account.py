"""Accounts as log-in and delivery see them."""

import os
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase, TestCase

from chatrix.server import account
from chatrix.server.account import server_secret
from chatrix.store.accounts import NoSuchAccount
from chatrix.xmpp.jid import JID
from chatrix.xmpp.sasl.keys import MIN_ITERATIONS, derive
from tests.inmemory import a_server

JULIET = JID.parse("juliet@example.com")


class Existing(TestCase):
    """`Accounts`."""

    async def test_exists(self) -> None:
        """An account exists whatever the resource; another's, another host's and a deleted one's do not."""
        accounts = (await a_server(self)).accounts
        self.assertTrue(await accounts.exists(JULIET))
        self.assertTrue(await accounts.exists(JULIET.with_resource("balcony")))
        for other in ("paris@example.com", "juliet@else.where", "example.com"):
            self.assertFalse(await accounts.exists(JID.parse(other)))
        await accounts.store.delete("juliet", "example.com")
        accounts.forget(JULIET.with_resource("any"))
        self.assertFalse(await accounts.exists(JULIET))

    async def test_unknown_is_not_remembered(self) -> None:
        """An account made a moment after somebody asked for it exists."""
        accounts = (await a_server(self)).accounts
        self.assertFalse(await accounts.exists(JID.parse("paris@example.com")))
        await accounts.store.create("paris", "example.com", ())
        self.assertTrue(await accounts.exists(JID.parse("paris@example.com")))

    async def test_bound(self) -> None:
        """What is remembered is bounded."""
        accounts = (await a_server(self)).accounts
        with patch.object(account, "KNOWN_KEPT", 2):
            for name in ("juliet", "romeo", "nurse"):
                self.assertTrue(await accounts.exists(JID.of(name, "example.com")))
        self.assertEqual(["romeo@example.com", "nurse@example.com"], list(accounts._known))

    async def test_keys(self) -> None:
        """The keys are those of the first hash that the account has."""
        accounts = (await a_server(self)).accounts
        keys = derive("secret", "sha-256", b"salt" * 4, MIN_ITERATIONS)
        await accounts.store.replace_keys("juliet", "example.com", [keys])
        self.assertEqual(keys, await accounts.keys(JULIET, ("sha-512", "sha-256", "sha-1")))
        self.assertIsNone(await accounts.keys(JULIET, ("sha-1",)))
        self.assertIsNone(await accounts.keys(JID.parse("paris@example.com"), ("sha-256",)))
        with self.assertRaises(NoSuchAccount):
            await accounts.store.replace_keys("paris", "example.com", [keys])


class Secret(SynchronousTestCase):
    """`server_secret`."""

    def test_made_once(self) -> None:
        """It is made at the first start, for the server's eyes only, and is the same ever after."""
        path = Path(self.mktemp())
        secret = server_secret(path)
        self.assertGreaterEqual(len(secret), 32)
        self.assertEqual(0o600, os.stat(path).st_mode & 0o777)
        self.assertEqual(secret, server_secret(path))
        self.assertNotEqual(secret, server_secret(Path(self.mktemp())))

    def test_damaged(self) -> None:
        """A file that is too short is refused with its name, never used."""
        path = Path(self.mktemp())
        path.write_bytes(b"short")
        error = self.assertRaises(ValueError, server_secret, path)
        self.assertIn(str(path), str(error))
