"""Two people with slixmpp on `twistd chatrix`: over STARTTLS and direct TLS, on SQLite and on PostgreSQL."""

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.postgres import cluster
from tests.running import RunningServer, Script

STEPS = (
    "log in: TLSv1.3 SCRAM-SHA-",
    "contacts",
    "chat",
    "ask the server: chatrix",
    "offline: 2",
    "wrong password refused",
    "unknown authority refused",
)


class Slixmpp(TestCase):
    """The whole conversation of tests/clients/conversation.py."""

    timeout = 180

    async def converse(self, database: str, direct_tls: bool) -> None:
        server = RunningServer(database=database)
        server.start(self)
        await server.add_accounts("romeo@localhost", "juliet@localhost")
        port = server.tls_port if direct_tls else server.port
        arguments = ["--port", str(port), "--authority", str(server.authority), *["--direct-tls"] * direct_tls]
        status, output = await deferToThread(Script("tests.clients.conversation", *arguments).run)
        for step in STEPS:
            self.assertIn(f"\n{step}", f"\n{output}")
        self.assertEqual(0, status, output)

    async def test_starttls_on_sqlite(self) -> None:
        """Log in by STARTTLS, become contacts, chat, read offline messages; the state is in SQLite."""
        await self.converse("sqlite:chatrix.sqlite", direct_tls=False)

    async def test_direct_tls_on_sqlite(self) -> None:
        """The same on the port with direct TLS."""
        await self.converse("sqlite:chatrix.sqlite", direct_tls=True)

    async def test_starttls_on_postgresql(self) -> None:
        """The same with the state in PostgreSQL."""
        await self.converse(self.new_database(), direct_tls=False)

    async def test_direct_tls_on_postgresql(self) -> None:
        """The same with direct TLS and PostgreSQL."""
        await self.converse(self.new_database(), direct_tls=True)

    def new_database(self) -> str:
        postgresql = cluster()
        url = postgresql.new_database()
        self.addCleanup(postgresql.drop, url)
        return url
