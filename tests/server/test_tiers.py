"""Tiers: whose limits are whose, from the ini, the database and a reload."""

from twisted.trial.unittest import TestCase

from chatrix.server.tiers import Limit
from chatrix.xmpp.jid import JID
from tests.inmemory import MODULES, Person, a_server, config_of, outline, quiet

JULIET, ROMEO = JID.parse("juliet@example.com"), JID.parse("romeo@example.com")
SPONSOR = "[tier sponsor]\nsessions = 3\nroster items = 2\noffline messages = 1\nstorage = 1 MiB\n[tier plain]\n"
FEW = "sessions per account = 1\nroster items = 1"


class Tiers(TestCase):
    """An account with a tier beside one without."""

    async def test_limits(self) -> None:
        """A tier's limits are its accounts'; what it does not say, and for everybody else, the limits of all."""
        server = await a_server(self, config_of(limits=FEW, more=SPONSOR))
        await server.tiers.store.set(str(JULIET), "sponsor")
        await server.tiers.store.set(str(ROMEO), "plain")
        self.assertEqual(Limit(1, ""), server.tiers.sessions(JULIET))
        await server.tiers.load()
        tiers = server.tiers
        self.assertEqual(
            [Limit(3, "sponsor"), Limit(2, "sponsor"), Limit(1, "sponsor"), Limit(1 << 20, "sponsor")],
            [
                tiers.sessions(JULIET),
                tiers.roster_items(JULIET),
                tiers.offline_messages(JULIET, 9),
                tiers.storage(JULIET, 9),
            ],
        )
        for jid in (ROMEO, JID.parse("nurse@example.com/x")):
            self.assertEqual(
                [Limit(1, ""), Limit(1, ""), Limit(9, ""), Limit(8, "")],
                [tiers.sessions(jid), tiers.roster_items(jid), tiers.offline_messages(jid, 9), tiers.storage(jid, 8)],
            )
        self.assertEqual(("3 (tier sponsor)", "1"), (str(tiers.sessions(JULIET)), str(tiers.sessions(ROMEO))))

    async def test_changes(self) -> None:
        """A tier that is given or taken, that leaves the ini, or whose account is deleted."""
        server = await a_server(self, config_of(more=SPONSOR))
        for name, expected in (("sponsor", "sponsor"), ("", ""), ("unknown", ""), ("sponsor", "sponsor")):
            await server.tiers.store.set(str(JULIET), name)
            await server.tiers.refresh(JULIET.with_resource("x"))
            self.assertEqual(expected, server.tiers.name_of(JULIET))
        server.configure(config_of())
        self.assertEqual("", server.tiers.name_of(JULIET))
        server.configure(config_of(more=SPONSOR))
        self.assertEqual("sponsor", server.tiers.name_of(JULIET))
        self.assertTrue(await server.delete_account(JULIET))
        await quiet()
        self.assertEqual("", server.tiers.name_of(JULIET))

    async def test_in_errors(self) -> None:
        """Whoever comes to the end of his roster is told how long it is, and whose limit that is."""
        server = await a_server(self, config_of(limits=FEW, more=SPONSOR))
        await server.tiers.store.set(str(JULIET), "sponsor")
        await server.tiers.load()
        for account, most in ((JULIET, "2 (tier sponsor)"), (ROMEO, "1")):
            person = Person(server, f"{account}/a")
            for contact in "abc":
                await person.tell(
                    "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>"
                    f"<item jid='{contact}@example.net'/></query></iq>"
                )
            await person.tell("<presence type='subscribe' to='d@example.net'/>")
            errors = [each for each in person.got() if each.type == "error"]
            self.assertEqual({"resource-constraint"}, {outline(each)[3] for each in errors if each.name == "iq"})
            self.assertEqual({"iq", "presence"}, {each.name for each in errors})
            for error in errors:
                if error.name == "iq":
                    self.assertIn(f"a roster has at most {most} contacts".encode(), error.to_bytes())

    async def test_storage(self) -> None:
        """Whoever keeps too much is told how much he may, and whose limit that is."""
        server = await a_server(self, config_of(MODULES, more="[tier small]\nstorage = 1 KiB\n"))
        await server.tiers.store.set(str(JULIET), "small")
        await server.tiers.load()
        data = "x" * 2000
        for account, limit in ((JULIET, b"may have 1024 (tier small) octets"), (ROMEO, None)):
            person = Person(server, f"{account}/a")
            await person.tell(
                f"<iq type='set' id='s'><query xmlns='jabber:iq:private'><n xmlns='urn:n'>{data}</n></query></iq>"
            )
            (answer,) = [each for each in person.got() if each.name == "iq"]
            self.assertEqual("result" if limit is None else "error", answer.type)
            self.assertIn(limit or b"", answer.to_bytes())
