"""XEP-0133: every command that is offered, what it does, and to whom it does nothing (threats R6, R8, R9)."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chatrix.hooks import Role
from chatrix.server.server import Server
from chatrix.store.roster import RosterItem
from chatrix.testing.accounts import _keys
from chatrix.xmpp.dataform import Form
from chatrix.xmpp.element import Element
from chatrix.xmpp.jid import JID
from chatrix.xmpp.namespaces import NS_ADMIN, NS_COMMANDS, NS_DATA_FORM, NS_DISCO_ITEMS, NS_ROSTER
from chatrix.xmpp.sasl.keys import verify
from chatrix.xmpp.stanza import Stanza
from tests.inmemory import MODULES, Person, a_server, config_of, outline, quiet
from tests.modules.test_commands import ask, command_in, conditions, run, submission

HOST, ELSEWHERE = "example.com", "else.where"
JULIET, ROMEO, NURSE = (f"{name}@{HOST}" for name in ("juliet", "romeo", "nurse"))
PARIS = f"paris@{ELSEWHERE}"
WORDS = """
    add-user delete-user disable-user reenable-user end-user-session change-user-password get-user-roster
    get-user-lastlogin user-stats get-registered-users-num get-disabled-users-num get-online-users-num
    get-active-users-num get-idle-users-num get-registered-users-list get-disabled-users-list get-online-users-list
    get-active-users get-idle-users announce set-motd edit-motd delete-motd set-welcome delete-welcome
