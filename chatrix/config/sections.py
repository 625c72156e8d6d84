"""The sections of the ini that the server itself reads: [chatrix], [limits] and [host DOMAIN]."""

import re
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from chatrix.config.options import option
from chatrix.config.values import DAY, HOUR, KIB, MIB, MINUTE, Duration, Endpoint, Rate, Size
from chatrix.xmpp.jid import JID

_FILES_KEPT_FREE = 64
"""Descriptors for the database, the logs, the listening sockets and the certificates."""

Mechanism = Literal[
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "PLAIN",
]


def _check_database(database: str) -> str:
    scheme, colon, rest = database.partition(":")
    if scheme == "sqlite" and colon:
        return "" if rest.strip("/") else 'the file is missing; write for example "sqlite:chatrix.sqlite"'
    if scheme in ("postgresql", "postgres") and rest.startswith("//"):
        try:
            parts = urlsplit(database)
            has_port_or_none = parts.port is None or parts.port > 0
        except ValueError:
            # What Python says here may repeat a part of the password.
            return "is not an address of a database; special characters of the password are written as %XX"
        if not parts.path.strip("/"):
            return "the name of the database is missing"
        return "" if has_port_or_none else "0 is not a port"
    return 'is neither "sqlite:FILE" nor "postgresql://USER@HOST/DATABASE"'


def _check_registration(registration: str) -> str:
    return "" if registration == "closed" else f'"{registration}" is not supported by this version; only "closed" is'


def _check_admins(admins: tuple[JID, ...]) -> str:
    for admin in admins:
        if not admin.local or admin.resource:
            return f'"{admin}" is not the address of an account, such as juliet@example.com'
    return ""


_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")


def _check_contact(addresses: tuple[str, ...]) -> str:
    for address in addresses:
        if not _URI.fullmatch(address):
            example = f"mailto:{address} or xmpp:{address}" if "@" in address else "https://status.example.com"
            return f'"{address}" is not a URI, such as {example}'
    return ""


def _contact(doc: str) -> Any:
    return option((), doc=doc, check=_check_contact, restart=False)


