"""XEP-0115: the server's own capabilities in the stream features, and the node that stands for them."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.modules.caps import NODE, Caps
from chatrix.server.server import Server
from chatrix.xmpp.caps import ver
from chatrix.xmpp.element import Element
from tests.inmemory import Person, a_server, config_of, outline

HOSTS = ("example.com", "example.net")
MODULES = "disco caps contact version ping"


def told(server: Server, domain: str = "example.com") -> tuple[str | None, ...]:
    """Hash, node and ver in the stream features of a host."""
    (c,) = (each for each in server.stream_features(domain) if each.name == "c")
    return c.get("hash"), c.get("node"), c.get("ver")


async def info(person: Person, node: str = "", to: str = "example.com") -> Element:
    """What the host says of itself."""
    inside = f"node='{node}'" if node else ""
    await person.tell(
        f"<iq type='get' id='1' to='{to}'><query xmlns='http://jabber.org/protocol/disco#info' {inside}/></iq>"
    )
    (answer,) = person.got()
    return next(iter(answer.tree))


class Telling(TestCase):
    """`Caps`."""

    async def begin(self, **options: str) -> tuple[Server, Person]:
        """Two hosts, and Juliet."""
        server = await a_server(self, config_of(MODULES, hosts=HOSTS, **options))
        return server, Person(server, "juliet@example.com/b")

    async def test_verifies(self) -> None:
        """The hash is that of what disco#info says, forms and all."""
        server, juliet = await self.begin(host="abuse contact = xmpp:abuse@example.com")
        query = await info(juliet)
        self.assertEqual(("sha-1", NODE, ver(query)), told(server))
        self.assertIn("http://jabber.org/protocol/caps", [child.get("var") for child in query])
        self.assertEqual(["form", "form"], ["form" for child in query if child.name == "x"])

    async def test_node(self) -> None:
        """Asked with the node of the claim, the host says the same, and repeats the node (section 6.2)."""
        server, juliet = await self.begin()
        node = f"{NODE}#{told(server)[2]}"
        query = await info(juliet, node)
        self.assertEqual(node, query.get("node"))
        self.assertEqual(told(server)[2], ver(query))
        for other in (NODE, f"{NODE}#", f"{NODE}#x"):
            await juliet.tell(
                f"<iq type='get' id='1' to='example.com'>"
                f"<query xmlns='http://jabber.org/protocol/disco#info' node='{other}'/></iq>"
            )
            self.assertEqual(["item-not-found"], [outline(each)[-1] for each in juliet.got()])

    async def test_not_of_accounts(self) -> None:
        """An account does not answer for the host."""
        server, juliet = await self.begin()
        await juliet.tell(
            f"<iq type='get' id='1'><query xmlns='http://jabber.org/protocol/disco#info' "
            f"node='{NODE}#{told(server)[2]}'/></iq>"
        )
        self.assertEqual(["item-not-found"], [outline(each)[-1] for each in juliet.got()])

    async def test_reload(self) -> None:
        """A host's own claim follows its own forms when the ini was read again; it is not made twice for one ini."""
        server, juliet = await self.begin()
        caps = server.module(Caps)
        assert caps is not None
        before = told(server)
        host = server.hosts["example.com"]
        self.assertIs(caps.claim(host), caps.claim(host))
        more = "[host example.org]\ncertificate = host.pem\nsupport contact = xmpp:help@example.org"
        server.configure(config_of(MODULES, hosts=HOSTS, more=more))
        self.assertEqual(before, told(server))
        self.assertNotEqual(before, told(server, "example.org"))
        server.configure(config_of(MODULES, hosts=HOSTS, host="support contact = xmpp:help@example.com"))
        self.assertNotEqual(before, told(server))
        self.assertEqual(ver(await info(juliet)), told(server)[2])

    async def test_clients(self) -> None:
        """Other modules may ask this one for the features of a session."""
        server, juliet = await self.begin()
        caps = server.module(Caps)
        assert caps is not None
        self.assertEqual(frozenset(), await caps.features_of(juliet.session))
