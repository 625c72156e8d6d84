"""Tests of chatrix.xmpp.sasl.identity: names and authorization identities."""

from twisted.trial.unittest import TestCase

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.sasl.identity import account_of, check_authzid

HOST = "example.com"


class AccountTests(TestCase):
    """From the name a client gives to the account."""

    def test_any_spelling(self) -> None:
        """Every spelling of a name leads to one account."""
        for name in ("alice", "Alice", "ALICE", "\uff41\uff4c\uff49\uff43\uff45"):
            self.assertEqual(account_of(name, HOST), JID.parse("alice@example.com"), name)

    def test_impossible_names(self) -> None:
        """Names that no account can have are nobody's, and no error."""
        for name in ("", "alice@example.com", "a/b", "a b", "a\0", "\ud800", "\u2028", "<", "x" * 1024, "a\u200b"):
            self.assertIsNone(account_of(name, HOST), repr(name))


class AuthzidTests(TestCase):
    """Whom a client may act as: itself."""

    def setUp(self) -> None:
        self.alice = JID.parse("alice@example.com")

    def test_itself(self) -> None:
        """No authzid, or the own bare JID in any spelling."""
        for authzid in ("", "alice@example.com", "Alice@EXAMPLE.com", "alice@example.com."):
            check_authzid(authzid, self.alice)

    def test_anybody_else(self) -> None:
        """Everything else is invalid-authzid: another account, a bare name, a full JID, no JID at all."""
        for authzid in (
            "bob",
            "alice",
            "bob@example.com",
            "alice@example.org",
            "example.com",
            "alice@example.com/phone",
            "@example.com",
            "alice@",
            "alice@example.com/",
            "\ud800@example.com",
            "\0",
            " ",
            "x" * 5000,
        ):
            error = self.assertRaises(SASLError, check_authzid, authzid, self.alice)
            self.assertEqual(error.condition, "invalid-authzid", authzid)

    def test_impossible_name(self) -> None:
        """A name that no account can have may act as nobody."""
        check_authzid("", None)
        self.assertRaises(SASLError, check_authzid, "alice@example.com", None)