@dataclass(frozen=True, kw_only=True)
class ChatrixOptions:
    """The server as a whole."""

    state: Path = option(
        Path("var"), doc="Folder of everything the server writes; `var` beside the ini when nothing is said."
    )
    modules: tuple[str, ...] = option(
        (
            "blocking",
            "forgery",
            "stanza_id",
            "disco",
            "roster",
            "presence",
            "subscription",
            "ping",
            "version",
            "time",
            "last",
            "offline",
            "vcard",
            "private",
            "caps",
            "contact",
            "commands",
            "announcements",
            "admin",
            "shared_roster",
        ),
        doc="What the server can do, a word for each. Within a stage of a walk, modules act in this order. "
        "A dotted name is an import path to a module of somebody else.",
    )
    database: str = option(
        "sqlite:chatrix.sqlite",
        doc="Where accounts and messages are kept: `sqlite:FILE` (inside `state`) or `postgresql://USER@HOST/DATABASE`.",
        check=_check_database,
    )
    c2s: tuple[Endpoint, ...] = option((Endpoint("tcp:5222"),), doc="Where clients connect (STARTTLS).")
    c2s_tls: tuple[Endpoint, ...] = option(
        (Endpoint("tcp:5223"),), doc="Where clients connect with TLS from the first byte (XEP-0368)."
    )

    @property
    def control_socket(self) -> Path:
        """The UNIX socket on which `chatrixctl` talks to the running server."""
        return self.state / "control.sock"


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """What a stranger, a client and an account may use up."""

    stanza_size_before_log_in: Size = option(
        Size(8 * KIB), doc="The longest first-level element before log-in.", minimum=KIB, maximum=MIB, restart=False
    )
    elements_before_log_in: int = option(
        32, doc="First-level elements before log-in.", minimum=8, maximum=1000, restart=False
    )
    log_in_time: Duration = option(
        Duration(30), doc="From the first byte to a bound resource.", minimum=1, maximum=HOUR, restart=False
    )
    handshake_time: Duration = option(
        Duration(10), doc="For a TLS handshake.", minimum=1, maximum=10 * MINUTE, restart=False
    )
    stanza_size: Size = option(
        Size(256 * KIB), doc="The longest stanza after log-in.", minimum=10 * KIB, maximum=16 * MIB, restart=False
    )
    depth: int = option(64, doc="Elements nested in each other.", minimum=8, maximum=255, restart=False)
    attributes: int = option(64, doc="Attributes of one element.", minimum=8, maximum=1000, restart=False)
    idle_time: Duration = option(
        Duration(10 * MINUTE),
        doc="Silence after which the server asks a client whether it is still there.",
        minimum=10,
        maximum=DAY,
        restart=False,
    )
    connections_per_address: int = option(
        50, doc="Connections from one IP address (IPv6: from one /64 network).", minimum=1, restart=False
    )
    connections_in_all: int | None = option(
        None,
        doc="Client connections to the whole server; none stands for what the system's limit of open files allows.",
        minimum=1,
        restart=False,
    )
    sessions_per_account: int = option(
        10, doc="Clients of one account at the same time.", minimum=1, maximum=1000, restart=False
    )
    roster_items: int = option(1000, doc="Contacts in one roster.", minimum=1, restart=False)
    queue_size: Size = option(
        Size(4 * MIB),
        doc="Bytes waiting for a client that reads too slowly, before its stream is closed.",
        minimum=64 * KIB,
        restart=False,
    )
    auth_failures: int = option(
        5, doc="Failed log-ins from one address before it is banned.", minimum=1, maximum=1000, restart=False
    )
    ban_time: Duration = option(Duration(6 * HOUR), doc="How long a ban lasts.", maximum=30 * DAY, restart=False)
    c2s_rate: Rate | None = option(
        Rate(128 * KIB), doc="What one client may send for long.", minimum=KIB, restart=False
    )
    c2s_burst: Size = option(
        Size(MIB), doc="What one client may send at once, before the rate holds.", minimum=16 * KIB, restart=False
    )

    def __post_init__(self) -> None:
        if self.stanza_size < self.stanza_size_before_log_in:
            raise ValueError("stanza size is below stanza size before log-in")

    @property
    def connection_ceiling(self) -> int:
        """Connections in all, worked out from RLIMIT_NOFILE where the ini says none."""
        if self.connections_in_all is not None:
            return self.connections_in_all
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return 1_000_000
        return max(1, files - _FILES_KEPT_FREE)


@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """One domain whose users log in here."""

    certificate: Path = option(
        doc="PEM file with private key and certificate chain, or a folder that is searched by host name.",
        restart=False,
    )
    registration: Literal["closed", "invite", "open"] = option(
        "closed", doc="Who may make an account.", check=_check_registration, restart=False
    )
    admins: tuple[JID, ...] = option((), doc="Accounts with an admin's rights.", check=_check_admins, restart=False)
    mechanisms: tuple[Mechanism, ...] = option(
        (), doc="The only SASL mechanisms to offer; all that fit the connection when nothing is said.", restart=False
    )
    conflict: Literal["replace", "refuse", "rename"] = option(
        "replace",
        doc="When a client asks for a resource that is in use: the old session goes, the new one is refused, "
        "or the new one gets another resource (RFC 6120 section 7.7.2.2).",
        restart=False,
    )
    abuse_contact: tuple[str, ...] = _contact(
        "Whom to tell about spam from this host: URIs such as `mailto:abuse@example.com xmpp:abuse@example.com`. "
        "Published with the other contacts by the module `contact`."
    )
    admin_contact: tuple[str, ...] = _contact("Who runs this host.")
    feedback_contact: tuple[str, ...] = _contact("Who wants to know what users think.")
    sales_contact: tuple[str, ...] = _contact("Whom to ask about prices.")
    security_contact: tuple[str, ...] = _contact("Whom to tell about a security problem.")
    status_contact: tuple[str, ...] = _contact("Where it is said whether this host works, such as a web page.")
    support_contact: tuple[str, ...] = _contact("Who helps users.")
