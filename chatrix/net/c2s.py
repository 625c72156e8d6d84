"""The door for clients: TLS, log-in and resource binding (RFC 6120), then the stream belongs to a session.

Security: faces strangers. Before log-in a stream is bound in time, bytes and elements; nothing but STARTTLS is taken
in the clear; an origin with too many failed log-ins is not let in; an unknown account and a wrong password look alike.
"""

from __future__ import annotations

import secrets
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.words.protocols.jabber import xmlstream

from chatrix.net.certificates import DIRECT_CLIENTS, Certificates
from chatrix.net.pulse import SILENCE_PERIOD, Pulse
from chatrix.net.xmlstream import EAGER, XMPPStream
from chatrix.server.background import in_background
from chatrix.server.limits import Allowance, origin
from chatrix.server.server import Server
from chatrix.server.session import Session
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import SASLError, StanzaError, StreamError
from chatrix.xmpp.framing import Framer, Limits, StreamOpened
from chatrix.xmpp.jid import JID, InvalidJID
from chatrix.xmpp.namespaces import NS_AUTH, NS_BIND, NS_CLIENT, NS_COMPRESS, NS_PING, NS_SASL, NS_SESSION, NS_TLS
from chatrix.xmpp.negotiation import check_version, features, leaf, limits_feature, new_stream_id, starttls_feature
from chatrix.xmpp.sasl.authentication import Authentication, Challenge, NeedKeys, NeedPasswordCheck, Success
from chatrix.xmpp.sasl.channel_binding import of_tls
from chatrix.xmpp.sasl.mechanisms import Offer, offer
from chatrix.xmpp.stanza import IQ, Stanza

log = Logger(namespace="chatrix.c2s")

LOGGED_IN_ELEMENTS = 10_000
"""Elements in one stanza after log-in; the size limit is the one that admins set."""

CLOSING_TIME = 5
"""Seconds that a client has to close its side after we closed ours."""

FEATURES_KEPT = 64
"""Different lists of stream features: TLS versions times hosts times reloads with other limits."""

COUNTED = 1 << 14
"""Bytes that a client may send before its allowance is looked at again."""


class C2S(xmlstream.XmlStreamServerFactory):
    """Serves client streams on one listener: with STARTTLS, or with TLS from the first byte (`direct`)."""

    protocol = XMPPStream
    noisy = False

    def __init__(
        self, server: Server, certificates: Certificates, pulse: Pulse, reactor: IReactorTime, direct: bool
    ) -> None:
        super().__init__(lambda: C2SAuthenticator(self))
        self.server = server
        self.certificates = certificates
        self.pulse = pulse
        self.reactor = reactor
        self.direct = direct
        self.features: dict[object, bytes] = {}
        "Stream features as they are written; at most `FEATURES_KEPT` of them."

    def buildProtocol(self, addr: IAddress | None) -> XMPPStream | None:
        """Admit a connection, or close it unheard when its origin has too many, or is banned."""
        peer = origin(getattr(addr, "host", "") or "")
        server = self.server
        if server.failures.banned(peer, self.reactor.seconds()):
            return None
        if not server.connections.admit(peer):
            log.info("a connection was refused: too many, from one address or in all")
            return None
        stream: XMPPStream = super().buildProtocol(addr)
        stream.authenticator.peer = peer
        return stream


