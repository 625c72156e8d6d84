"""The certificates of our hosts: chosen by SNI, watched, and swapped without a restart once they are found good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, cast

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chatrix.net.certificate_files import CertificateError, Pair, Place, ascii_name, places, read
from chatrix.net.tls_policy import server_context
from chatrix.xmpp.sasl.channel_binding import tls_server_end_point

DIRECT_CLIENTS = (b"xmpp-client",)
"""Application protocols of direct TLS (XEP-0368); where STARTTLS came first, there are none."""

POLL = 60.0
"""Seconds between two looks at the files."""

TICKET_KEYS_LAST = 86400.0
"""Seconds after which contexts are made anew, as OpenSSL keeps the keys of session tickets for a context's life."""

log = Logger()


class Problem(NamedTuple):
    """Something an admin should see to."""

    host: str
    text: str
    fatal: bool
    """The host has no certificate at all; otherwise it goes on with the old one, or with one not quite right."""

    def __str__(self) -> str:
        return f"{self.host}: {self.text}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What others need to know of the certificate a connection was served."""

    host: str
    """The host it was chosen for."""
    path: Path
    der: bytes
    end_point: bytes | None
    """Data of the channel binding tls-server-end-point; None when it is not defined (RFC 5929 section 4)."""
    expires: datetime


