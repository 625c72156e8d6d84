"""Pipes behave like connections, and the host in memory is what etc/chatrix.ini starts."""

from configparser import ConfigParser

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatrix.testing.host import MODULES
from chatrix.testing.pipe import PipeEnd, join
from tests.running import ROOT


class Heard(Protocol):
    """Remembers what came."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


class Pipe(SynchronousTestCase):
    """Two ends and a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client, self.server = Heard(), Heard()
        self.near: PipeEnd = join(self.client, self.server, self.clock)

    def test_not_at_once(self) -> None:
        """What is written arrives in a later turn of the reactor, as from a socket; never inside `write`."""
        self.near.write(b"a")
        self.near.writeSequence([b"b", b"c"])
        self.assertEqual(b"", self.server.data)
        self.clock.advance(0)
        self.assertEqual(b"abc", self.server.data)

    def test_closing(self) -> None:
        """What was written before the close arrives; then both ends are told, and nothing can be written any more."""
        self.near.write(b"a")
        self.near.loseConnection()
        self.near.write(b"b")
        self.clock.pump([0, 0])
        self.assertEqual((b"a", True, True), (self.server.data, self.server.lost, self.client.lost))

    def test_aborting(self) -> None:
        """A connection that is cut takes with it what was on its way."""
        self.near.write(b"a")
        self.near.abortConnection()
        self.clock.pump([0, 0])
        self.assertEqual((b"", True, True), (self.server.data, self.server.lost, self.client.lost))

    def test_pausing(self) -> None:
        """An end that does not read gets everything when it does, the close after the data."""
        far = self.near.other
        far.pauseProducing()
        self.near.write(b"a")
        self.near.loseConnection()
        self.clock.pump([0, 0])
        self.assertEqual((b"", False), (self.server.data, self.server.lost))
        far.resumeProducing()
        self.clock.pump([0, 0])
        self.assertEqual((b"a", True), (self.server.data, self.server.lost))


class Host(SynchronousTestCase):
    """The server that transcripts are performed on."""

    def test_modules(self) -> None:
        """It has the modules that `make run` starts with."""
        ini = ConfigParser(inline_comment_prefixes=";")
        ini.read(ROOT / "etc" / "chatrix.ini")
        self.assertEqual(ini["chatrix"]["modules"].split(), MODULES.split())
