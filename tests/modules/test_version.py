"""XEP-0092: name and version, and nothing that helps an attacker."""

from importlib.metadata import version

from twisted.trial.unittest import TestCase

from chatrix.xmpp.element import Element
from tests.inmemory import Person, a_server, config_of


class Asking(TestCase):
    """The module alone."""

    async def test_version(self) -> None:
        """The host tells its name and version; never the operating system."""
        juliet = Person(await a_server(self, config_of(modules="version")), "juliet@example.com/b")
        await juliet.tell("<iq type='get' id='1' to='example.com'><query xmlns='jabber:iq:version'/></iq>")
        (answer,) = juliet.got()
        query: Element = next(iter(answer.tree))
        told = {child.name: child.text for child in iter(query)}
        self.assertEqual({"name": "chatrix", "version": version("chatrix")}, told)