class Certificates:
    """One certificate per host. Nothing is read before `reload`.

    `sources` has the file, or the folder to search, of each host (as written in the ini, U-labels); the first host's
    certificate is for those who do not say which one they want.
    """

    def __init__(self, sources: Mapping[str, Path], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._sources = dict(sources)
        self._now = now
        self._pairs: dict[str, Pair] = {}
        self._known: dict[str, Certificate] = {}
        self._contexts: dict[tuple[str, tuple[bytes, ...]], SSL.Context] = {}
        self._hosts_by_name: dict[str, str] = {}
        self._seen: object = None
        self._polling: LoopingCall | None = None
        self._contexts_made = 0.0

    # -- for a handshake, and after it

    def context(self, host: str = "", protocols: tuple[bytes, ...] = ()) -> SSL.Context:
        """The context to begin a handshake with: this host's (or the first one's) unless SNI asks for another.

        Ask for each connection anew, as certificates are swapped. `protocols` are the application protocols (ALPN) of a
        port with direct TLS; a client that offers others is refused (threat T8).

        Raises: KeyError for a host that has no certificate.
        """
        host = host or next(iter(self._sources))
        context = self._contexts.get((host, protocols))
        if context is None:
            context = self._new_context(host, self._pairs[host], protocols)
            self._contexts[host, protocols] = context
        return context

    def host_of(self, connection: SSL.Connection) -> str | None:
        """The host of ours that the client asked for by SNI; None when it named none, or none of ours."""
        name = connection.get_servername()
        return None if name is None else self._hosts_by_name.get(_sni_name(name))

    def certificate_of(self, connection: SSL.Connection) -> Certificate:
        """The certificate this connection was served, even if it has been swapped since."""
        return cast(Certificate, connection.get_context().get_app_data())

    def certificate(self, host: str) -> Certificate:
        """The certificate that this host has now. Raises: KeyError."""
        return self._known[host]

    def expires(self, host: str) -> datetime:
        """When the certificate of this host does (UTC). Raises: KeyError."""
        return self._pairs[host].expires

    def _new_context(self, host: str, pair: Pair, protocols: tuple[bytes, ...]) -> SSL.Context:
        def choose(connection: SSL.Connection) -> None:
            wanted = self.host_of(connection)
            if wanted is not None and wanted != host and wanted in self._pairs:
                connection.set_context(self.context(wanted, protocols))

        context = server_context(pair, protocols, choose)
        context.set_app_data(self._known.get(host))
        return context

    # -- reading and swapping

    def reload(self, sources: Mapping[str, Path] | None = None) -> list[Problem]:
        """Look at all files again, and swap what is new and good; with `sources`, other hosts are served from now on.

        A host whose new certificate is bad keeps the old one. What is wrong is returned, and logged.
        """
        if sources is not None:
            self._sources = dict(sources)
        self._seen = self._look()
        problems: list[Problem] = []
        for host, source in self._sources.items():
            found = self._search(host, source, problems)
            if found is not None:
                self._take(host, found, problems)
            if host not in self._pairs:
                problems.append(Problem(host, f"{source}: no certificate to use", fatal=True))
        for host in self._pairs.keys() - self._sources.keys():
            del self._pairs[host]
            del self._known[host]
        self._hosts_by_name = {ascii_name(host): host for host in self._pairs}
        self._contexts = {key: context for key, context in self._contexts.items() if key[0] in self._pairs}
        for problem in problems:
            log.warn("certificate of {problem}", problem=problem)  # noqa: G010 (Twisted's Logger)
        return problems

    def watch(self, reactor: IReactorTime, interval: float = POLL) -> None:
        """Look every `interval` seconds if a file has changed, and reload if one has; until `stop_watching`."""
        self._contexts_made = reactor.seconds()
        self._polling = LoopingCall(self._poll, reactor)
        self._polling.clock = reactor
        self._polling.start(interval, now=False).addErrback(lambda failure: log.failure("watching", failure))

    def stop_watching(self) -> None:
        """Look no more."""
        if self._polling is not None and self._polling.running:
            self._polling.stop()

    def _poll(self, reactor: IReactorTime) -> None:
        if self._look() != self._seen:
            self.reload()
        if reactor.seconds() - self._contexts_made > TICKET_KEYS_LAST:
            self._contexts_made = reactor.seconds()
            self._contexts.clear()

    def _look(self) -> object:
        """Something that changes when a file does."""
        seen = {}
        for source in {*self._sources.values()}:
            try:
                seen[source] = [place.signature for place in places(source)]
            except CertificateError as error:
                seen[source] = [(str(error),)]
        return seen

    def _search(self, host: str, source: Path, problems: list[Problem]) -> Pair | None:
        """The best certificate for this host: one that is valid now, names it, and expires last."""
        found: list[Pair] = []
        refused: list[tuple[Place, CertificateError]] = []
        try:
            for place in places(source):
                try:
                    found.append(read(place))
                except CertificateError as error:
                    refused.append((place, error))
        except CertificateError as error:
            problems.append(Problem(host, str(error), fatal=False))
            return None
        now = self._now()
        fit = [pair for pair in found if pair.covers(host)]
        fit = fit or [pair for pair in found if pair.place.certificate == source or pair.place.is_named(host)]
        for place, refusal in refused:
            if not fit or place.is_named(host):
                problems.append(Problem(host, str(refusal), fatal=False))
        return max(fit, key=lambda pair: (pair.is_valid_at(now), pair.expires), default=None)

    def _take(self, host: str, new: Pair, problems: list[Problem]) -> None:
        """Put a certificate into use, unless it would replace a better one."""
        path = new.place.certificate
        now = self._now()
        old = self._pairs.get(host)
        if not new.is_valid_at(now):
            state = "has expired" if new.expires < now else "is not valid yet"
            if old is not None and old.is_valid_at(now):
                problems.append(Problem(host, f"{path}: {state}; the old one stays in use", fatal=False))
                return
            problems.append(Problem(host, f"{path}: {state}", fatal=False))
        if not new.covers(host):
            problems.append(Problem(host, f"{path}: {host} is not among its names", fatal=False))
        if old is not None and (old.certificate, old.chain) == (new.certificate, new.chain):
            return
        der = new.certificate.public_bytes(Encoding.DER)
        certificate = Certificate(host, path, der, tls_server_end_point(der), new.expires)
        try:
            context = self._new_context(host, new, ())
        except SSL.Error as error:
            problems.append(Problem(host, f"{path}: OpenSSL does not take it: {_reason(error)}", fatal=False))
            return
        context.set_app_data(certificate)
        self._pairs[host] = new
        self._known[host] = certificate
        self._contexts = {key: context for key, context in self._contexts.items() if key[0] != host}
        self._contexts[host, ()] = context
        log.info("certificate of {host}: {path}, expires {expires}", host=host, path=path, expires=new.expires)


def _sni_name(name: bytes) -> str:
    return name.decode("ascii", "replace").lower().rstrip(".")


def _reason(error: SSL.Error) -> str:
    """The last word of OpenSSL's error queue."""
    queue = error.args[0] if error.args else ()
    return str(queue[-1][-1]) if queue else repr(error)