class C2SAuthenticator(xmlstream.ListenAuthenticator):
    """What one client stream has reached: connected, secured, logged in, bound."""

    xmlstream: XMPPStream
    namespace = NS_CLIENT

    def __init__(self, factory: C2S) -> None:
        super().__init__()
        self.server = factory.server
        self.factory = factory
        self.pulse = factory.pulse
        self.peer = ""
        "The origin of the connection, as limits count it."
        self.host = ""
        "The domain of the stream header's `to`."
        self.claimed: JID | None = None
        "The stream header's `from`."
        self.secured = False
        self.account: JID | None = None
        "The bare JID, once logged in."
        self.session: Session | None = None
        self.most_unread: int = factory.server.limits.queue_size
        self._authentication: Authentication | None = None
        self._named: JID | None = None
        self._offer: Offer | None = None
        self._elements = 0
        self._log_in_by = 0.0
        self._abort_at: float | None = None
        self._asked = False
        self._bytes = 0
        self._allowance: Allowance | None = None
        self._pardon: IDelayedCall | None = None
        "Reads on when the allowance is even again."

    # The life of the connection

    def connectionMade(self) -> None:
        """A client connected."""
        limits = self.server.limits
        stream = self.xmlstream
        stream.framer = Framer(
            NS_CLIENT,
            Limits(limits.stanza_size_before_log_in, limits.elements_before_log_in, limits.depth, limits.attributes),
        )
        stream.receive = self.stanza_received
        stream.heard = self.pulse.now
        self._log_in_by = self.pulse.now + limits.log_in_time
        self.pulse.opening.add(self)
        self.pulse.streams.add(self)
        if self.factory.direct:
            self._start_tls(self.factory.certificates.context(protocols=DIRECT_CLIENTS))

    def _start_tls(self, context: SSL.Context) -> None:
        self._abort_at = self.pulse.now + self.server.limits.handshake_time
        self.xmlstream.start_tls(context)

    def tls_started(self) -> None:
        """The handshake is complete; the client opens its stream anew."""
        self.secured = True
        self._abort_at = None

    def check_deadline(self, now: int) -> None:
        """The pulse asks, every second until a resource is bound: is the client late?"""
        if self._abort_at is not None:
            if now >= self._abort_at:
                self.xmlstream.abort()
        elif now >= self._log_in_by:
            self.xmlstream.close(StreamError("connection-timeout", "log-in took too long"))

    def check_silence(self, now: int) -> None:
        """The pulse asks, now and then: is the client still there? A silent one is pinged, then given up."""
        stream = self.xmlstream
        silent = now - stream.heard
        if silent < self.server.limits.idle_time or self.session is None:
            self._asked = False
        elif not self._asked:
            self._asked = True
            attributes = {"type": "get", "id": secrets.token_hex(8), "from": self.host, "to": str(self.session.jid)}
            stream.write(IQ.build(attributes, Element(NS_PING, "ping")).to_bytes())
        elif silent >= self.server.limits.idle_time + 2 * SILENCE_PERIOD:
            stream.close(StreamError("connection-timeout", "no sign of life"))

    def count_bytes(self, count: int) -> None:
        """Hold a client that sends more than its allowance, until the allowance is even again."""
        self._bytes += count
        if self._bytes < COUNTED:
            return
        limits = self.server.limits
        now = self.factory.reactor.seconds()
        if self._allowance is None:
            self._allowance = Allowance(limits.c2s_rate or 0, limits.c2s_burst, now)
        debt = self._allowance.spend(self._bytes, now)
        self._bytes = 0
        if debt:
            self.xmlstream.pause(EAGER)
            self._pardon = self.factory.reactor.callLater(debt, self.xmlstream.resume, EAGER)

    def close(self, error: StreamError) -> None:
        """Close the stream."""
        self.xmlstream.close(error)

    def abort(self) -> None:
        """Cut the connection."""
        self.xmlstream.abort()

    def closed(self) -> None:
        """We closed our side of the stream: its session is over, even if the connection lingers."""
        self._end_session()
        self._abort_at = self.pulse.now + CLOSING_TIME
        self.pulse.opening.add(self)

    def stream_ended(self) -> None:
        """The connection is gone."""
        self._end_session()
        self.pulse.opening.discard(self)
        self.pulse.streams.discard(self)
        self.server.connections.leave(self.peer)
        self._authentication = None
        if self._pardon is not None and self._pardon.active():
            self._pardon.cancel()

    def _end_session(self) -> None:
        self._log_in_as(None)
        session, self.session = self.session, None
        if session is not None:
            self.server.end(session)

    # Stream headers

    def stream_opened(self, header: StreamOpened) -> None:
        """Answer a stream header, or refuse it.

        Raises:
            StreamError: unsupported-version, improper-addressing, host-unknown, invalid-from, not-authorized.
        """
        if self.xmlstream.header_sent:
            raise StreamError("policy-violation", "a stream is open already")
        check_version(header.attributes.get("version"))
        host = self._host_of(header.attributes.get("to"))
        if self.account is not None and host != self.account.domain:
            raise StreamError("not-authorized", "logged in on another host")
        if self.secured and not self._served_as(host):
            raise StreamError("host-unknown", "the TLS connection is for another host")
        self.host = host
        claimed = header.attributes.get("from")
        if claimed:
            self._claim(claimed)
        self._send_header(self.host, claimed)
        self.xmlstream.write(self._features())

    def _host_of(self, to: str | None) -> str:
        if not to:
            raise StreamError("improper-addressing", "a stream header needs `to`")
        try:
            jid = JID.parse(to)
        except InvalidJID:
            raise StreamError("host-unknown") from None
        if jid.local or jid.resource or jid.domain not in self.server.hosts:
            raise StreamError("host-unknown")
        return jid.domain

    def _served_as(self, host: str) -> bool:
        """Whether the certificate that this client was shown is one for `host` (threat T8)."""
        certificates = self.factory.certificates
        connection = self.xmlstream.transport.connection
        if certificates.host_of(connection) not in (None, host):
            return False
        shown = certificates.certificate_of(connection)
        return shown.host == host or shown.der == certificates.certificate(host).der

    def _claim(self, claimed: str) -> None:
        try:
            jid = JID.parse(claimed)
        except InvalidJID:
            raise StreamError("invalid-from") from None
        if self.account is not None and jid.bare != self.account:
            raise StreamError("invalid-from")
        self.claimed = jid.bare

    def _send_header(self, host: str, to: str | None = None) -> None:
        attributes = {"from": host, "id": new_stream_id(), "version": "1.0", "xml:lang": "en"}
        if to:
            attributes["to"] = to
        self.xmlstream.send_header(self.namespace, attributes)

    def send_header_for_error(self) -> None:
        """RFC 6120 section 4.9.1.2: an error before our header is preceded by one."""
        self._send_header(self.host or next(iter(self.server.hosts)))

    def _features(self) -> bytes:
        """What can or must come next; most streams are offered the same, so it is kept as it was written."""
        if self.secured and self.account is None:
            self._offer = self._make_offer()
        kept = self.factory.features
        before = self.account is None
        key = ("" if before else self.host, before, self.server.configured, self._offer and self._offer.advertised)
        written = kept.get(key)
        if written is None:
            if len(kept) >= FEATURES_KEPT:
                kept.clear()
            written = kept[key] = features(self._list_features())
        return written

    def _list_features(self) -> list[Element]:
        """The features in the order in which they are negotiated (XEP-0170)."""
        limits = self.server.limits
        if self.account is not None:
            logged_in = limits_feature(limits.stanza_size, int(limits.idle_time))
            session = Element(NS_SESSION, "session")
            session.add(NS_SESSION, "optional")
            return [Element(NS_BIND, "bind"), session, *self.server.stream_features(self.host), logged_in]
        before = limits_feature(limits.stanza_size_before_log_in, int(limits.log_in_time))
        if self._offer is None:
            return [starttls_feature(), before]
        elements = [self._offer.mechanisms_element(), self._offer.channel_binding_element(), before]
        return [element for element in elements if element is not None]

    def _make_offer(self) -> Offer:
        connection = self.xmlstream.transport.connection
        end_point = self.factory.certificates.certificate_of(connection).end_point
        bindings = of_tls(connection.get_protocol_version_name(), end_point, connection.export_keying_material)
        return offer(True, bindings, only=self.server.hosts[self.host].options.mechanisms)

    # First-level elements

    def stanza_received(self, stanza: Stanza) -> None:
        """Take a stanza before there is a session: nothing but resource binding is allowed.

        Raises:
            StreamError: policy-violation before TLS, not-authorized after it.
        """
        self._count_element()
        if not self.secured:
            raise StreamError("policy-violation", "TLS is required")
        if self.account is None:
            if isinstance(stanza, IQ) and stanza.type in ("get", "set") and stanza.children == ((NS_AUTH, "query"),):
                # A client from before RFC 3920 tries the log-in that it knows (XEP-0078 section 3.1).
                self.xmlstream.write(stanza.error(StanzaError("cancel", "service-unavailable")).to_bytes())
                return
            raise StreamError("not-authorized")
        if not isinstance(stanza, IQ) or stanza.type != "set" or stanza.children != ((NS_BIND, "bind"),):
            raise StreamError("not-authorized", "bind a resource first")
        try:
            self._bind(stanza)
        except StanzaError as error:
            self.xmlstream.write(stanza.error(error).to_bytes())

    def element_received(self, element: Element) -> None:
        """Take a first-level element that is no stanza.

        Raises:
            StreamError: policy-violation before TLS; unsupported-stanza-type for what nobody understands.
        """
        self._count_element()
        namespace, name = element.namespace, element.name
        if not self.secured:
            if (namespace, name) == (NS_TLS, "starttls"):
                self.xmlstream.write(leaf(NS_TLS, "proceed"))
                self._start_tls(self.factory.certificates.context(self.host))
            elif (namespace, name) == (NS_SASL, "auth"):
                self.xmlstream.send_element(SASLError("encryption-required").to_element())
            else:
                raise StreamError("policy-violation", "TLS is required")
        elif self.account is None and namespace == NS_SASL and name in ("auth", "response", "abort"):
            self.xmlstream.hold()
            in_background(self._authenticate(element), "a log-in")
        elif (namespace, name) == (NS_COMPRESS, "compress"):
            failure = Element(NS_COMPRESS, "failure")
            failure.add(NS_COMPRESS, "unsupported-method")
            self.xmlstream.send_element(failure)
        else:
            raise StreamError("unsupported-stanza-type")

    def _count_element(self) -> None:
        if self.session is None:
            self._elements += 1
            if self._elements > self.server.limits.elements_before_log_in:
                raise StreamError("policy-violation", "too many elements before log-in")

    # Log-in

    async def _authenticate(self, element: Element) -> None:
        """Work off one SASL element; the stream is held meanwhile."""
        stream = self.xmlstream
        assert self._offer is not None
        if self._authentication is None:
            self._authentication = Authentication(self.host, self._offer, self.server.accounts.decoys)
        # The stream's own is gone when the client goes while we wait.
        authentication = self._authentication
        hashing = self.server.hashing
        try:
            try:
                step = self._begin_or_respond(authentication, element)
                while isinstance(step, NeedKeys | NeedPasswordCheck):
                    if isinstance(step, NeedKeys):
                        self._log_in_as(step.account)
                        keys = await self.server.accounts.keys(step.account, step.hashes)
                        step = authentication.keys_found(step, keys)
                    else:
                        step = authentication.password_checked(step, await hashing.run(deferToThread, step.check))
                if isinstance(step, Success):
                    await self._check_enabled(step)
            except SASLError as refusal:
                await self._refuse(refusal)
            except Exception:
                log.failure("a log-in failed in the server")
                await self._refuse(SASLError("temporary-auth-failure"))
            else:
                if isinstance(step, Challenge):
                    stream.write(leaf(NS_SASL, "challenge", step.text))
                elif isinstance(step, Success):
                    self._logged_in(step)
        except StreamError as error:
            stream.close(error)
        finally:
            stream.release()

    def _log_in_as(self, account: JID | None) -> None:
        """The stream logs in, or is logged in, as this account, and has no session yet; None: not any more."""
        if self._named is not None:
            self.server.not_logging_in(self._named, self.xmlstream)
        self._named = account
        if account is not None:
            self.server.logging_in(account, self.xmlstream)

    async def _check_enabled(self, success: Success) -> None:
        """Only who has shown the right password learns that his account is disabled; he may try another one."""
        assert self._offer is not None
        try:
            await self.server.accounts.check_enabled(success.account)
        except SASLError:
            self._authentication = Authentication(self.host, self._offer, self.server.accounts.decoys)
            raise

    def _begin_or_respond(self, authentication: Authentication, element: Element) -> Any:
        if element.name == "auth":
            self._log_in_as(None)
            return authentication.begin(element.get("mechanism", ""), element.text)
        if element.name == "response":
            return authentication.respond(element.text)
        return authentication.abort()

    async def _refuse(self, refusal: SASLError) -> None:
        reactor = self.factory.reactor
        name = "" if self._named is None else str(self._named)
        if refusal.condition == "not-authorized":
            wait = self.server.failures.failed(self.peer, name, reactor.seconds())
            if wait:
                await deferLater(reactor, wait)
        self.xmlstream.send_element(refusal.to_element())
        if self._authentication is None or self._authentication.exhausted:
            raise StreamError("policy-violation", "too many failed log-ins")
        if self.server.failures.banned(self.peer, reactor.seconds()):
            raise StreamError("policy-violation", "too many failed log-ins")

    def _logged_in(self, success: Success) -> None:
        if self.claimed is not None and self.claimed != success.account:
            raise StreamError("invalid-from")
        stream = self.xmlstream
        stream.write(leaf(NS_SASL, "success", success.text))
        self.account = success.account
        self._authentication = self._offer = None
        limits = self.server.limits
        stream.limit(Limits(limits.stanza_size, LOGGED_IN_ELEMENTS, limits.depth, limits.attributes))
        stream.restart()

    # Resource binding

    def _bind(self, request: IQ) -> None:
        """Bind the resource that the client asks for, or one of ours (RFC 6120 section 7)."""
        assert self.account is not None
        wanted = request.payload.text_of(NS_BIND, "resource")
        session = self.server.bind(self.account, wanted or "", self.xmlstream)
        self.session = session
        self._log_in_as(None)
        result = Element(NS_BIND, "bind")
        result.add(NS_BIND, "jid", text=str(session.jid))
        stream = self.xmlstream
        stream.write(request.reply(result).to_bytes())
        stream.receive = session.received
        self.pulse.opening.discard(self)
        self.server.bound(session)
