"""TLS on a connection, of our own making: between a Twisted transport and a protocol (RFC 6120 section 5, XEP-0368).

Security: faces strangers from the first byte. What a peer may make us keep is one record. The time a handshake may take
is limited by whoever starts it.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.tcp import Connection as TCPConnection

from chatrix.net.flush import Flusher
from chatrix.net.tls_layer import TLSLayer
from chatrix.net.tls_memory import MemoryTLSLayer
from chatrix.net.tls_socket import SocketTLSLayer
from chatrix.net.transport import FlushedTransport

__all__ = ["TLSLayer", "start_tls"]


def start_tls(
    protocol: Any,
    context: SSL.Context,
    *,
    client: bool = False,
    server_name: str = "",
    flusher: Flusher | None = None,
) -> TLSLayer:
    """Begin TLS on the connection of this protocol: the layer becomes `protocol.transport`.

    What was written before goes out first, in the clear. What the protocol has read before it must drop itself: nothing
    that came in the clear may be taken for something that came under TLS (CVE-2011-0411).

    `server_name` (in ASCII) is for a client to name the host it wants; `flusher` for a transport without a reactor.
    """
    below = protocol.transport
    if isinstance(below, FlushedTransport):
        below = below.transport
    layer: TLSLayer
    if isinstance(below, TCPConnection):
        layer = SocketTLSLayer(protocol, SSL.Connection(context, below.getHandle()), flusher)
    else:
        layer = MemoryTLSLayer(protocol, SSL.Connection(context, None), flusher)
    if client:
        layer.connection.set_connect_state()
        if server_name:
            layer.connection.set_tlsext_host_name(server_name.encode("ascii"))
    else:
        layer.connection.set_accept_state()
    layer.begin()
    return layer
