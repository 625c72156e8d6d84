"""A server on the loopback interface that runs a protocol under test, and blocking clients for it in a thread."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from chatrix.net.certificate_files import Pair, Place
from chatrix.net.tls import start_tls
from chatrix.net.tls_policy import server_context
from tests.certificates import Leaf, leaf

reactor: Any = installed_reactor

PATIENCE = 20.0
"""Seconds until a blocking client gives up: far more than any test takes."""


def context_of(certificate: Leaf, protocols: tuple[bytes, ...] = ()) -> SSL.Context:
    """Our context for this certificate, without the choice by SNI."""
    place = Place(Path("certificate.pem"), Path("certificate.pem"))
    pair = Pair(place, certificate.certificate, (certificate.authority,), certificate.key)
    return server_context(pair, protocols, lambda connection: None)


def client_context() -> ssl.SSLContext:
    """A context of the standard library that trusts our test authority."""
    return ssl.create_default_context(cadata=leaf("localhost").authority_pem.decode("ascii"))


class Recorder(Protocol):
    """Begins TLS when connected, and keeps what it is told; with `echo` it sends everything back."""

    context: SSL.Context | None = None
    echo = True

    def __init__(self) -> None:
        self.connected_once: Deferred[None] = Deferred()
        self.started: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.received = b""
        self.losses = 0
        self.layer: Any = None

    def connectionMade(self) -> None:
        """Begin TLS, if there is a context."""
        if self.context is not None:
            self.layer = start_tls(self, self.context)

    def tls_started(self) -> None:
        """Told by the layer."""
        self.started.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Keep, and echo."""
        self.received += data
        if self.echo:
            assert self.transport is not None
            self.transport.write(data)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008 (Twisted's signature)
        """Count: it must come once."""
        self.losses += 1
        if self.losses == 1:
            self.lost.callback(None)


class LoopbackTestCase(TestCase):
    """Runs a server for each test, and checks that its connections are told of their end once."""

    timeout = 60

    def serve(self, protocol_class: type[Recorder] = Recorder, context: SSL.Context | None = None) -> None:
        """Listen; `self.accepted` has the protocols of the connections that came."""
        self.accepted: list[Recorder] = []

        def build(address: object) -> Recorder:
            protocol = protocol_class()
            protocol.context = context
            self.accepted.append(protocol)
            return protocol

        factory = ServerFactory()
        factory.buildProtocol = build  # type: ignore[method-assign, assignment]
        self.port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self._end)

    async def _end(self) -> None:
        await maybeDeferred(self.port.stopListening)
        for protocol in self.accepted:
            if not protocol.losses:
                assert protocol.transport is not None
                protocol.transport.abortConnection()  # type: ignore[attr-defined]
                await protocol.lost
            self.assertEqual(protocol.losses, 1)

    def connect(self) -> socket.socket:
        """A blocking TCP connection to the server; for use in a thread."""
        connection = socket.create_connection(("127.0.0.1", self.port.getHost().port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def connect_tls(self, context: ssl.SSLContext | None = None, **options: Any) -> ssl.SSLSocket:
        """A blocking TLS connection to the server; for use in a thread."""
        options.setdefault("server_hostname", "localhost")
        options.setdefault("suppress_ragged_eofs", False)
        return (context or client_context()).wrap_socket(self.connect(), **options)

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        """Run a blocking client."""
        return await deferToThread(function)


def detach(client: ssl.SSLSocket) -> socket.socket:
    """The connection below TLS, for use without it."""
    connection = socket.socket(fileno=client.detach())
    connection.settimeout(PATIENCE)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end of the file."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes; fewer at the end of the file."""
    pieces = []
    while size and (piece := connection.recv(min(size, 1 << 16))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
