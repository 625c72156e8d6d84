"""What only a server may say is not passed on when somebody else says it (threat C-S2)."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.server.server import Server
from tests.inmemory import Elsewhere, Person, a_server, config_of

JULIET, ROMEO = "juliet@example.com", "romeo@example.com"
STAMP = "stamp='2002-09-10T23:08:25Z'"
FORWARDED = f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{ROMEO}'/></forwarded>"
SENT = f"<sent xmlns='urn:xmpp:carbons:2'>{FORWARDED}</sent>"
RECEIVED = f"<c:received xmlns:c='urn:xmpp:carbons&#58;2'>{FORWARDED}</c:received>"
RESULT = f"<result xmlns='urn:xmpp:mam:2' queryid='q' id='1'>{FORWARDED}</result>"
PRIVILEGE = f"<privilege xmlns='urn:xmpp:privilege:2'>{FORWARDED}</privilege>"
DELEGATION = f"<delegation xmlns='urn:xmpp:delegation:2'>{FORWARDED}</delegation>"
PRIVATE = "<private xmlns='urn:xmpp:carbons:2'/>"


def delay(by: str, legacy: bool = False) -> str:
    """A delay in somebody's name; "-" in nobody's."""
    author = "" if by == "-" else f"from='{by}' "
    return (
        f"<x xmlns='jabber:x:delay' {author}{STAMP}/>" if legacy else f"<delay xmlns='urn:xmpp:delay' {author}{STAMP}/>"
    )


class ForgeryCase(TestCase):
    """Juliet writes to Romeo, and to the world."""

    async def begin(self) -> tuple[Server, Person, Person]:
        """The server, Juliet and Romeo."""
        hosts = ("example.com", "example.org")
        server = await a_server(self, config_of(modules="forgery roster presence", hosts=hosts))
        juliet, romeo = Person(server, f"{JULIET}/balcony"), Person(server, f"{ROMEO}/orchard")
        await romeo.comes_online(roster=False)
        return server, juliet, romeo

    async def passes(self, server: Server, inside: str, sender: Person | None = None) -> str:
        """What of a message's inside reaches Romeo: from Juliet, or from elsewhere."""
        romeo = server.directory.hosts["example.com"]["romeo"].sessions["orchard"].stream
        romeo.written.clear()  # type: ignore[attr-defined]
        if sender is not None:
            await sender.tell(f"<message to='{ROMEO}/orchard'>{inside}</message>")
        else:
            await Elsewhere(server).says(f"<message from='a@else.where' to='{ROMEO}/orchard'>{inside}</message>")
        (message,) = romeo.written  # type: ignore[attr-defined]
        text: str = message.decode().partition(">")[2]
        return text.removesuffix("</message>")


class Delays(ForgeryCase):
    """XEP-0203 section 5."""

    async def test_ours(self) -> None:
        """A delay in the name of a host of ours, or of the recipient, is removed; all copies, old and new."""
        server, juliet, _ = await self.begin()
        for by in ("example.com", "EXAMPLE.com", "example.com/x", "example.org", ROMEO, f"{ROMEO}/orchard"):
            for legacy in (False, True):
                one = delay(by, legacy)
                for sender in (juliet, None):
                    inside = f"{one}<body>delay</body>{one}{one}"
                    self.assertEqual("<body>delay</body>", await self.passes(server, inside, sender), by)

    async def test_theirs(self) -> None:
        """Anybody else's is none of our business."""
        server, juliet, _ = await self.begin()
        for by in ("else.where", "room@conference.example.com/nurse", f"{JULIET}/balcony", "-", "", "a b"):
            for sender in (juliet, None):
                inside = f"<body>b</body>{delay(by)}"
                self.assertEqual(inside, await self.passes(server, inside, sender))

    async def test_presence(self) -> None:
        """Presence is not sent with one, either."""
        server, juliet, _ = await self.begin()
        elsewhere = Elsewhere(server)
        await juliet.tell(f"<presence to='a@else.where'>{delay('example.com')}{delay('else.where')}</presence>")
        (presence,) = elsewhere.took
        self.assertEqual(1, len(presence.children))


class Wrappers(ForgeryCase):
    """What holds somebody else's message."""

    async def test_from_a_client(self) -> None:
        """No client makes copies, results or privileged messages."""
        server, juliet, _ = await self.begin()
        for forged in (SENT, RECEIVED, RESULT, PRIVILEGE, DELEGATION):
            inside = f"{forged}<body>b</body>{forged}"
            self.assertEqual("<body>b</body>", await self.passes(server, inside, juliet), forged)

    async def test_from_elsewhere(self) -> None:
        """Nobody else sends an account copies or privileged messages; results come from rooms."""
        server, _, _ = await self.begin()
        for forged in (SENT, RECEIVED, PRIVILEGE, DELEGATION):
            self.assertEqual("<body>b</body>", await self.passes(server, f"<body>b</body>{forged}"), forged)
        self.assertIn("queryid", await self.passes(server, RESULT))

    async def test_left_alone(self) -> None:
        """What is forwarded openly, and what carbons are told, passes."""
        server, juliet, _ = await self.begin()
        for inside in (FORWARDED, PRIVATE + "<body>b</body>", f"<x xmlns='urn:x'>{SENT}</x>"):
            self.assertIn(inside[:40], await self.passes(server, inside, juliet))

    async def test_the_server(self) -> None:
        """The account itself, whose word is the server's, may."""
        server, _, romeo = await self.begin()
        from tests.inmemory import stanza

        server.router.route(stanza(f"<message from='{ROMEO}' to='{ROMEO}/orchard'>{SENT}</message>"))
        (message,) = romeo.got()
        self.assertEqual((("urn:xmpp:carbons:2", "sent"),), message.children)
