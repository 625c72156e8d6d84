"""A raw XMPP client for tests: it keeps what comes in the order it comes, and does nothing on its own.

The one exception: it answers the pings with which a barrier waits for other people's stanzas (see `ping`).
"""

from collections.abc import Callable
from xml.parsers.expat import ExpatError

from lxml import etree
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from chatrix.testing.matching import NS_CLIENT, NS_STREAM
from chatrix.testing.reader import StreamReader

NS_PING = "urn:xmpp:ping"
_PING_ID = "barrier-"


class ConnectionClosed(Exception):
    """The connection ended while something was expected from it."""


class TimedOut(Exception):
    """The server stayed silent for longer than a test is willing to wait."""


class Client(Protocol):
    """One connection and what has come over it."""

    def __init__(self, name: str, jid: str, password: str, clock: IReactorTime, patience: float = 10) -> None:
        self.name = name
        self.jid = jid
        """As wished for; after log-in the full JID the server has bound."""
        self.password = password
        self.inbox: list[etree._Element] = []
        self.encrypt: Callable[[], None] | None = None
        """Begins TLS; the stage sets it on a connection that is not encrypted yet."""
        self.bound = False
        self.lost: Failure | None = None
        self.reader = StreamReader()
        self.gone: Deferred[None] = Deferred()
        self._clock, self._patience = clock, patience
        self._news: Deferred[None] | None = None
        self._pings: dict[str, Deferred[list[etree._Element]]] = {}
        self._pings_sent = 0

    @property
    def domain(self) -> str:
        """The host of the account."""
        return self.jid.partition("/")[0].rpartition("@")[2]

    def send(self, data: str | bytes) -> None:
        """Write text or bytes as they are."""
        assert self.transport is not None, f"{self.name} has no connection"
        self.transport.write(data.encode() if isinstance(data, str) else data)

    def expect_new_stream(self) -> None:
        """What comes next is a new document: after a stream header has been sent."""
        self.reader = StreamReader()

    def start_tls(self) -> None:
        """Begin the handshake."""
        assert self.encrypt is not None, f"{self.name} has TLS already"
        encrypt, self.encrypt = self.encrypt, None
        encrypt()

    async def next(self) -> etree._Element:
        """Take the next element. Raises: ConnectionClosed, TimedOut."""
        while not self.inbox:
            await self._wait_for_news()
        return self.inbox.pop(0)

    async def stream_closed(self) -> None:
        """Wait for </stream:stream>, leaving what came before it in the inbox. Raises: ConnectionClosed, TimedOut."""
        while not self.reader.closed:
            await self._wait_for_news()

    async def disconnected(self) -> None:
        """Wait until the connection is gone. Raises: TimedOut."""
        while self.lost is None:
            await self._wait_for_news()

    async def ping(self, to: str) -> list[etree._Element]:
        """Wait for the answer, result or error, to a ping; return what was in the inbox at that moment.

        Because a server keeps the order of stanzas between two addresses (RFC 6120 section 10.1), whatever this client
        sent to `to` before has been handled when the answer comes. Raises: ConnectionClosed, TimedOut.
        """
        self._pings_sent += 1
        ping_id = f"{_PING_ID}{self.name}-{self._pings_sent}"
        answered: Deferred[list[etree._Element]] = Deferred()
        self._pings[ping_id] = answered
        recipient = f" to='{to}'" if to else ""
        self.send(f"<iq type='get' id='{ping_id}'{recipient}><ping xmlns='{NS_PING}'/></iq>")
        while not answered.called:
            await self._wait_for_news()
        return await answered

    async def close(self) -> None:
        """Close the stream and wait until the server has done so too. Raises: ConnectionClosed, TimedOut."""
        self.send("</stream:stream>")
        await self.stream_closed()
        self.abort()
        await self.disconnected()

    def abort(self) -> None:
        """Cut the connection."""
        if self.lost is None and self.transport is not None:
            transport: ITransport = self.transport
            getattr(transport, "abortConnection", transport.loseConnection)()

    def dataReceived(self, data: bytes) -> None:
        """Collect what is complete."""
        try:
            elements = self.reader.feed(data)
        except ExpatError as error:
            self.inbox.append(_not_xml(str(error), data))
            self.abort()
        else:
            for element in elements:
                self._received(element)
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let whoever waits know."""
        self.lost = reason
        self._tell()
        self.gone.callback(None)

    def _received(self, element: etree._Element) -> None:
        if element.tag == f"{{{NS_CLIENT}}}iq":
            stanza_id, kind = str(element.get("id", "")), element.get("type")
            if stanza_id in self._pings and kind in {"result", "error"}:
                self._pings.pop(stanza_id).callback(list(self.inbox))
                return
            if stanza_id.startswith(_PING_ID) and kind == "get":
                self.send(f"<iq type='result' id='{stanza_id}' to='{element.get('from', '')}'/>")
                return
        self.inbox.append(element)

    async def _wait_for_news(self) -> None:
        if self.lost is not None:
            raise ConnectionClosed(f"{self.name}'s connection is closed ({self.lost.getErrorMessage()})")
        assert self._news is None, f"two wait for {self.name} at once"
        self._news = Deferred()
        patience = self._clock.callLater(self._patience, self._run_out_of_patience)
        try:
            await self._news
        finally:
            self._news = None
            if patience.active():
                patience.cancel()

    def _run_out_of_patience(self) -> None:
        if self._news is not None and not self._news.called:
            self._news.errback(TimedOut(f"{self.name} has waited {self._patience:g} s for the server"))

    def _tell(self) -> None:
        if self._news is not None and not self._news.called:
            self._news.callback(None)


def _not_xml(reason: str, data: bytes) -> etree._Element:
    """Put bytes that are no XML where the transcript will stumble over them."""
    element = etree.Element("{urn:chatrix:transcript}not-xml", {"reason": reason})
    element.text = repr(data[:200])
    return element


def error_condition(error: etree._Element) -> str:
    """Return the condition of a <stream:error/> or of an <error/> in a stanza; '' when there is none."""
    return next((etree.QName(child).localname for child in error if etree.QName(child).localname != "text"), "")


def is_stream_error(element: etree._Element) -> bool:
    """Tell whether this is <stream:error/>."""
    return element.tag == f"{{{NS_STREAM}}}error"
