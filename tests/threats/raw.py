"""A scripted byte client for attacks: it sends and expects bytes, on a blocking socket of any local address."""

import base64
import re
import socket
import ssl
import time
from collections.abc import Sequence

from lxml import etree

from chatrix.testing.reader import StreamReader
from chatrix.testing.scram import ScramClient

NS_STREAM = "http://etherx.jabber.org/streams"
NS_STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

DECLARATION = b"<?xml version='1.0'?>"
END = b"</stream:stream>"
STARTTLS = f"<starttls xmlns='{NS_TLS}'/>".encode()
PROCEED = f"<proceed xmlns='{NS_TLS}'/>".encode()

_HEADER = re.compile(r""" from=['"]([a-z.]+)['"] id=['"][\w-]{24,}['"] version=['"]1\.0['"] xml:lang=['"]en['"]>""")

PATIENCE = 20.0
"""Seconds to wait for the server; an attack that it sits out is a failure."""


class NotAsScripted(AssertionError):
    """The server did something else; the text holds all that it sent."""


def header(to: str = "a.test", more: str = "", version: str = "1.0") -> bytes:
    """A stream header."""
    return (
        f"<?xml version='1.0'?><stream:stream to='{to}' version='{version}' xmlns='jabber:client' "
        f"xmlns:stream='{NS_STREAM}'{more}>"
    ).encode()


def stream_error(condition: str, text: str = "") -> bytes:
    """A stream error to its end, as it is written."""
    said = f"<text xmlns='{NS_STREAMS}'>{text}</text>" if text else ""
    return f"<stream:error><{condition} xmlns='{NS_STREAMS}'/>{said}</stream:error>".encode() + END


def sasl(name: str, data: bytes | str, mechanism: str = "") -> bytes:
    """A SASL element; `data` as bytes is written in base64, as text it is left alone."""
    text = data if isinstance(data, str) else base64.b64encode(data).decode() or "="
    attribute = f" mechanism='{mechanism}'" if mechanism else ""
    return f"<{name} xmlns='{NS_SASL}'{attribute}>{text}</{name}>".encode()


def plain(user: str, password: str, authzid: str = "") -> bytes:
    """An <auth/> with PLAIN."""
    return sasl("auth", f"{authzid}\0{user}\0{password}".encode(), "PLAIN")


def sasl_failure(condition: str, text: str = "") -> bytes:
    """A SASL failure as it is written."""
    said = f"<text>{text}</text>" if text else ""
    return f"<failure xmlns='{NS_SASL}'><{condition}/>{said}</failure>".encode()


