"""XEP-0199: who answers a ping."""

from twisted.trial.unittest import TestCase

from tests.inmemory import Person, a_server, config_of, outline


class Pinging(TestCase):
    """The module alone."""

    async def test_ping(self) -> None:
        """The host and one's own account answer; another's account, a set and somebody's session do not."""
        server = await a_server(self, config_of(modules="ping"))
        juliet = Person(server, "juliet@example.com/b")
        Person(server, "romeo@example.com/o")
        for to, type_, expected in (
            ("example.com", "get", "result"),
            ("juliet@example.com", "get", "result"),
            ("", "get", "result"),
            ("romeo@example.com", "get", "service-unavailable"),
            ("nobody@example.com", "get", "service-unavailable"),
            ("example.com", "set", "service-unavailable"),
        ):
            with self.subTest(to=to, type=type_):
                addressed = f"to='{to}'" if to else ""
                await juliet.tell(f"<iq type='{type_}' id='1' {addressed}><ping xmlns='urn:xmpp:ping'/></iq>")
                (answer,) = juliet.got()
                self.assertEqual(expected, answer.type if answer.type == "result" else outline(answer)[-1])
                self.assertEqual("1", answer.id)
        self.assertEqual(["urn:xmpp:ping"], server.features())
