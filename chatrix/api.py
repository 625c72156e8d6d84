"""What a module sees of the server: everything a module's author needs, and all that he may rely on.

    class Greeting(Module):
        \"""Greet whoever logs in.\"""

        @on(SessionBound)
        def greet(self, fact: SessionBound) -> None: ...

`docs/writing-a-module` is the tutorial.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from chatrix.config.options import option
from chatrix.config.values import Duration, Endpoint, Rate, Size
from chatrix.hooks import Role, Stage, Target, Verdict, command, iq, on
from chatrix.server.background import in_background
from chatrix.server.blocklists import Blocklist
from chatrix.server.broadcast import send_current, send_to, send_unavailable, unavailable
from chatrix.server.commands import Command, Completed, Execution, More
from chatrix.server.directory import Account
from chatrix.server.events import (
    AccountDeleted,
    Addressing,
    Arriving,
    BecameAvailable,
    BecameUnavailable,
    Sending,
    SessionBound,
    SessionEnded,
    Undelivered,
    Writing,
)
from chatrix.server.host import Host
from chatrix.server.repeat import repeat
from chatrix.server.rosters import Roster, RosterItem, Rosters
from chatrix.server.server import Server
from chatrix.server.session import Session
from chatrix.store.accounts import AccountExists, NoSuchAccount
from chatrix.store.announcements import MOTD, WELCOME, Announcement, Announcements
from chatrix.store.blocking import Blocking as BlocklistStore
from chatrix.store.blocking import Report, Reports, TooManyItems
from chatrix.store.ids import microseconds
from chatrix.store.log_ins import LogIn
from chatrix.store.private_xml import PrivateXML, TooMuch
from chatrix.store.shared_groups import GroupExists, NoSuchMember
from chatrix.store.vcards import VCards
from chatrix.xmpp.dataform import Form
from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError, StreamError
from chatrix.xmpp.jid import JID, InvalidJID
from chatrix.xmpp.sasl.saslprep import InvalidPassword
from chatrix.xmpp.stanza import IQ, Message, Presence, Stanza

__all__ = [
    "IQ",
    "JID",
    "MOTD",
    "WELCOME",
    "Account",
    "AccountDeleted",
    "AccountExists",
    "Addressing",
    "Announcement",
    "Announcements",
    "Arriving",
    "BecameAvailable",
    "BecameUnavailable",
    "Blocklist",
    "BlocklistStore",
    "Command",
    "Completed",
    "Duration",
    "Element",
    "Endpoint",
    "Execution",
    "Form",
    "GroupExists",
    "Host",
    "InvalidJID",
    "InvalidPassword",
    "LogIn",
    "Message",
    "Module",
    "More",
    "NoSuchAccount",
    "NoSuchMember",
    "Presence",
    "PrivateXML",
    "Rate",
    "Report",
    "Reports",
    "Role",
    "Roster",
    "RosterItem",
    "Rosters",
    "Sending",
    "Server",
    "Session",
    "SessionBound",
    "SessionEnded",
    "Size",
    "Stage",
    "Stanza",
    "StanzaError",
    "StreamError",
    "Target",
    "TooManyItems",
    "TooMuch",
    "Undelivered",
    "VCards",
    "Verdict",
    "Writing",
    "command",
    "in_background",
    "iq",
    "microseconds",
    "on",
    "option",
    "repeat",
    "send_current",
    "send_to",
    "send_unavailable",
    "unavailable",
]


class Module:
    """One feature of the server: a class whose marked methods act on events and answer requests.

    Made once, at start-up, in the order of `modules =`.
    """

    features: ClassVar[tuple[str, ...]] = ()
    "What disco#info of a host says because of this module."
    account_features: ClassVar[tuple[str, ...]] = ()
    "What disco#info of an account says because of this module."
    requires: ClassVar[tuple[str, ...]] = ()
    "Words of other modules without which this one makes no sense."
    options: ClassVar[type[Any] | None] = None
    "A frozen dataclass of `option` fields, the section [module WORD] of the ini; None: there is no such section."

    def __init__(self, server: Server, options: Any) -> None:
        """`options` is an instance of the class's `options`. Do nothing here that waits; `start` can.

        Raises:
            Exception: whatever speaks against this module; the server does not start, and says why.
        """
        self.server = server
        self.settings = options

    async def start(self) -> None:
        """The database is open, nobody is connected yet."""

    async def stop(self) -> None:
        """All sessions are closed, the database is still open."""

    def stream_features(self) -> Iterable[Element]:
        """What a stream that is logged in advertises because of this module."""
        return ()

    def host_features(self, host: Host) -> Iterable[Element]:
        """What only the streams of this host advertise, once logged in; asked again when the ini was read again."""
        return ()

    def forms(self, host: Host) -> Iterable[Form]:
        """What disco#info of a host says in forms (XEP-0128) because of this module, each with its `form_type`."""
        return ()

    async def info_of_node(self, request: IQ, node: str) -> Element | None:
        """Answer disco#info about a node of a host or an account; None: no node of this module."""
        return None

    async def items_of_node(self, request: IQ, node: str) -> Element | None:
        """Answer disco#items of a node of a host or an account; None: no node of this module."""
        return None