class RawClient:
    """One connection. `received` is what came and was not taken yet."""

    def __init__(self, port: int, source: str = "127.0.0.2", receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.ended = False
        self.jid = ""
        self._elements: list[etree._Element] = []
        self._reader: StreamReader | None = None

    # Bytes

    def send(self, *pieces: bytes | str) -> None:
        """Send these; that the server has closed meanwhile is seen when receiving."""
        try:
            for piece in pieces:
                self.socket.sendall(piece.encode() if isinstance(piece, str) else piece)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass

    def receive(self, until: bytes) -> bytes:
        """Return what comes up to and with `until`. Raises: NotAsScripted."""
        while until not in self.received:
            if self.ended:
                raise NotAsScripted(f"{until!r} did not come before the end: {self.received!r}")
            self._read()
        end = self.received.index(until) + len(until)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    def expect(self, *data: bytes) -> None:
        """Take these bytes, which must come next. Raises: NotAsScripted."""
        expected = b"".join(data)
        while len(self.received) < len(expected) and expected.startswith(self.received) and not self.ended:
            self._read()
        if not self.received.startswith(expected):
            raise NotAsScripted(f"expected {expected!r}, got {self.received!r}")
        self.received = self.received[len(expected) :]

    def rest(self) -> bytes:
        """Return everything up to the end of the connection. Raises: NotAsScripted when it does not end."""
        while not self.ended:
            self._read()
        taken, self.received = self.received, b""
        return taken

    def expect_end(self, *data: bytes) -> None:
        """These bytes, then the end of the connection. Raises: NotAsScripted."""
        rest = self.rest()
        if rest != b"".join(data):
            raise NotAsScripted(f"expected {b''.join(data)!r} and the end, got {rest!r}")

    def expect_refused_header(self, error: bytes, host: str = "a.test") -> None:
        """An answer to a stream header that is nothing but an error. Raises: NotAsScripted."""
        self.expect(f"{DECLARATION.decode()}<stream:stream xmlns='jabber:client' xmlns:stream='{NS_STREAM}'".encode())
        rest = self.rest()
        found = _HEADER.match(rest.decode())
        if found is None or found[1] != host or rest[found.end() :] != error:
            raise NotAsScripted(f"expected a header and {error!r}, got {rest!r}")

    def _read(self) -> None:
        self.socket.settimeout(PATIENCE)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise NotAsScripted(f"silence after {self.received!r}") from None
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = b""
        self.received += data
        self.ended = not data

    def close(self) -> None:
        """Cut the connection."""
        self.socket.close()

    # Streams

    def open(self, to: str = "a.test", more: str = "") -> bytes:
        """Open a stream; return the answer, header and features."""
        self.send(header(to, more))
        return self.receive(b"</stream:features>")

    def start_tls(
        self,
        name: str | None = "a.test",
        protocols: Sequence[str] = (),
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        """Shake hands, after <proceed/> or at once. The certificate is not checked. Raises: ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = newest
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def certificate(self) -> bytes:
        """The server's, as the wire has it."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket.getpeercert(binary_form=True) or b""

    def protocol(self) -> str | None:
        """The application protocol that ALPN has settled on."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket.selected_alpn_protocol()

    def secure(self, to: str = "a.test", more: str = "") -> bytes:
        """Open a stream, begin TLS and open it again; return the second answer."""
        self.open(to)
        self.send(STARTTLS)
        self.expect(PROCEED)
        self.start_tls(to)
        return self.open(to, more)

    def authenticate(self, user: str, password: str = "secret", mechanism: str = "SCRAM-SHA-256") -> bytes:
        """Log in by SCRAM without channel binding; return what came, success or failure."""
        scram = ScramClient(mechanism, user, password)
        self.send(sasl("auth", scram.first(), mechanism))
        answer = self.receive(b">") + self.receive(b">")
        if b"<challenge" not in answer:
            return answer + self.receive(b"</failure>")
        self.send(
            sasl("response", scram.final(base64.b64decode(answer[answer.index(b">") + 1 : -len("</challenge>")])))
        )
        answer = self.receive(b">")
        return answer + self.receive(b"</success>" if b"<success" in answer else b"</failure>")

    def challenge(self) -> bytes:
        """Return the content of the next challenge. Raises: NotAsScripted."""
        self.expect(f"<challenge xmlns='{NS_SASL}'>".encode())
        return base64.b64decode(self.receive(b"</challenge>").removesuffix(b"</challenge>"))

    def expect_success(self, answer: bytes) -> None:
        """This is the end of a log-in that worked. Raises: NotAsScripted."""
        if b"<success" not in answer:
            raise NotAsScripted(f"no log-in: {answer!r}")

    def bind(self, resource: str) -> None:
        """Open the stream of a client that has logged in, and bind."""
        self.open_again()
        self.send(
            f"<iq type='set' id='bind'><bind xmlns='{NS_BIND}'><resource>{resource}</resource></bind></iq>".encode()
        )
        answer = self.receive(b"</iq>")
        self.jid = answer.partition(b"<jid>")[2].partition(b"</jid>")[0].decode()
        if not self.jid:
            raise NotAsScripted(f"no resource was bound: {answer!r}")
        self._reader = StreamReader()
        self._reader.feed(header())

    def open_again(self) -> bytes:
        """Open the stream of a client that has logged in."""
        return self.open(self._host)

    _host = "a.test"

    def log_in(self, user: str, password: str = "secret", resource: str = "raw", host: str = "a.test") -> "RawClient":
        """All of the way from connecting to a bound resource."""
        self._host = host
        self.secure(host)
        self.expect_success(self.authenticate(user, password))
        self.bind(resource)
        return self

    # Stanzas, once bound

    def element(self) -> etree._Element:
        """Return the next first-level element. Raises: NotAsScripted."""
        assert self._reader is not None
        while not self._elements:
            if self.received:
                data, self.received = self.received, b""
                self._elements += self._reader.feed(data)
            elif self.ended:
                raise NotAsScripted("the stream ended without another element")
            else:
                self._read()
        return self._elements.pop(0)

    def answer(self, request_id: str) -> etree._Element:
        """Return the next stanza with this id, skipping others. Raises: NotAsScripted."""
        while True:
            element = self.element()
            if element.get("id") == request_id:
                return element

    def barrier(self) -> list[etree._Element]:
        """Ping the host; return what came before the answer: there is nothing else on its way from us to us."""
        ping_id = f"barrier-{time.monotonic_ns()}"
        self.send(f"<iq type='get' id='{ping_id}' to='{self._host}'><ping xmlns='urn:xmpp:ping'/></iq>")
        before = []
        while (element := self.element()).get("id") != ping_id:
            before.append(element)
        return before


def condition(stanza: etree._Element) -> tuple[str | None, str]:
    """The type and the condition of the error in a stanza."""
    error = stanza.find("{jabber:client}error")
    if error is None:
        raise NotAsScripted(f"no error: {etree.tostring(stanza)!r}")
    return error.get("type"), etree.QName(error[0]).localname
