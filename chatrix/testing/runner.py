"""Perform a transcript on a stage: in memory or over TCP, the conversation is the same."""

from lxml import etree

from chatrix.testing.client import Client, ConnectionClosed, TimedOut, error_condition, is_stream_error
from chatrix.testing.login import LoginFailed, log_in
from chatrix.testing.matching import NS_STREAM, Mismatch, as_text, fill_in, match, match_in_any_order
from chatrix.testing.scram import ScramFailed
from chatrix.testing.stage import Stage
from chatrix.testing.transcript import (
    Connects,
    Disconnects,
    DropsConnection,
    GetsStreamError,
    IgnoresWhatCame,
    IsDisconnected,
    Opens,
    Receives,
    ReceivesNothing,
    Sends,
    SendsRaw,
    StartsTLS,
    Step,
    Transcript,
)


class Departure(AssertionError):
    """The conversation went another way than the transcript. The text begins with file and line."""


async def perform(transcript: Transcript, stage: Stage) -> None:
    """Play the whole transcript; what is left over at the end is a departure too.

    Raises: Departure; whatever the stage raises when it cannot make an account.
    """
    for account in transcript.accounts:
        await stage.add_account(account.jid, account.password)
    performance = _Performance(transcript, stage)
    try:
        for step in transcript.steps:
            await performance.play(step)
        last = transcript.steps[-1]
        end = ReceivesNothing(last.file, last.line, "", "nobody receives anything more")
        await performance.play(end)
    finally:
        await performance.leave()


class _Performance:
    def __init__(self, transcript: Transcript, stage: Stage) -> None:
        self._transcript, self._stage = transcript, stage
        self._passwords = {account.jid: account.password for account in transcript.accounts}
        self._clients: dict[str, Client] = {}
        self._connections: list[Client] = []
        self._captured: dict[str, str] = {}
        self._sent_to: dict[str, set[str]] = {}

    async def play(self, step: Step) -> None:
        """Raises: Departure."""
        try:
            await self._play(step)
        except (Mismatch, LoginFailed, ScramFailed, ConnectionClosed, TimedOut) as error:
            raise Departure(f"{step.place}: {step.text}\n  {error}") from error

    async def leave(self) -> None:
        """Cut every connection that is left and wait until it is gone."""
        for client in self._connections:
            client.abort()
            await client.gone

    async def _play(self, step: Step) -> None:  # noqa: C901 - one case for each sentence, nothing nested
        match step:
            case Connects():
                client = await self._connect(step, tls=False)
                await log_in(client)
                self._captured[step.who] = client.jid
            case Opens():
                await self._connect(step, tls=step.tls)
            case StartsTLS():
                self._client(step).start_tls()
            case Sends():
                self._sent_to.setdefault(step.who, set()).update(fill_in(to, self._captured) for to in step.recipients)
                self._client(step).send(fill_in(step.xml, self._captured))
            case SendsRaw():
                if step.opens_stream:
                    self._client(step).expect_new_stream()
                self._client(step).send(step.data)
            case Receives():
                await self._receive(step)
            case ReceivesNothing():
                for client, stanzas in (await self._barrier()).items():
                    if step.who in {"", client.name}:
                        _refuse(stanzas, client)
            case IgnoresWhatCame():
                for client in await self._barrier():
                    if step.who in {"", client.name}:
                        client.inbox.clear()
            case GetsStreamError():
                element = await self._client(step).next()
                if element.tag == f"{{{NS_STREAM}}}stream":
                    # An error before the server's header is preceded by one (RFC 6120 section 4.9.1.2).
                    element = await self._client(step).next()
                if not is_stream_error(element) or error_condition(element) != step.condition:
                    raise Mismatch(f"got {as_text(element)}")
                await self._client(step).stream_closed()
            case IsDisconnected():
                await self._client(step).disconnected()
                _refuse(self._client(step).inbox, self._client(step))
            case Disconnects():
                await self._client(step).close()
                _refuse(self._client(step).inbox, self._client(step))
            case DropsConnection():
                self._client(step).abort()
                await self._client(step).disconnected()
            case _:
                raise AssertionError(f"no way to perform {step!r}")

    async def _connect(self, step: Step, tls: bool) -> Client:
        jid = self._transcript.clients[step.who]
        client = Client(step.who, jid, self._passwords[jid.partition("/")[0]], self._stage.clock)
        await self._stage.connect(client, tls)
        self._clients[step.who] = client
        self._connections.append(client)
        return client

    def _client(self, step: Step) -> Client:
        if step.who not in self._clients:
            raise Mismatch(f"{step.who} is not connected")
        return self._clients[step.who]

    async def _receive(self, step: Receives) -> None:
        client = self._client(step)
        if step.any_order:
            came = [await self._next(client, step.stanzas[index:]) for index in range(len(step.stanzas))]
            try:
                self._captured = match_in_any_order(step.stanzas, came, self._captured)
            except Mismatch as mismatch:
                raise Mismatch(f"{mismatch}\n  came: " + "\n        ".join(map(as_text, came))) from mismatch
            return
        for index, expected in enumerate(step.stanzas):
            element = await self._next(client, step.stanzas[index:])
            try:
                self._captured = match(expected, element, self._captured)
            except Mismatch as mismatch:
                wanted, got = fill_in(as_text(expected), self._captured), as_text(element)
                raise Mismatch(f"{mismatch}\n  expected: {wanted}\n  came:     {got}") from mismatch

    async def _next(self, client: Client, missing: tuple[etree._Element, ...]) -> etree._Element:
        try:
            return await client.next()
        except (ConnectionClosed, TimedOut) as error:
            raise type(error)(f"{error}\n  missing: {fill_in(as_text(missing[0]), self._captured)}") from error

    async def _barrier(self) -> dict[Client, list[etree._Element]]:
        """Wait until everything sent has been handled and has arrived; return what each inbox holds then.

        First every client pings everybody it has written to (see `Client.ping`), its account and its host; then each
        pings its account once more, behind whatever those stanzas have caused.
        """
        present = [client for client in self._clients.values() if client.bound and client.lost is None]
        for client in present:
            for to in sorted(self._sent_to.pop(client.name, set()) | {"", client.domain}):
                await client.ping(to)
        return {client: await client.ping("") for client in present}


def _refuse(stanzas: list[etree._Element], client: Client) -> None:
    if stanzas:
        raise Mismatch(f"{client.name} received:\n    " + "\n    ".join(map(as_text, stanzas)))
