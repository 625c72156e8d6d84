"""Two different clients on `twistd chatrix`: Profanity, typed into in tmux, and slixmpp."""

import shutil

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from tests.postgres import cluster
from tests.running import RunningServer, Script

STEPS = ["unknown authority refused", "log in", "contacts", "chat", "blocking", "offline"]


class Profanity(TestCase):
    """The whole conversation of tests/clients/profanity.py."""

    timeout = 180

    def setUp(self) -> None:
        for program in ("profanity", "tmux"):
            if shutil.which(program) is None:
                raise SkipTest(f"{program.upper()} IS MISSING, A REAL CLIENT IS NOT TESTED: apt-get install {program}")

    async def converse(self, database: str) -> None:
        server = RunningServer(database=database)
        server.start(self)
        await server.add_accounts("romeo@localhost", "juliet@localhost")
        script = Script("tests.clients.profanity", "--port", str(server.port), "--authority", str(server.authority))
        status, output = await deferToThread(script.run)
        self.assertEqual(STEPS, output.split("\n")[: len(STEPS)], output)
        self.assertEqual(0, status, output)

    async def test_on_sqlite(self) -> None:
        """Log in, add a contact, chat both ways, block, log off, receive an offline message at the next log-in."""
        await self.converse("sqlite:chatrix.sqlite")

    async def test_on_postgresql(self) -> None:
        """The same with the state in PostgreSQL."""
        postgresql = cluster()
        url = postgresql.new_database()
        self.addCleanup(postgresql.drop, url)
        await self.converse(url)
