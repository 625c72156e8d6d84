"""The runner notices when a conversation goes another way than its transcript, and says where."""

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from chatrix.testing.host import MemoryHost
from chatrix.testing.runner import Departure, perform
from chatrix.testing.transcript import Transcript, parse
from tests.certificates import leaf

CAST = """account romeo@localhost
account juliet@localhost
romeo is romeo@localhost/orchard
juliet is juliet@localhost/balcony
romeo connects
juliet connects
"""

WRITES = """romeo sends:
    <message id='1' to='juliet@localhost/balcony'><body>But, soft!</body></message>
"""


class Departures(TestCase):
    """Each way to go wrong, on a server in memory."""

    async def host(self) -> MemoryHost:
        certificate = leaf("localhost")
        folder = Path(self.mktemp())
        # Nothing that puts a mark on what passes.
        modules = "disco roster presence ping"
        host = MemoryHost("localhost", certificate.pem, certificate.authority_pem, folder, reactor, modules=modules)
        await host.start()
        self.addCleanup(host.stop)
        return host

    async def departs(self, text: str) -> str:
        return await self.departure_of(parse(CAST + text), await self.host())

    async def departure_of(self, transcript: Transcript, host: MemoryHost) -> str:
        try:
            await perform(transcript, host)
        except Departure as departure:
            return str(departure)
        raise self.failureException("the runner found nothing wrong")

    async def test_as_written(self) -> None:
        """A conversation as it is written passes: the other tests fail for the reason they name."""
        message = "<message id='1' from='{romeo}' to='{juliet}'><body>But, soft!</body></message>"
        receives = f"juliet receives:\n    {message}\njuliet receives nothing\n"
        await perform(parse(CAST + WRITES + receives), await self.host())

    async def test_another_stanza(self) -> None:
        """Another stanza than the expected one: line, difference and both stanzas."""
        text = await self.departs(WRITES + "juliet receives:\n    <message id='2' .../>\n")
        self.assertIn("transcript:9: juliet receives:\n  <message> id: expected '2', got '1'", text)
        self.assertIn("came:     <message", text)

    async def test_something_for_nothing(self) -> None:
        """Something where nothing should come is found without waiting for it."""
        text = await self.departs(WRITES + "juliet receives nothing\n")
        self.assertIn("transcript:9: juliet receives nothing\n  juliet received:\n    <message", text)

    async def test_left_over(self) -> None:
        """A stanza that nobody mentions is found at the end."""
        self.assertIn("nobody receives anything more", await self.departs(WRITES))

    async def test_the_connection_ends(self) -> None:
        """When the server closes, who waits for a stanza is told, and which one is missing."""
        text = await self.departs("romeo sends raw:\n    </stream:stream>\nromeo receives:\n    <presence/>\n")
        self.assertIn("romeo's connection is closed", text)
        self.assertIn("missing: <presence/>", text)

    async def test_another_error(self) -> None:
        """Another stream error than the expected one is shown."""
        text = await self.departs("romeo sends raw:\n    </stream>\nromeo gets stream error conflict\n")
        self.assertIn("not-well-formed", text)

    async def test_wrong_password(self) -> None:
        """A log-in that fails is a departure at its line."""
        cast = "account romeo@localhost with password right\nromeo is romeo@localhost\nromeo connects\n"
        host = await self.host()
        await perform(parse(cast), host)
        # The account is there already, and stays as it is.
        self.patch(host, "add_account", _nothing)
        text = await self.departure_of(parse(cast.replace("right", "wrong")), host)
        self.assertIn("transcript:3: romeo connects\n  romeo: expected <success/>, got <failure", text)


async def _nothing(_jid: str, _password: str) -> None:
    """Leave the accounts as they are."""
