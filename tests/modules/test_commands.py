"""XEP-0050: sessions of ad-hoc commands, and everything that is refused (threat R6)."""

from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from chatrix.modules import commands
from chatrix.modules.commands import LIFETIME, MOST_SESSIONS_OF_ONE, Commands
from chatrix.xmpp.element import Element
from chatrix.xmpp.namespaces import NS_COMMANDS, NS_DATA_FORM, NS_DISCO_INFO, NS_DISCO_ITEMS
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import Person, a_server, config_of, outline

MODULES = "disco commands tests.modules.survey"


def submission(**values: str) -> str:
    """A submitted form."""
    fields = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in values.items())
    return f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>"


async def ask(person: Person, payload: str, type: str = "set", to: str = "example.com") -> Stanza:
    """The answer to an IQ; what else has come is still to be looked at."""
    await person.tell(f"<iq type='{type}' id='q' to='{to}'>{payload}</iq>")
    got = person.got()
    answers = [each for each in got if each.id == "q"]
    person.stream.written = [each.to_bytes() for each in got if each.id != "q"]
    assert len(answers) == 1, answers
    return answers[0]


async def run(person: Person, node: str, inside: str = "", **attributes: str) -> Stanza:
    """The answer to <command/>."""
    written = "".join(f" {name}='{value}'" for name, value in attributes.items())
    return await ask(person, f"<command xmlns='{NS_COMMANDS}' node='{node}'{written}>{inside}</command>")


def command_in(answer: Stanza) -> Element:
    """The <command/> of an answer that is no error."""
    found = answer.child(NS_COMMANDS, "command")
    assert answer.type == "result" and found is not None, answer.to_bytes()
    return found


def conditions(answer: Stanza) -> list[str]:
    """The type of an error and the names of its conditions."""
    error = answer.child(None, "error")
    assert error is not None, answer.to_bytes()
    return [error.get("type", ""), *(child.name for child in error if child.name != "text")]


