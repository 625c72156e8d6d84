"""Blocking with slixmpp on `twistd chatrix`, on SQLite and on PostgreSQL."""

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.postgres import cluster
from tests.running import RunningServer, Script

STEPS = ("empty list", "blocked", "nothing comes through", "reported", "unblocked")


class Blocking(TestCase):
    """The whole of tests/clients/blocking.py."""

    timeout = 180

    async def block(self, database: str) -> None:
        server = RunningServer(database=database)
        server.start(self)
        await server.add_accounts("romeo@localhost", "juliet@localhost")
        script = Script("tests.clients.blocking", "--port", str(server.port), "--authority", str(server.authority))
        status, output = await deferToThread(script.run)
        for step in STEPS:
            self.assertIn(f"\n{step}", f"\n{output}")
        self.assertEqual(0, status, output)

    async def test_on_sqlite(self) -> None:
        """Block, report and unblock; the state is in SQLite."""
        await self.block("sqlite:chatrix.sqlite")

    async def test_on_postgresql(self) -> None:
        """The same with the state in PostgreSQL."""
        postgresql = cluster()
        url = postgresql.new_database()
        self.addCleanup(postgresql.drop, url)
        await self.block(url)
