"""Who is connected: accounts come with their first session and go with their last."""

from twisted.trial.unittest import SynchronousTestCase

from chatrix.hooks import Hooks
from chatrix.server.directory import Account, Directory
from chatrix.server.session import Session
from chatrix.xmpp.jid import JID
from chatrix.xmpp.stanza import Presence
from tests.inmemory import FakeStream

JULIET = JID.parse("juliet@example.com")


class Connected(SynchronousTestCase):
    """`Directory` and `Account`."""

    def setUp(self) -> None:
        self.directory = Directory()
        self.directory.serve("example.com")

    def bind(self, resource: str) -> Session:
        """Add a session of Juliet's."""
        jid = JULIET.with_resource(resource)
        session = Session(jid, self.directory.enter(jid), FakeStream(), None)  # type: ignore[arg-type]
        self.directory.add(session)
        return session

    def test_life(self) -> None:
        """An account is there from its first session to its last, and is then forgotten."""
        self.assertIsNone(self.directory.account(JULIET))
        one, two = self.bind("one"), self.bind("two")
        self.assertIs(one.account, two.account)
        self.assertIs(one.account, self.directory.account(two.jid))
        self.assertEqual([one, two], list(self.directory))
        self.assertEqual(2, self.directory.session_count)
        self.assertTrue(self.directory.remove(one))
        self.assertIs(two.account, self.directory.account(JULIET))
        self.assertTrue(self.directory.remove(two))
        self.assertIsNone(self.directory.account(JULIET))
        self.assertEqual({"example.com": {}}, self.directory.hosts)
        self.assertEqual(0, self.directory.session_count)

    def test_session(self) -> None:
        """A session is found by its full JID and by no other."""
        one = self.bind("one")
        self.assertIs(one, self.directory.session(one.jid))
        for other in ("juliet@example.com/two", "juliet@example.com", "romeo@example.com/one", "juliet@else.where/one"):
            self.assertIsNone(self.directory.session(JID.parse(other)))

    def test_removed_twice(self) -> None:
        """A session that ended does not take along the one that got its resource."""
        old = self.bind("one")
        self.assertTrue(self.directory.remove(old))
        new = self.bind("one")
        self.assertFalse(self.directory.remove(old))
        self.assertIs(new, self.directory.session(new.jid))
        self.assertEqual(1, self.directory.session_count)

    def test_resource_taken(self) -> None:
        """Two sessions with one resource would be a mistake of ours."""
        self.bind("one")
        self.assertRaises(AssertionError, self.bind, "one")

    def test_hosts(self) -> None:
        """Serving a host again changes nothing for who is connected there."""
        one = self.bind("one")
        self.directory.serve("example.com")
        self.assertTrue(self.directory.serves("example.com"))
        self.assertFalse(self.directory.serves("else.where"))
        self.assertEqual([one], list(self.directory))

    def test_end_while_looking(self) -> None:
        """Sessions may end while somebody goes through them all."""
        for name in ("one", "two", "three"):
            self.bind(name)
        for session in self.directory:
            self.directory.remove(session)
        self.assertEqual([], list(self.directory))

    def test_host_gone(self) -> None:
        """A session whose host was taken out of the directory still ends."""
        one = self.bind("one")
        del self.directory.hosts["example.com"]
        self.assertTrue(self.directory.remove(one))
        self.assertEqual(0, self.directory.session_count)

    def test_available(self) -> None:
        """Available are the sessions that said so, whatever their priority."""
        one, two = self.bind("one"), self.bind("two")
        self.assertEqual([], one.account.available)
        two.presence = Presence({})
        self.assertEqual([two], one.account.available)

    def test_state(self) -> None:
        """Whoever keeps something with an account or a session has its own place."""
        account = Account(JULIET)
        session = self.bind("one")
        for keeper in (account, session):
            assert isinstance(keeper, Account | Session)
            self.assertIsNone(keeper.state(Hooks))
            keeper.keep(Hooks, "hooks")
            keeper.keep(JID, "jid")
            self.assertEqual(("hooks", "jid"), (keeper.state(Hooks), keeper.state(JID)))
            self.assertIsNone(keeper.state(Presence))
