"""What our TLS servers accept: versions, cipher suites, options and application protocols (RFC 7590, RFC 9325)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from OpenSSL import SSL

from chatrix.net.certificate_files import Pair

CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secret and authenticated, nothing else. TLS 1.3 has only such."""

OP_NO_RENEGOTIATION = 1 << 30
OP_PRIORITIZE_CHACHA = 1 << 21
"""COMPAT: OpenSSL has had both since 1.1.1, pyOpenSSL does not name them."""

OPTIONS = (
    SSL.OP_NO_COMPRESSION
    | OP_NO_RENEGOTIATION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    # A phone without AES in hardware says so by putting ChaCha20 first; then it gets it.
    | OP_PRIORITIZE_CHACHA
)

RESUMABLE_FOR = 12 * 3600
"""Seconds for which a session ticket is good."""


class RefusedProtocol(SSL.Error):
    """The client wants to speak another protocol than this port does; it gets the alert no_application_protocol."""


def server_context(pair: Pair, protocols: Sequence[bytes], choose: Callable[[SSL.Connection], None]) -> SSL.Context:
    """Make the context of one host.

    `choose` is called with each connection that names a host (SNI) and may give it another context. A client that
    offers application protocols (ALPN) must offer one of `protocols`, unless those are none; one that offers none is
    welcome.

    Raises: SSL.Error when OpenSSL does not take the certificate or its key, as those that are too weak.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(OPTIONS)
    # An idle connection gives its 34 KiB of record buffers back.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Sessions are resumed by tickets that the client keeps; the server keeps none.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"chatrix")
    context.set_timeout(RESUMABLE_FOR)
    context.use_certificate(pair.certificate)
    for issuer in pair.chain:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(pair.key)
    context.check_privatekey()
    context.set_tlsext_servername_callback(choose)
    if protocols:
        context.set_alpn_select_callback(_only(tuple(protocols)))
    return context


def _only(protocols: tuple[bytes, ...]) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in protocols:
            if protocol in offered:
                return protocol
        # Raised through pyOpenSSL's callback it becomes the fatal alert that RFC 7301 section 3.2 asks for.
        raise RefusedProtocol(f"none of {offered!r} is spoken here")

    return select
