"""Delivery against RFC 6121: Table 1 of section 8.5.4 in the RFC's letters, and the sentences of section 8.5."""

from twisted.trial.unittest import SynchronousTestCase

from chatrix.xmpp.delivery import Delivery, of_message, of_presence

TABLE_1 = """
    no active resources      | bare          | O/E | O/E | E   | S
    no active resources      | full no match | S/E | O/E | S/E | S/E
    only negative resources  | bare          | O/E | O/E | E   | S
    only negative resources  | full no match | S/E | O/E | S/E | S/E
    one non-negative         | bare          | D   | D   | E   | D
    one non-negative         | full no match | S/E | D   | S/E | S/E
    several non-negative     | bare          | M/A | M   | E   | A
    several non-negative     | full no match | S/E | M   | S/E | S/E
"""
"""Normal, chat, groupchat, headline. The rows of a full match never ask; 'A*' needs an opt-in that there is not."""

LETTERS = {
    "O": {Delivery.KEEP},
    "E": {Delivery.REFUSE},
    "S": {Delivery.IGNORE},
    "M": {Delivery.MOST_AVAILABLE},
    "A": {Delivery.ALL_NON_NEGATIVE},
    # To the one there is: it is both the most available and all.
    "D": {Delivery.MOST_AVAILABLE, Delivery.ALL_NON_NEGATIVE},
}
TYPES = ("normal", "chat", "groupchat", "headline")


class Messages(SynchronousTestCase):
    """`of_message`."""

    def test_table(self) -> None:
        """Every cell of Table 1 allows what we do."""
        for line in TABLE_1.strip().splitlines():
            condition, address, *cells = (column.strip() for column in line.split("|"))
            for type_, cell in zip(TYPES, cells, strict=True):
                with self.subTest(condition=condition, address=address, type=type_):
                    allowed = set().union(*(LETTERS[letter] for letter in cell.split("/")))
                    somebody = condition.endswith("non-negative")
                    self.assertIn(of_message(type_, address == "full no match", somebody), allowed)

    def test_errors(self) -> None:
        """An error is never answered and never kept (sections 8.5.2.1.1, 8.5.2.2.1 and 8.5.3.2.1)."""
        for to_full in (False, True):
            for somebody in (False, True):
                self.assertIs(Delivery.IGNORE, of_message("error", to_full, somebody))

    def test_kept(self) -> None:
        """What may be kept is kept, rather than bounced; and what may be bounced is, so that the sender knows."""
        self.assertIs(Delivery.KEEP, of_message("normal", False, False))
        self.assertIs(Delivery.KEEP, of_message("chat", False, False))
        self.assertIs(Delivery.KEEP, of_message("chat", True, False))
        self.assertIs(Delivery.REFUSE, of_message("normal", True, True))
        self.assertIs(Delivery.REFUSE, of_message("groupchat", True, False))

    def test_unknown_type(self) -> None:
        """No type, and one that nobody knows, count as normal (section 5.2.2)."""
        for type_ in ("", "gossip", "CHAT"):
            for to_full in (False, True):
                for somebody in (False, True):
                    self.assertIs(of_message("normal", to_full, somebody), of_message(type_, to_full, somebody))


class PresenceStanzas(SynchronousTestCase):
    """`of_presence`."""

    def test_bare(self) -> None:
        """Available and unavailable presence goes to all available sessions (section 8.5.2.1.2)."""
        for type_ in ("", "unavailable"):
            self.assertIs(Delivery.ALL_AVAILABLE, of_presence(type_, False))

    def test_full(self) -> None:
        """For a resource that is not there it is ignored (section 8.5.3.2.2)."""
        for type_ in ("", "unavailable"):
            self.assertIs(Delivery.IGNORE, of_presence(type_, True))

    def test_others(self) -> None:
        """What modules deal with goes nowhere without them."""
        for type_ in ("subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe"):
            for to_full in (False, True):
                self.assertIs(Delivery.IGNORE, of_presence(type_, to_full))

    def test_errors(self) -> None:
        """What became of a request, which came from the bare JID, is told to the user (section 3.1.2)."""
        self.assertIs(Delivery.ALL_AVAILABLE, of_presence("error", False))
        self.assertIs(Delivery.IGNORE, of_presence("error", True))
