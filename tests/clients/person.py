"""Somebody who chats with slixmpp, for the scripts beside this file: what came is kept, what is to come is awaited.

A process of its own runs this, with asyncio; trial and Twisted are not in it.
"""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

from slixmpp import ClientXMPP

WITHIN = 15.0


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every script needs to reach the server."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--domain", default="localhost")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--authority", required=True, help="PEM file of the only authority to trust")
    parser.add_argument("--password", default="secret")
    parser.add_argument("--direct-tls", action="store_true", help="TLS from the first byte (XEP-0368)")
    return parser


class Refused(Exception):
    """The log-in failed; the text is the name of slixmpp's event."""


class Person(ClientXMPP):
    """One client."""

    def __init__(self, jid: str, options: argparse.Namespace, password: str = "", authority: str = "") -> None:
        super().__init__(jid, password or options.password)
        self.ca_certs = authority or options.authority
        self.enable_direct_tls = options.direct_tls
        self.enable_starttls = not options.direct_tls
        # A script says itself whom it lets see its presence.
        self.auto_authorize = None
        self.auto_subscribe = False
        for number in ("0030", "0092", "0199", "0202", "0203"):
            self.register_plugin(f"xep_{number}")
        self.messages: list[Any] = []
        self.errors: list[Any] = []
        self.requests: list[str] = []
        self.refused = ""
        self.here = False
        self._address, self._port = options.address, options.port
        self._news = asyncio.Event()
        self.add_event_handler("session_start", self._begin)
        self.add_event_handler("message", lambda message: self._keep(self.messages, message))
        self.add_event_handler("message_error", lambda message: self._keep(self.errors, message))
        self.add_event_handler("presence_subscribe", lambda asked: self._keep(self.requests, asked["from"].bare))
        for name in ("failed_all_auth", "ssl_invalid_chain", "connection_failed", "stream_error"):
            self.add_event_handler(name, lambda _, name=name: self._refuse(name))
        for name in ("roster_update", "changed_status", "disconnected"):
            self.add_event_handler(name, lambda _: self._news.set())

    async def log_in(self) -> None:
        """Connect, log in, fetch the roster, become available. Raises: Refused, TimeoutError."""
        self.connect(self._address, self._port)
        await self.until(lambda: self.here or self.refused, "logged in")
        if self.refused:
            raise Refused(self.refused)

    async def log_off(self) -> None:
        """Become unavailable and close the stream."""
        await self.disconnect()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something has come that makes `condition` true. Raises: TimeoutError."""
        try:
            async with asyncio.timeout(WITHIN):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.boundjid}: never {what}") from None

    async def read(self, body: str) -> Any:
        """Wait for the message with this body. Raises: TimeoutError."""
        await self.until(lambda: self.message(body), f"received {body!r}")
        return self.message(body)

    async def in_vain(self, jid: str, body: str) -> str:
        """Send a chat message that comes back; return why. Raises: TimeoutError."""
        before = len(self.errors)
        self.send_message(jid, body, mtype="chat")
        await self.until(lambda: len(self.errors) > before, f"refused {body!r}")
        return str(self.errors[-1]["error"]["condition"])

    def message(self, body: str) -> Any | None:
        """Return the message with this body, if it has come."""
        return next((message for message in self.messages if message["body"] == body), None)

    def subscription(self, jid: str) -> str:
        """Return the state of the subscription with a contact, as the last roster push has it."""
        return str(self.client_roster[jid]["subscription"]) if jid in self.client_roster else "none"

    def sees(self, jid: str) -> bool:
        """Tell whether a contact is available."""
        return jid in self.client_roster and bool(self.client_roster[jid].resources)

    async def _begin(self, _: object) -> None:
        await self.get_roster()
        self.send_presence()
        self.here = True
        self._news.set()

    def _keep(self, kept: list[Any], what: Any) -> None:
        kept.append(what)
        self._news.set()

    def _refuse(self, why: str) -> None:
        self.refused = self.refused or why
        self._news.set()