class Sessions(TestCase):
    """Executions in stages."""

    async def setUp(self) -> None:  # type: ignore[override]
        """A user and an admin."""
        self.server = await a_server(self, config_of(MODULES, host="admins = juliet@example.com"))
        self.romeo = Person(self.server, "romeo@example.com/a")
        self.juliet = Person(self.server, "juliet@example.com/a")

    async def begin(self, person: Person | None = None, node: str = "survey") -> str:
        """The sessionid of an execution that has begun."""
        return command_in(await run(person or self.romeo, node)).get("sessionid", "")

    async def test_stages(self) -> None:
        """Two forms, with the actions that each allows, then the end."""
        first = command_in(await run(self.romeo, "survey", action="execute"))
        self.assertEqual(("executing", "survey"), (first.get("status"), first.get("node")))
        actions = first.child(NS_COMMANDS, "actions")
        assert actions is not None
        self.assertEqual(("next", ["next"]), (actions.get("execute"), [child.name for child in iter(actions)]))
        id = first.get("sessionid", "")
        second = command_in(await run(self.romeo, "survey", submission(service="a"), sessionid=id, action="next"))
        actions, form = second.child(NS_COMMANDS, "actions"), second.child(NS_DATA_FORM, "x")
        assert actions is not None and form is not None
        self.assertEqual(
            ("complete", ["prev", "complete"]), (actions.get("execute"), [child.name for child in iter(actions)])
        )
        self.assertEqual(("2 a", id), (form.text_of(NS_DATA_FORM, "title"), second.get("sessionid")))
        last = command_in(await run(self.romeo, "survey", submission(state="on"), sessionid=id))
        self.assertEqual(("completed", "a is on"), (last.get("status"), last.text_of(NS_COMMANDS, "note")))

    async def test_back(self) -> None:
        """`prev` shows the stage before, and what was submitted there is forgotten."""
        id = await self.begin()
        await run(self.romeo, "survey", submission(service="a"), sessionid=id)
        back = command_in(await run(self.romeo, "survey", sessionid=id, action="prev"))
        form = back.child(NS_DATA_FORM, "x")
        assert form is not None
        self.assertEqual("1", form.text_of(NS_DATA_FORM, "title"))
        await run(self.romeo, "survey", submission(service="b"), sessionid=id)
        last = command_in(await run(self.romeo, "survey", submission(state="on"), sessionid=id, action="complete"))
        self.assertEqual("b is on", last.text_of(NS_COMMANDS, "note"))

    async def test_one_stage(self) -> None:
        """A command without form is over at once; what it could not do is a note of type error."""
        answer = command_in(await run(self.romeo, "status"))
        note = answer.child(NS_COMMANDS, "note")
        assert note is not None
        self.assertEqual(("completed", "error", "bad"), (answer.get("status"), note.get("type"), note.text))

    async def test_cancel(self) -> None:
        """A cancelled session is over."""
        id = await self.begin()
        self.assertEqual(
            "canceled", command_in(await run(self.romeo, "survey", sessionid=id, action="cancel")).get("status")
        )
        answer = await run(self.romeo, "survey", submission(service="a"), sessionid=id)
        self.assertEqual(["cancel", "not-allowed", "session-expired"], conditions(answer))

    async def test_refused_actions(self) -> None:
        """Each action where it makes no sense, and one that there is not (section 4.4)."""
        for action in ("next", "prev", "complete", "cancel"):
            answer = await run(self.romeo, "survey", action=action)
            self.assertEqual(["modify", "bad-request", "bad-sessionid"], conditions(answer), action)
        id = await self.begin()
        for action in ("prev", "complete"):
            answer = await run(self.romeo, "survey", submission(service="a"), sessionid=id, action=action)
            self.assertEqual(["modify", "bad-request", "bad-action"], conditions(answer), action)
        answer = await run(self.romeo, "survey", sessionid=id, action="dance")
        self.assertEqual(["modify", "bad-request", "malformed-action"], conditions(answer))
        self.assertEqual("item-not-found", outline(await run(self.romeo, "nothing"))[3])

    async def test_refused_payloads(self) -> None:
        """No form, not an option, another type of form: the stage can be submitted again."""
        id = await self.begin()
        for payload in ("", submission(service="c"), submission(), "<x xmlns='jabber:x:data' type='form'/>"):
            answer = await run(self.romeo, "survey", payload, sessionid=id)
            self.assertEqual(["modify", "bad-request", "bad-payload"], conditions(answer), payload)
        await run(self.romeo, "survey", submission(service="a"), sessionid=id)
        for state, condition in (
            ("conflict", "conflict"),
            ("mistake", "internal-server-error"),
            ("conflict", "conflict"),
        ):
            answer = await run(self.romeo, "survey", submission(state=state), sessionid=id)
            self.assertEqual(condition, outline(answer)[3])
        self.flushLoggedErrors(KeyError)
        last = command_in(await run(self.romeo, "survey", submission(state="off"), sessionid=id))
        self.assertEqual("a is off", last.text_of(NS_COMMANDS, "note"))

    async def test_foreign_session(self) -> None:
        """A session is its full JID's: not another account's, not another resource's, not another command's."""
        id = await self.begin(self.juliet)
        other = Person(self.server, "juliet@example.com/b")
        for person, node, used in (
            (self.romeo, "survey", id), (other, "survey", id), (self.juliet, "status", id),
            (self.juliet, "survey", ""), (self.juliet, "survey", "guess"),
        ):  # fmt: skip
            for action in ("execute", "next", "cancel"):
                answer = await run(person, node, submission(service="a"), sessionid=used, action=action)
                self.assertEqual(["modify", "bad-request", "bad-sessionid"], conditions(answer))
        command_in(await run(self.juliet, "survey", submission(service="a"), sessionid=id))

    async def test_role(self) -> None:
        """Who may not execute a command may not, listed or not, with a session or without; nor any longer."""
        for inside in ({}, {"action": "next"}, {"sessionid": "x"}, {"action": "dance"}):
            self.assertEqual(["auth", "forbidden"], conditions(await run(self.romeo, "secret", "", **inside)))
        id = await self.begin(self.juliet, "secret")
        self.server.configure(config_of(MODULES, host="admins = romeo@example.com"))
        answer = await run(self.juliet, "secret", submission(service="a"), sessionid=id)
        self.assertEqual(["auth", "forbidden"], conditions(answer))

    async def test_expired(self) -> None:
        """A session without a sign of life is over."""
        clock = Clock()
        self.server.reactor = clock
        id = await self.begin()
        clock.advance(LIFETIME)
        command_in(await run(self.romeo, "survey", submission(service="a"), sessionid=id))
        clock.advance(LIFETIME + 1)
        answer = await run(self.romeo, "survey", submission(state="on"), sessionid=id)
        self.assertEqual(["cancel", "not-allowed", "session-expired"], conditions(answer))

    async def test_bounded(self) -> None:
        """The oldest sessions give way, one's own first; a client that goes takes its own with it."""
        module = self.server.module(Commands)
        assert module is not None
        first = await self.begin(self.juliet)
        own = [await self.begin() for _ in range(MOST_SESSIONS_OF_ONE + 1)]
        self.assertEqual([first, *own[1:]], list(module._known))
        with patch.object(commands, "MOST_SESSIONS", len(module._known)):
            last = await self.begin(self.juliet)
        self.assertEqual([*own[1:], last], list(module._known))
        self.romeo.leaves()
        self.assertEqual([last], list(module._known))


