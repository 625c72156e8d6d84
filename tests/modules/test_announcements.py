"""Announcements, the message of the day and the welcome message: who hears what, when, and how often (threat R10)."""

from twisted.trial.unittest import TestCase

from chatrix.modules.announcements import AnnouncementsModule
from chatrix.server.server import Server
from chatrix.store.database import DatabaseFull
from chatrix.xmpp.namespaces import NS_ADMIN
from tests.inmemory import MODULES, Person, a_server, config_of, outline, quiet, stanza
from tests.modules.test_commands import command_in, run, submission

HOST = "example.com"
JULIET, ROMEO, NURSE = (f"{name}@{HOST}" for name in ("juliet", "romeo", "nurse"))
ADMIN = {"host": f"admins = {JULIET}"}
KINDS = ("online", "all", "motd", "motd/update", "motd/delete")


class Announcing(TestCase):
    """An admin, Juliet, and two users."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Nothing was announced yet."""
        self.server: Server = await a_server(self, config_of(MODULES, **ADMIN))
        self.juliet = await self.online(JULIET)

    async def online(self, account: str, resource: str = "a", presence: str = "<presence/>") -> Person:
        """Somebody who has become available; what it was told is still to be looked at."""
        person = Person(self.server, f"{account}/{resource}")
        await person.tell(presence)
        return person

    async def execute(self, command: str, **values: str) -> None:
        """Juliet executes a command of XEP-0133."""
        node = f"{NS_ADMIN}#{command}"
        first = command_in(await run(self.juliet, node))
        if values:
            id = first.get("sessionid", "")
            first = command_in(await run(self.juliet, node, submission(**values), sessionid=id))
        self.assertEqual("completed", first.get("status"))

    async def test_announce(self) -> None:
        """All who are online hear it, on every device; nobody else, and nobody later."""
        romeo, phone = await self.online(ROMEO), await self.online(ROMEO, "phone")
        hidden = await self.online(NURSE, presence="<presence><priority>-1</priority></presence>")
        romeo.got(), phone.got()
        await self.execute("announce", announcement="Down at ten")
        for person in (romeo, phone):
            (message,) = [each for each in person.got() if each.name == "message"]
            self.assertEqual(("headline", HOST), (message.type, message.attributes["from"]))
            self.assertEqual("Down at ten", message.tree.text_of(None, "body"))
        self.assertEqual([], hidden.bodies())
        self.assertEqual([], (await self.online(NURSE, "later")).bodies())

    async def test_motd(self) -> None:
        """Everybody hears it once: at once, or on the next log-in, whatever the number of devices."""
        romeo = await self.online(ROMEO)
        await self.execute("set-motd", motd="Feast tonight")
        self.assertEqual(["Feast tonight"], romeo.bodies())
        self.assertEqual([], (await self.online(ROMEO, "b")).bodies())
        self.assertEqual(["Feast tonight"], (await self.online(NURSE)).bodies())
        self.assertEqual([], (await self.online(NURSE, "b")).bodies())
        romeo.leaves()
        await quiet()
        self.assertEqual([], (await self.online(ROMEO)).bodies())
        await self.execute("set-motd", motd="Feast cancelled")
        await self.server.accounts.store.create("paris", HOST, ())
        self.assertEqual(["Feast cancelled"], (await self.online(f"paris@{HOST}")).bodies())

    async def test_at_once(self) -> None:
        """Whoever is available before his log-in was noted is told all the same."""
        await self.execute("set-motd", motd="Feast tonight")
        romeo = Person(self.server, f"{ROMEO}/a")
        romeo.send("<presence/>")
        self.assertEqual([], romeo.bodies())
        await quiet()
        self.assertEqual(["Feast tonight"], romeo.bodies())

    async def test_motd_corrected(self) -> None:
        """A correction is for those who have not heard it; after the deletion nobody hears it."""
        romeo = await self.online(ROMEO)
        await self.execute("set-motd", motd="Feats")
        romeo.got()
        first = await run(self.juliet, f"{NS_ADMIN}#edit-motd")
        self.assertIn(b"<value>Feats</value>", first.to_bytes())
        await self.execute("edit-motd", motd="Feast")
        self.assertEqual([], romeo.bodies())
        self.assertEqual(["Feast"], (await self.online(NURSE, presence="<presence/>")).bodies())
        await self.execute("delete-motd")
        await self.server.accounts.store.create("paris", HOST, ())
        self.assertEqual([], (await self.online(f"paris@{HOST}")).bodies())

    async def test_welcome(self) -> None:
        """Whoever logs in for the first time is welcomed, and nobody else."""
        await self.execute("set-welcome", welcome="Be welcome")
        romeo = await self.online(ROMEO)
        self.assertEqual(["Be welcome"], romeo.bodies())
        await romeo.tell("<presence><show>away</show></presence>")
        self.assertEqual([], romeo.bodies())
        romeo.leaves()
        self.assertEqual([], (await self.online(ROMEO)).bodies())
        await self.execute("delete-welcome")
        self.assertEqual([], (await self.online(NURSE)).bodies())

    async def test_when_available(self) -> None:
        """Nobody is told anything before he can take messages."""
        await self.execute("set-welcome", welcome="Be welcome")
        romeo = await self.online(ROMEO, presence="<presence><priority>-1</priority></presence>")
        self.assertEqual([], romeo.bodies())
        await romeo.tell("<presence><priority>1</priority></presence>")
        self.assertEqual(["Be welcome"], romeo.bodies())

    async def test_kept(self) -> None:
        """What was set is there after a restart."""
        await self.execute("set-motd", motd="Feast")
        module = self.server.module(AnnouncementsModule)
        assert module is not None
        await module.stop()
        module._texts.clear()
        await module.start()
        self.addCleanup(module.stop)
        self.assertEqual(["Feast"], (await self.online(ROMEO)).bodies())

    async def test_messages(self) -> None:
        """An admin may write to the host's announce resources."""
        romeo = await self.online(ROMEO)
        send = "<message to='example.com/announce/{}'><subject>Hear</subject><body>{}</body></message>"
        for kind, body, heard in (("online", "one", ["one"]), ("motd", "two", ["two"]), ("motd/update", "three", [])):
            await self.juliet.tell(send.format(kind, body))
            self.assertEqual(heard, romeo.bodies(), kind)
        self.assertEqual(["three"], (await self.online(NURSE)).bodies())
        await self.juliet.tell("<message to='example.com/announce/motd/delete'/>")
        romeo.leaves()
        await self.juliet.tell(send.format("all", "four"))
        self.assertEqual(["four"], (await self.online(ROMEO)).bodies())

    async def test_r10_forbidden(self) -> None:
        """No user announces anything: not of this host, not of another, not in another spelling."""
        other = "[host else.where]\ncertificate = host.pem\nadmins = juliet@else.where"
        self.server.configure(config_of(MODULES, **ADMIN, more=other))
        await self.server.accounts.store.create("juliet", "else.where", ())
        people = [await self.online(ROMEO), await self.online("juliet@else.where")]
        self.juliet.got()
        for person in people:
            for kind in KINDS:
                await person.tell(f"<message to='{HOST}/announce/{kind}'><body>x</body></message>")
                self.assertEqual(["forbidden"], [outline(each)[3] for each in person.got() if each.type == "error"])
        for sender in ("juliet@evil.example", "evil.example", "example.com", "juliet.example.com"):
            message = stanza(f"<message from='{sender}' to='{HOST}/announce/online'><body>x</body></message>")
            with self.assertRaises(Exception) as refused:
                self.server.router.route(message)
            self.assertEqual("forbidden", getattr(refused.exception, "condition", None))
        self.assertEqual([], self.juliet.bodies())

    async def test_other_messages(self) -> None:
        """What is no announcement is refused as ever, and an error is answered with nothing."""
        for to, body, condition in (
            (HOST, "x", "service-unavailable"),
            (f"{HOST}/announce/nothing", "x", "item-not-found"),
            (f"{HOST}/announce/online", "", "not-acceptable"),
            (f"{HOST}/other", "x", "service-unavailable"),
        ):
            self.juliet.got()
            await self.juliet.tell(f"<message to='{to}'><body>{body}</body></message>")
            self.assertEqual([condition], [outline(each)[3] for each in self.juliet.got()])
        await self.juliet.tell(f"<message to='{HOST}/announce/online' type='error'><body>x</body></message>")
        self.assertEqual([], self.juliet.got())

    async def test_database_full(self) -> None:
        """What cannot be kept is not announced either: the admin is told, the server goes on."""
        module = self.server.module(AnnouncementsModule)
        assert module is not None

        async def full(*_: object, **__: object) -> int:
            raise DatabaseFull("no room")

        romeo = await self.online(ROMEO)
        self.patch(self.server.database, "execute", full)
        first = command_in(await run(self.juliet, f"{NS_ADMIN}#set-motd"))
        answer = await run(
            self.juliet, f"{NS_ADMIN}#set-motd", submission(motd="x"), sessionid=first.get("sessionid", "")
        )
        self.assertEqual("internal-server-error", outline(answer)[3])
        self.assertEqual(1, len(self.flushLoggedErrors(DatabaseFull)))
        self.assertEqual([], romeo.bodies())
        self.assertEqual([], (await self.online(NURSE)).bodies())
