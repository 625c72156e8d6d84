"""Subscription tables against a second transcription of RFC 6121 appendix A, in the words of the RFC."""

from twisted.trial.unittest import SynchronousTestCase

from chatrix.xmpp.subscription import TYPES, State, inbound, outbound, state_of

STATES = {
    # A.1: the nine states as (subscription, ask, a request of the contact waits)
    "None": ("none", False, False),
    "None + Pending Out": ("none", True, False),
    "None + Pending In": ("none", False, True),
    "None + Pending Out+In": ("none", True, True),
    "To": ("to", False, False),
    "To + Pending In": ("to", False, True),
    "From": ("from", False, False),
    "From + Pending Out": ("from", True, False),
    "Both": ("both", False, False),
}

OUTBOUND = {
    "subscribe": """
        None                  | MUST | None + Pending Out
        None + Pending Out    | MUST | no state change
        None + Pending In     | MUST | None + Pending Out+In
        None + Pending Out+In | MUST | no state change
        To                    | MUST | no state change
        To + Pending In       | MUST | no state change
        From                  | MUST | From + Pending Out
        From + Pending Out    | MUST | no state change
        Both                  | MUST | no state change
    """,
    "unsubscribe": """
        None                  | MUST | no state change
        None + Pending Out    | MUST | None
        None + Pending In     | MUST | no state change
        None + Pending Out+In | MUST | None + Pending In
        To                    | MUST | None
        To + Pending In       | MUST | None + Pending In
        From                  | MUST | no state change
        From + Pending Out    | MUST | From
        Both                  | MUST | From
    """,
    "subscribed": """
        None                  | M.N. | pre-approval
        None + Pending Out    | M.N. | pre-approval
        None + Pending In     | MUST | From
        None + Pending Out+In | MUST | From + Pending Out
        To                    | M.N. | pre-approval
        To + Pending In       | MUST | Both
        From                  | M.N. | no state change
        From + Pending Out    | M.N. | no state change
        Both                  | M.N. | no state change
    """,
    "unsubscribed": """
        None                  | S.N. | no state change
        None + Pending Out    | S.N. | no state change
        None + Pending In     | MUST | None
        None + Pending Out+In | MUST | None + Pending Out
        To                    | S.N. | no state change
        To + Pending In       | MUST | To
        From                  | MUST | None
        From + Pending Out    | MUST | None + Pending Out
        Both                  | MUST | To
    """,
}
"""Tables 2 to 5."""

INBOUND = {
    "subscribe": """
        None                  | MUST | None + Pending In
        None + Pending Out    | MUST | None + Pending Out+In
        None + Pending In     | S.N. | no state change
        None + Pending Out+In | S.N. | no state change
        To                    | MUST | To + Pending In
        To + Pending In       | S.N. | no state change
        From                  | S.N. | no state change | subscribed
        From + Pending Out    | S.N. | no state change | subscribed
        Both                  | S.N. | no state change | subscribed
    """,
    "unsubscribe": """
        None                  | S.N. | no state change
        None + Pending Out    | S.N. | no state change
        None + Pending In     | MUST | None | unsubscribed
        None + Pending Out+In | MUST | None + Pending Out | unsubscribed
        To                    | S.N. | no state change
        To + Pending In       | MUST | To | unsubscribed
        From                  | MUST | None | unsubscribed
        From + Pending Out    | MUST | None + Pending Out | unsubscribed
        Both                  | MUST | To | unsubscribed
    """,
    "subscribed": """
        None                  | S.N. | no state change
        None + Pending Out    | MUST | To
        None + Pending In     | S.N. | no state change
        None + Pending Out+In | MUST | To + Pending In
        To                    | S.N. | no state change
        To + Pending In       | S.N. | no state change
        From                  | S.N. | no state change
        From + Pending Out    | MUST | Both
        Both                  | S.N. | no state change
    """,
    "unsubscribed": """
        None                  | S.N. | no state change
        None + Pending Out    | MUST | None
        None + Pending In     | S.N. | no state change
        None + Pending Out+In | MUST | None + Pending In
        To                    | MUST | None
        To + Pending In       | MUST | None + Pending In
        From                  | S.N. | no state change
        From + Pending Out    | MUST | From
        Both                  | MUST | From
    """,
}
"""Tables 6 to 9; the last column is the auto-reply of their footnotes."""