class Discovery(TestCase):
    """What is listed, to whom."""

    async def setUp(self) -> None:  # type: ignore[override]
        """A user and an admin."""
        server = await a_server(self, config_of(MODULES, host="admins = juliet@example.com"))
        self.romeo = Person(server, "romeo@example.com/a")
        self.juliet = Person(server, "juliet@example.com/a")

    async def nodes(self, person: Person, node: str = NS_COMMANDS) -> list[str]:
        """The nodes of the items that somebody sees."""
        answer = await ask(person, f"<query xmlns='{NS_DISCO_ITEMS}' node='{node}'/>", "get")
        query = answer.child(NS_DISCO_ITEMS, "query")
        assert query is not None
        self.assertEqual(node, query.get("node"))
        return [child.get("node", "") for child in iter(query)]

    async def test_list(self) -> None:
        """Everybody sees the commands that he may execute."""
        self.assertEqual(["survey", "status"], await self.nodes(self.romeo))
        self.assertEqual(["survey", "status", "secret"], await self.nodes(self.juliet))
        self.assertEqual([], await self.nodes(self.juliet, "secret"))

    async def test_info(self) -> None:
        """The list and each command say what they are; a command that is not for one is forbidden."""
        for person, node, kind in (
            (self.romeo, NS_COMMANDS, "command-list"),
            (self.romeo, "survey", "command-node"),
            (self.juliet, "secret", "command-node"),
        ):
            answer = await ask(person, f"<query xmlns='{NS_DISCO_INFO}' node='{node}'/>", "get")
            query = answer.child(NS_DISCO_INFO, "query")
            assert query is not None
            identity = query.child(NS_DISCO_INFO, "identity")
            assert identity is not None
            self.assertEqual(("automation", kind), (identity.get("category"), identity.get("type")))
            features = [child.get("var") for child in iter(query) if child.name == "feature"]
            self.assertEqual([NS_COMMANDS, NS_DATA_FORM] if kind == "command-node" else [], features)
        for namespace in (NS_DISCO_INFO, NS_DISCO_ITEMS):
            answer = await ask(self.romeo, f"<query xmlns='{namespace}' node='secret'/>", "get")
            self.assertEqual(["auth", "forbidden"], conditions(answer))
            answer = await ask(self.romeo, f"<query xmlns='{namespace}' node='nothing'/>", "get")
            self.assertEqual(["cancel", "item-not-found"], conditions(answer))
            for to in ("romeo@example.com", ""):
                answer = await ask(
                    self.romeo, f"<query xmlns='{namespace}' node='{NS_COMMANDS}'/>", "get", to or "romeo@example.com"
                )
                self.assertEqual(["cancel", "item-not-found"], conditions(answer))

    async def test_feature(self) -> None:
        """The host says that it has commands."""
        answer = await ask(self.romeo, f"<query xmlns='{NS_DISCO_INFO}'/>", "get")
        self.assertIn(NS_COMMANDS.encode(), answer.to_bytes())
