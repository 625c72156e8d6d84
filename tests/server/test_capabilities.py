"""What clients can do: learned from them, shared when proved, and never poisoned (threat P4)."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.server.capabilities import LONGEST_ANSWER, Capabilities
from chatrix.server.server import Server
from chatrix.xmpp.caps import Claim, ver
from chatrix.xmpp.dataform import Field, Form
from chatrix.xmpp.disco import Identity, info
from chatrix.xmpp.element import Element, serialise
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.stanza import IQ, Stanza
from tests.inmemory import Person, a_server, config_of

CLIENT = Identity("client", "pc", "Exodus 0.9.1")
MOOD = "http://jabber.org/protocol/mood+notify"
HONEST = info([CLIENT], ["http://jabber.org/protocol/disco#info", MOOD])
FEATURES = frozenset({"http://jabber.org/protocol/disco#info", MOOD})


def presence(ver: str, hashed: str = " hash='sha-1'") -> str:
    """A presence that claims something."""
    return f"<presence><c xmlns='http://jabber.org/protocol/caps'{hashed} node='urn:exodus' ver='{ver}'/></presence>"


class Learning(TestCase):
    """`Capabilities.features_of`."""

    timeout = 20

    async def begin(self, *resources: str, claim: str = presence(ver(HONEST))) -> tuple[Server, list[Person]]:
        """A server, and sessions of Juliet that make a claim."""
        server = await a_server(self, config_of("disco roster presence"))
        people = [Person(server, f"juliet@example.com/{resource}") for resource in resources]
        for person in people:
            await person.tell(claim)
        for person in people:
            person.got()
        return server, people

    def ask(self, server: Server, person: Person) -> Deferred[frozenset[str]]:
        """Ask for the features of a session."""
        return Deferred.fromCoroutine(server.capabilities.features_of(person.session))

    def asked(self, person: Person) -> Stanza:
        """The one question that the client got."""
        (question,) = person.got()
        self.assertEqual(("get", "example.com"), (question.type, question.attributes["from"]))
        return question

    def answer(self, person: Person, query: Element) -> Stanza:
        """Let the client answer the question that it got."""
        question = self.asked(person)
        person.send(f"<iq type='result' id='{question.id}' to='example.com'>{serialise(query).decode()}</iq>")
        return question

    async def learn(self, server: Server, person: Person, query: Element) -> frozenset[str]:
        """Ask, answer, and hear what came of it."""
        asked = self.ask(server, person)
        self.answer(person, query)
        return await asked

    async def test_shared(self) -> None:
        """A proved answer counts for all who claim the same: nobody is asked any more."""
        server, (balcony, chamber) = await self.begin("balcony", "chamber")
        asked = self.ask(server, balcony)
        question = self.answer(balcony, HONEST)
        self.assertEqual(f"urn:exodus#{ver(HONEST)}", next(iter(question.tree)).get("node"))
        self.assertEqual(FEATURES, await asked)
        self.assertEqual(FEATURES, await self.ask(server, chamber))
        self.assertEqual(FEATURES, server.capabilities.known(Claim("sha-1", "urn:other", ver(HONEST))))
        self.assertEqual([], balcony.got() + chamber.got())

    async def test_together(self) -> None:
        """A client is asked once, however many want to know."""
        server, (balcony,) = await self.begin("balcony")
        asked = [self.ask(server, balcony) for _ in range(3)]
        self.answer(balcony, HONEST)
        self.assertEqual([FEATURES] * 3, [await each for each in asked])

    async def test_says_nothing(self) -> None:
        """Without a claim, or without presence, there are no features and no question."""
        server, (balcony, chamber) = await self.begin("balcony", "chamber", claim="<presence/>")
        await chamber.tell("<presence type='unavailable'/>")
        balcony.got()
        chamber.got()
        for person in (balcony, chamber):
            self.assertEqual(frozenset(), await self.ask(server, person))
            self.assertEqual([], person.got())

    async def test_not_proved(self) -> None:
        """An answer to a wrong, an unknown or no hash, or an ill-formed one, counts for its own session alone."""
        twice = info([CLIENT], [MOOD, MOOD])
        for claim, query in (
            (presence(ver(HONEST)), info([CLIENT], [MOOD])),
            (presence(ver(HONEST, "sha-256")), HONEST),
            (presence(ver(HONEST), " hash='md5'"), HONEST),
            (presence(ver(HONEST), " hash=''"), HONEST),
            (presence(ver(HONEST), ""), HONEST),
            (presence("0.9.1", ""), HONEST),
            (presence(ver(HONEST)), twice),
        ):
            with self.subTest(claim=claim):
                server, (balcony, chamber) = await self.begin("balcony", "chamber", claim=claim)
                learnt = await self.learn(server, balcony, query)
                self.assertIn(MOOD, learnt)
                self.assertEqual(learnt, await self.ask(server, balcony))
                self.assertEqual([], balcony.got())
                other = info([CLIENT], ["urn:other"])
                self.assertEqual(frozenset({"urn:other"}), await self.learn(server, chamber, other))

    async def test_poison(self) -> None:
        """Threat P4: another answer with the right hash robs nobody of a feature."""
        poisons = (
            info([CLIENT], [f"http://jabber.org/protocol/disco#info<{MOOD}"]),
            info([CLIENT], [], [Form("result", (Field(MOOD),), form_type="http://jabber.org/protocol/disco#info")]),
            info([], ["client/pc//Exodus 0.9.1", *FEATURES]),
        )
        for poison in poisons:
            self.assertEqual(ver(HONEST), ver(poison))
            server, (mallory, juliet) = await self.begin("mallory", "juliet")
            await self.learn(server, mallory, poison)
            self.assertEqual(FEATURES, await self.learn(server, juliet, HONEST))
            self.assertEqual(FEATURES, await self.ask(server, mallory))

    async def test_new_claim(self) -> None:
        """A client that shows something new is asked anew; one that shows the same is not."""
        server, (balcony,) = await self.begin("balcony", claim=presence("1", ""))
        await self.learn(server, balcony, info([CLIENT], ["urn:old"]))
        await balcony.tell(presence("1", "").replace("<presence>", "<presence><show>away</show>"))
        balcony.got()
        self.assertEqual(frozenset({"urn:old"}), await self.ask(server, balcony))
        await balcony.tell(presence("2", ""))
        balcony.got()
        self.assertEqual(frozenset({"urn:new"}), await self.learn(server, balcony, info([CLIENT], ["urn:new"])))

    async def test_refuses(self) -> None:
        """A client that answers with an error has no features, and is not asked again."""
        server, (balcony,) = await self.begin("balcony")
        asked = self.ask(server, balcony)
        question = self.asked(balcony)
        error = question.error(StanzaError("cancel", "service-unavailable")).to_bytes().decode()
        balcony.send(error.replace(" from='juliet@example.com/balcony'", ""))
        self.assertEqual(frozenset(), await asked)
        self.assertEqual(frozenset(), await self.ask(server, balcony))
        self.assertEqual([], balcony.got())

    async def test_too_long(self) -> None:
        """An answer that is too long is none."""
        huge = info([CLIENT], [f"urn:{number:0100}" for number in range(LONGEST_ANSWER // 100)])
        server, (balcony,) = await self.begin("balcony", claim=presence(ver(huge)))
        self.assertEqual(frozenset(), await self.learn(server, balcony, huge))
        self.assertIsNone(server.capabilities.known(Claim("sha-1", "", ver(huge))))

    async def test_leaves(self) -> None:
        """A client that leaves while it is asked has no features."""
        server, (balcony,) = await self.begin("balcony")
        asked = self.ask(server, balcony)
        balcony.leaves()
        self.assertEqual(frozenset(), await asked)


class Silent(TestCase):
    """`Capabilities` with requests that end as the test wants."""

    async def test_silence_is_asked_again(self) -> None:
        """A client that was silent, asleep perhaps, is asked again."""
        server = await a_server(self, config_of("disco roster presence"))
        juliet = Person(server, "juliet@example.com/b")
        await juliet.tell(presence(ver(HONEST)))
        answers: list[IQ | StanzaError] = [
            StanzaError("wait", "remote-server-timeout"),
            IQ.build({"type": "result"}, HONEST),
        ]

        class Oracle:
            async def ask(self, request: IQ) -> IQ:
                answer = answers.pop(0)
                if isinstance(answer, StanzaError):
                    raise answer
                return answer

        capabilities = Capabilities(Oracle())  # type: ignore[arg-type]
        self.assertEqual(frozenset(), await capabilities.features_of(juliet.session))
        self.assertEqual(FEATURES, await capabilities.features_of(juliet.session))

    async def test_bounded(self) -> None:
        """The least recently used answers are forgotten."""
        server = await a_server(self, config_of("disco roster presence"))
        juliet = Person(server, "juliet@example.com/b")

        class Oracle:
            async def ask(self, request: IQ) -> IQ:
                return IQ.build({"type": "result"}, queries[Element.get(request.payload, "node", "").partition("#")[2]])

        capabilities = Capabilities(Oracle(), kept=3)  # type: ignore[arg-type]
        queries = {ver(query): query for query in (info([CLIENT], [f"urn:{number}"]) for number in range(5))}
        vers = list(queries)

        async def show(each: Iterable[str]) -> None:
            for claimed in each:
                await juliet.tell(presence(claimed))
                await capabilities.features_of(juliet.session)

        await show(vers[:3])
        await show(vers[:1])
        await show(vers[3:4])
        known = [capabilities.known(Claim("sha-1", "", ver)) is not None for ver in vers]
        self.assertEqual([True, False, True, True, False], known)
