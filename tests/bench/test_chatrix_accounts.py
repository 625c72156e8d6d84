"""The benchmark's accounts are accounts like any other: the load generator's password opens them."""

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from bench.servers.chatrix_accounts import make
from chatrix.store.accounts import Accounts
from chatrix.store.database import open_database
from chatrix.store.migrate import migrate
from chatrix.xmpp.sasl.keys import HASHES, verify


class MakeTests(TestCase):
    """Accounts written straight into the database."""

    async def test_accounts_can_log_in(self) -> None:
        """Every name has keys for every hash, and they are those of the password."""
        state = str(Path(self.mktemp()).resolve())
        migrate("sqlite:bench.sqlite", state)
        await make(reactor, "sqlite:bench.sqlite", state, "bench.localhost", ["u0", "u1"], "secret")
        database = open_database("sqlite:bench.sqlite", state, reactor)
        await database.open()
        try:
            accounts = Accounts(database)
            self.assertEqual(
                [account.jid for account in await accounts.list("bench.localhost")],
                ["u0@bench.localhost", "u1@bench.localhost"],
            )
            for hash_name in HASHES:
                keys = await accounts.keys_of("u1", "bench.localhost", hash_name)
                assert keys is not None
                self.assertTrue(verify(keys, "secret"))
        finally:
            await database.close()
