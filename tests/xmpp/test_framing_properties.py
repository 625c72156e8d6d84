"""The framing's properties, a few hundred examples of each."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from twisted.trial.unittest import TestCase

from tests.xmpp import properties

FEW = settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def _few(check: Callable[[], None]) -> None:
    FEW(check)()


class FramingPropertiesTests(TestCase):
    """Whatever peers send."""

    def test_split(self) -> None:
        """Any split of any bytes gives the same on both paths."""
        _few(properties.any_split_gives_the_same)

    def test_single_bytes(self) -> None:
        """So do single bytes."""
        _few(properties.byte_by_byte_gives_the_same)

    def test_last_byte(self) -> None:
        """A stanza is emitted with its last byte."""
        _few(properties.stanzas_are_emitted_with_their_last_byte)

    def test_output(self) -> None:
        """There is never a second first-level element in what goes out."""
        _few(properties.output_is_one_element)

    def test_children(self) -> None:
        """Children without a tree are those of the tree."""
        _few(properties.children_are_those_of_the_tree)

    def test_serialise(self) -> None:
        """parse(serialise(x)) is x."""
        _few(properties.parse_undoes_serialise)

    def test_stanza(self) -> None:
        """A stanza is its tree."""
        _few(properties.a_stanza_is_its_tree)