"""
OFFERED = WORDS.split()
NOT_OFFERED = ("get-user-password", "edit-blacklist", "edit-whitelist", "edit-admin", "restart", "shutdown")


def several(var: str, *values: str) -> str:
    """A submitted form with one field of several values."""
    inside = "".join(f"<value>{value}</value>" for value in values)
    return f"<x xmlns='{NS_DATA_FORM}' type='submit'><field var='{var}'>{inside}</field></x>"


class Administration(TestCase):
    """Two hosts with an admin each: Juliet, and Paris elsewhere."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Only the admins are connected."""
        more = f"[host {ELSEWHERE}]\ncertificate = host.pem\nadmins = {PARIS}"
        config = config_of(MODULES, host=f"admins = {JULIET}", more=more)
        self.server: Server = await a_server(self, config, accounts=(JULIET, ROMEO, NURSE, PARIS))
        self.juliet, self.paris = Person(self.server, f"{JULIET}/a"), Person(self.server, f"{PARIS}/a")

    async def submit(self, command: str, form: str = "", person: Person | None = None, to: str = HOST) -> Stanza:
        """The answer to the form of a command, or to the command when it has none."""
        person = person or self.juliet
        node = command if "#" in command else f"{NS_ADMIN}#{command}"
        first = await ask(person, f"<command xmlns='{NS_COMMANDS}' node='{node}'/>", to=to)
        if first.type == "error" or not form:
            return first
        id = command_in(first).get("sessionid")
        payload = f"<command xmlns='{NS_COMMANDS}' node='{node}' sessionid='{id}'>{form}</command>"
        return await ask(person, payload, to=to)

    async def done(self, command: str, form: str = "") -> Element:
        """The <command/> of one that was completed."""
        answer = command_in(await self.submit(command, form))
        self.assertEqual("completed", answer.get("status"))
        return answer

    async def result(self, command: str, form: str = "") -> Form:
        """The form that a command answers."""
        element = (await self.done(command, form)).child(NS_DATA_FORM, "x")
        assert element is not None
        found = Form.from_element(element)
        self.assertEqual(("result", NS_ADMIN), (found.type, found.form_type))
        return found

    # Who may

    async def test_offered(self) -> None:
        """An admin is offered the commands of the XEP, a user none."""
        for person, expected in ((self.juliet, OFFERED), (Person(self.server, f"{ROMEO}/a"), [])):
            answer = await ask(person, f"<query xmlns='{NS_DISCO_ITEMS}' node='{NS_COMMANDS}'/>", "get")
            query = answer.child(NS_DISCO_ITEMS, "query")
            assert query is not None
            nodes = [child.get("node", "") for child in iter(query)]
            self.assertEqual(
                sorted(expected), sorted(node.partition("#")[2] for node in nodes if node.startswith(NS_ADMIN))
            )

    async def test_not_offered(self) -> None:
        """What the XEP knows and we do not offer is not implemented for an admin, and forbidden to others."""
        romeo = Person(self.server, f"{ROMEO}/a")
        for command in NOT_OFFERED:
            self.assertEqual(["cancel", "feature-not-implemented"], conditions(await self.submit(command)), command)
            self.assertEqual(["auth", "forbidden"], conditions(await self.submit(command, person=romeo)), command)

    async def test_r6_user(self) -> None:
        """A user who knows the nodes executes none of them, with whatever action or session."""
        romeo = Person(self.server, f"{ROMEO}/a")
        begun = command_in(await run(self.juliet, f"{NS_ADMIN}#add-user")).get("sessionid", "")
        for node in self.server.commands.commands:
            for attributes in ({}, {"action": "next"}, {"action": "complete"}, {"sessionid": begun}):
                answer = await run(romeo, node, submission(accountjid=NURSE), **attributes)
                self.assertEqual(["auth", "forbidden"], conditions(answer), (node, attributes))

    async def test_r8_other_host(self) -> None:
        """An admin of one host has no power on another: not on its node, not with its addresses in his own."""
        nodes = [each.node for each in self.server.commands.commands.values() if each.role is Role.ADMIN]
        self.assertGreaterEqual(len(nodes), len(OFFERED))
        await self.server.rosters.shared.store.add(ELSEWHERE, "Court")
        await self.done("chatrix#add-group", submission(group="Court"))
        with_address = 0
        before = await self.state()
        for node in nodes:
            self.assertEqual(["auth", "forbidden"], conditions(await self.submit(node, person=self.paris)), node)
            if self.server.commands.commands[node].form is None and "group" not in node:
                continue
            first = command_in(await self.submit(node, person=self.paris, to=ELSEWHERE))
            form = first.child(NS_DATA_FORM, "x")
            if form is None:
                continue
            fields = Form.from_element(form).fields
            if not any(field.type.startswith("jid-") for field in fields):
                continue
            with_address += 1
            for victim in (ROMEO, JULIET, f"{JULIET}/a", HOST, "nobody@unknown.example"):
                values = {
                    field.var: victim
                    if field.type.startswith("jid-")
                    else (field.choices[0].value if field.choices else "x")
                    for field in fields
                }
                if "group" in values:
                    values["group"] = "Court"
                payload = submission(**values)
                answer = await self.submit(node, payload, person=self.paris, to=ELSEWHERE)
                self.assertEqual(["auth", "forbidden"], conditions(answer), (node, victim))
        self.assertEqual(11, with_address)
        self.assertEqual(before, await self.state())
        self.assertFalse(self.juliet.stream.closed)

    async def state(self) -> object:
        """What a command could have changed."""
        groups = await self.server.rosters.shared.store.all()
        return await self.server.accounts.store.list(HOST), groups, len(self.server.directory.hosts[HOST])

    async def test_r9_identity(self) -> None:
        """Only the prepared bare JID of an admin, on his own host, is an admin."""
        for account in (f"juliet@{ELSEWHERE}", f"juliet\u0131@{HOST}", f"xjuliet@{HOST}", f"\u0458uliet@{HOST}"):
            jid = JID.parse(account)
            await self.server.accounts.store.create(jid.local, jid.domain, ())
            person = Person(self.server, f"{account}/{JULIET}")
            self.assertEqual(
                ["auth", "forbidden"], conditions(await self.submit("get-online-users-num", person=person))
            )
        for spelling in ("JULIET@EXAMPLE.COM", "\uff4auliet@example.com"):
            person = Person(self.server, f"{spelling}/another")
            self.assertEqual(JULIET, str(person.session.jid.bare))
            command_in(await self.submit("get-online-users-num", person=person))
        host = self.server.hosts[HOST]
        for stranger in (HOST, f"{HOST}/juliet", f"juliet@sub.{HOST}", "juliet@evil.example", f"evil.example/{JULIET}"):
            self.assertFalse(host.is_admin(JID.parse(stranger)), stranger)

    # What they do

    async def test_add_user(self) -> None:
        """An account with the password that was typed twice."""
        jid = f"tybalt@{HOST}"
        await self.done("add-user", submission(accountjid=jid, password="cat", **{"password-verify": "cat"}))
        keys = await self.server.accounts.store.keys_of("tybalt", HOST, "sha-256")
        assert keys is not None
        self.assertTrue(verify(keys, "cat"))
        for values, condition in (
            ({"accountjid": jid, "password": "x", "password-verify": "x"}, "conflict"),
            ({"accountjid": f"a@{HOST}", "password": "x", "password-verify": "y"}, "not-acceptable"),
            ({"accountjid": f"a@{HOST}", "password": "\u0085", "password-verify": "\u0085"}, "not-acceptable"),
            ({"accountjid": f"a@{HOST}/r", "password": "x", "password-verify": "x"}, "not-acceptable"),
            ({"accountjid": HOST, "password": "x", "password-verify": "x"}, "not-acceptable"),
            ({"accountjid": f"a@{HOST}", "password": "x"}, "bad-request"),
            ({"accountjid": "", "password": "x", "password-verify": "x"}, "bad-request"),
            ({"accountjid": "@", "password": "x", "password-verify": "x"}, "bad-request"),
        ):
            self.assertEqual(condition, outline(await self.submit("add-user", submission(**values)))[3], values)
        self.assertEqual(4, await self.server.accounts.store.count(HOST))

    async def test_delete_user(self) -> None:
        """The account, its sessions and both sides of its subscriptions go."""
        romeo, nurse = Person(self.server, f"{ROMEO}/a"), Person(self.server, f"{NURSE}/a")
        for person in (romeo, nurse):
            await person.comes_online()
        for one, other in ((romeo, NURSE), (nurse, ROMEO)):
            await one.tell(f"<presence type='subscribe' to='{other}'/>")
            await (nurse if one is romeo else romeo).tell(f"<presence type='subscribed' to='{one.session.jid.bare}'/>")
        nurse.got()
        await self.done("delete-user", several("accountjids", ROMEO))
        await quiet()
        self.assertTrue(romeo.stream.closed)
        got = nurse.got()
        kinds = {(each.type, each.attributes["from"]) for each in got if each.name == "presence"}
        self.assertEqual({("unavailable", f"{ROMEO}/a"), ("unsubscribe", ROMEO), ("unsubscribed", ROMEO)}, kinds)
        roster = await self.server.rosters.of(JID.parse(NURSE))
        assert roster is not None
        self.assertEqual("none", roster.items[ROMEO].subscription)
        self.assertFalse(await self.server.accounts.store.exists("romeo", HOST))

    async def test_several_at_once(self) -> None:
        """Those that exist are dealt with, the others are named; one of another host and nothing happens."""
        answer = await self.done("delete-user", several("accountjids", f"nobody@{HOST}", ROMEO, ROMEO))
        note = answer.child(NS_COMMANDS, "note")
        assert note is not None
        self.assertEqual(("error", f"No such account: nobody@{HOST}"), (note.get("type"), note.text))
        refused = await self.submit("delete-user", several("accountjids", NURSE, PARIS))
        self.assertEqual(["auth", "forbidden"], conditions(refused))
        self.assertEqual(2, await self.server.accounts.store.count(HOST))

    async def test_disable(self) -> None:
        """A disabled account has no session, and comes back as it was."""
        romeo = Person(self.server, f"{ROMEO}/a")
        await self.done("disable-user", several("accountjids", ROMEO))
        self.assertEqual("not-authorized", getattr(romeo.stream.error, "condition", None))
        listed = await self.result("get-disabled-users-list", submission(max_items="25"))
        self.assertEqual((ROMEO,), listed["disableduserjids"].values)
        self.assertEqual("1", (await self.result("get-disabled-users-num"))["disabledusersnum"].value)
        await self.done("reenable-user", several("accountjids", ROMEO))
        self.assertEqual("0", (await self.result("get-disabled-users-num"))["disabledusersnum"].value)
        for command in ("disable-user", "reenable-user"):
            answer = await self.done(command, several("accountjids", f"nobody@{HOST}"))
            self.assertIn(b"nobody", answer.text_of(NS_COMMANDS, "note").encode())  # type: ignore[union-attr]

    async def test_end_user_session(self) -> None:
        """A full JID is one session, a bare JID all of them."""
        a, b, c = (Person(self.server, f"{ROMEO}/{resource}") for resource in "abc")
        await self.done("end-user-session", several("accountjids", f"{ROMEO}/b"))
        self.assertEqual([False, True, False], [person.stream.closed for person in (a, b, c)])
        self.assertEqual("policy-violation", getattr(b.stream.error, "condition", None))
        await self.done("end-user-session", several("accountjids", ROMEO))
        self.assertEqual([True] * 3, [person.stream.closed for person in (a, b, c)])
        answer = await self.done("end-user-session", several("accountjids", ROMEO))
        self.assertEqual(f"Not connected: {ROMEO}", answer.text_of(NS_COMMANDS, "note"))

    async def test_change_user_password(self) -> None:
        """The new password is the only one, and sessions of the old one end."""
        await self.server.accounts.store.replace_keys("romeo", HOST, _keys("old"))
        romeo = Person(self.server, f"{ROMEO}/a")
        await self.done("change-user-password", submission(accountjid=ROMEO, password="new"))
        keys = await self.server.accounts.store.keys_of("romeo", HOST, "sha-256")
        assert keys is not None
        self.assertEqual((True, False), (verify(keys, "new"), verify(keys, "old")))
        self.assertTrue(romeo.stream.closed)
        answer = await self.submit("change-user-password", submission(accountjid=f"nobody@{HOST}", password="new"))
        self.assertEqual(["cancel", "item-not-found"], conditions(answer))

    async def test_get_user_roster(self) -> None:
        """The roster as its owner sees it."""
        await self.server.rosters.store.save(RosterItem(ROMEO, NURSE, "N", "to", groups=("House",)))
        answer = await self.done("get-user-roster", several("accountjids", ROMEO))
        form = answer.child(NS_DATA_FORM, "x")
        query = None if form is None else form.child(NS_ROSTER, "query")
        assert query is not None
        (item,) = iter(query)
        self.assertEqual((NURSE, "N", "to"), (item.get("jid"), item.get("name"), item.get("subscription")))
        self.assertEqual("House", item.text_of(NS_ROSTER, "group"))
        for jids, condition in ((("nobody@example.com",), "item-not-found"), ((ROMEO, NURSE), "not-acceptable")):
            self.assertEqual(condition, outline(await self.submit("get-user-roster", several("accountjids", *jids)))[3])

    async def test_get_user_lastlogin(self) -> None:
        """The time of the last log-in, in UTC; nobody's when there was none."""
        Person(self.server, f"{ROMEO}/a")
        await quiet()
        form = await self.result("get-user-lastlogin", several("accountjids", ROMEO, NURSE))
        self.assertEqual((ROMEO,), form["accountjids"].values)
        self.assertRegex(form["lastlogin"].value, r"^2\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ$")
        answer = await self.done("get-user-lastlogin", several("accountjids", NURSE))
        self.assertEqual("Never.", answer.text_of(NS_COMMANDS, "note"))
        refused = await self.submit("get-user-lastlogin", several("accountjids", f"nobody@{HOST}"))
        self.assertEqual(["cancel", "item-not-found"], conditions(refused))

    async def test_user_stats(self) -> None:
        """Resources and the size of the roster; no addresses of anybody's network."""
        await self.server.rosters.store.save(RosterItem(ROMEO, NURSE))
        for resource in "ab":
            Person(self.server, f"{ROMEO}/{resource}")
        form = await self.result("user-stats", submission(accountjid=ROMEO))
        self.assertEqual({"rostersize": ("1",), "onlineresources": ("a", "b")}, {f.var: f.values for f in form.fields})
        answer = await self.submit("user-stats", submission(accountjid=f"nobody@{HOST}"))
        self.assertEqual(["cancel", "item-not-found"], conditions(answer))

    async def test_numbers_and_lists(self) -> None:
        """Registered, online, active and idle users: of this host alone, and no more than asked for."""
        romeo, nurse = Person(self.server, f"{ROMEO}/a"), Person(self.server, f"{NURSE}/a")
        await romeo.comes_online()
        await nurse.comes_online("<presence><show>away</show></presence>")
        for command, number in (("registered", 3), ("online", 3), ("active", 1), ("idle", 2)):
            form = await self.result(f"get-{command}-users-num")
            self.assertEqual(str(number), form[f"{command}usersnum"].value)
        for command, var, expected in (
            ("get-registered-users-list", "registereduserjids", [JULIET, NURSE, ROMEO]),
            ("get-online-users-list", "onlineuserjids", [JULIET, NURSE, ROMEO]),
            ("get-active-users", "activeuserjids", [ROMEO]),
            ("get-idle-users", "activeuserjids", [JULIET, NURSE]),
        ):
            form = await self.result(command, submission(max_items="none"))
            self.assertEqual(expected, sorted(form[var].values))
        for index in range(30):
            await self.server.accounts.store.create(f"user{index}", HOST, ())
        form = await self.result("get-registered-users-list", submission(max_items="25"))
        self.assertEqual(25, len(form["registereduserjids"].values))

    async def test_forms(self) -> None:
        """Every form is the XEP's, by its type."""
        for node, command in self.server.commands.commands.items():
            if node.startswith(NS_ADMIN) and command.form is not None:
                answer = command_in(await self.submit(node))
                form = answer.child(NS_DATA_FORM, "x")
                assert form is not None
                self.assertEqual(command.form, Form.from_element(form))
                self.assertEqual((NS_ADMIN, "executing"), (command.form.form_type, answer.get("status")))
