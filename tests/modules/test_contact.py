"""XEP-0157: whom to write to about a host; and the forms of disco#info altogether (XEP-0128)."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.config.problems import ConfigError
from chatrix.xmpp.dataform import Form
from chatrix.xmpp.element import Element
from tests.inmemory import Person, a_server, config_of

ASK = "<iq type='get' id='1' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
CONTACTS = """abuse contact = mailto:abuse@example.com xmpp:abuse@example.com
status contact = https://status.example.com/"""


async def forms(person: Person) -> dict[str, dict[str, tuple[str, ...]]]:
    """The forms that the host shows, and their fields."""
    await person.tell(ASK)
    (answer,) = person.got()
    query: Element = next(iter(answer.tree))
    read = [Form.from_element(child) for child in query if child.name == "x"]
    return {form.form_type: {field.var: field.values for field in form.fields} for form in read}


class Asking(TestCase):
    """disco#info of a host."""

    async def test_addresses(self) -> None:
        """Each role that has addresses is a field; the others are not there."""
        server = await a_server(self, config_of("disco contact", host=CONTACTS))
        self.assertEqual(
            {
                "http://jabber.org/network/serverinfo": {
                    "abuse-addresses": ("mailto:abuse@example.com", "xmpp:abuse@example.com"),
                    "status-addresses": ("https://status.example.com/",),
                }
            },
            await forms(Person(server, "juliet@example.com/b")),
        )

    async def test_none(self) -> None:
        """Without an address there is no form."""
        server = await a_server(self, config_of("disco contact"))
        self.assertEqual({}, await forms(Person(server, "juliet@example.com/b")))

    async def test_reload(self) -> None:
        """A new address is told at once."""
        server = await a_server(self, config_of("disco contact"))
        juliet = Person(server, "juliet@example.com/b")
        server.configure(config_of("disco contact", host="abuse contact = xmpp:new@example.com"))
        self.assertEqual(
            {"http://jabber.org/network/serverinfo": {"abuse-addresses": ("xmpp:new@example.com",)}},
            await forms(juliet),
        )

    async def test_software(self) -> None:
        """The software's name and version stand in a form of their own; the operating system nowhere (XEP-0232)."""
        server = await a_server(self, config_of("disco version"))
        (software,) = (await forms(Person(server, "juliet@example.com/b"))).values()
        self.assertEqual({"software", "software_version"}, set(software))
        self.assertEqual(("chatrix",), software["software"])

    def test_not_a_uri(self) -> None:
        """An address without its scheme stops the start, with a proposal."""
        error = self.assertRaises(ConfigError, config_of, host="abuse contact = abuse@example.com")
        self.assertIn("mailto:abuse@example.com or xmpp:abuse@example.com", str(error))
        self.assertRaises(ConfigError, config_of, host="support contact = https://example.com/<x>")