AFTER_APPROVAL = {"None": "From", "None + Pending Out": "From + Pending Out", "To": "Both"}
"""Section 3.4: what a request does when the user has said yes beforehand."""


def named(name: str) -> State:
    """The State that the RFC calls by this name."""
    return State(STATES[name])


def rows(table: str) -> list[tuple[str, bool, str, str]]:
    """Existing state, whether the stanza goes on, new state, automatic answer."""
    found = []
    for line in table.strip().splitlines():
        columns = [column.strip() for column in line.split("|")]
        found.append((columns[0], columns[1] == "MUST", columns[2], columns[3] if len(columns) > 3 else ""))
    return found


class Tables(SynchronousTestCase):
    """All rows of tables 2 to 9."""

    def test_complete(self) -> None:
        """Our own transcription misses no state and no type."""
        for tables in (OUTBOUND, INBOUND):
            self.assertEqual(set(TYPES), set(tables))
            for table in tables.values():
                self.assertEqual(list(STATES), [row[0] for row in rows(table)])
        self.assertEqual({state.value for state in State}, set(STATES.values()))

    def test_outbound(self) -> None:
        """Tables 2 to 5: what the user's server does with what the user sends."""
        for type_, table in OUTBOUND.items():
            for existing, routed, new, _ in rows(table):
                with self.subTest(type=type_, state=existing):
                    change = outbound(type_, named(existing))
                    self.assertEqual(routed, change.passes)
                    self.assertEqual(new == "pre-approval", change.approves)
                    self.assertEqual("", change.answer)
                    expected = named(existing if new in ("no state change", "pre-approval") else new)
                    self.assertIs(expected, change.state or named(existing))

    def test_inbound(self) -> None:
        """Tables 6 to 9: what the user's server does with what comes from the contact."""
        for type_, table in INBOUND.items():
            for existing, delivered, new, answer in rows(table):
                with self.subTest(type=type_, state=existing):
                    change = inbound(type_, named(existing))
                    self.assertEqual(delivered, change.passes)
                    self.assertEqual(answer, change.answer)
                    self.assertFalse(change.approves)
                    expected = named(existing if new == "no state change" else new)
                    self.assertIs(expected, change.state or named(existing))

    def test_pre_approved(self) -> None:
        """Section 3.4: a request that was approved beforehand is answered and not shown; nothing else changes."""
        for name in STATES:
            with self.subTest(state=name):
                change = inbound("subscribe", named(name), approved=True)
                if name in AFTER_APPROVAL:
                    self.assertEqual((False, named(AFTER_APPROVAL[name]), "subscribed", False), tuple(change))
                else:
                    self.assertEqual(inbound("subscribe", named(name)), change)
                for type_ in TYPES[1:]:
                    self.assertEqual(inbound(type_, named(name)), inbound(type_, named(name), approved=True))


class States(SynchronousTestCase):
    """`State` and `state_of`."""

    def test_states(self) -> None:
        """The parts of a state lead back to it, and say who sees whom."""
        for name, parts in STATES.items():
            state = state_of(*parts)
            self.assertIs(named(name), state)
            self.assertEqual(parts, (state.subscription, state.ask, state.asked))
            self.assertEqual(parts[0] in ("from", "both"), state.sends)

    def test_impossible(self) -> None:
        """Nobody asks for what he has: such rows of a database count as what they would mean."""
        self.assertIs(State.TO, state_of("to", True, False))
        self.assertIs(State.FROM, state_of("from", False, True))
        self.assertIs(State.FROM_OUT, state_of("from", True, True))
        self.assertIs(State.BOTH, state_of("both", True, True))
