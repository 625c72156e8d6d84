"""XEP-0202: the time, in UTC."""

import time
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from chatrix.xmpp.element import Element
from tests.inmemory import Person, a_server, config_of


class Asking(TestCase):
    """The module alone."""

    async def test_time(self) -> None:
        """The host tells the time without its time zone, which is nobody's business."""
        juliet = Person(await a_server(self, config_of(modules="time")), "juliet@example.com/b")
        with patch.object(time, "time_ns", lambda: 1_031_699_305_123_456_789):
            juliet.send("<iq type='get' id='1' to='example.com'><time xmlns='urn:xmpp:time'/></iq>")
        (answer,) = juliet.got()
        told: Element = next(iter(answer.tree))
        self.assertEqual(
            {"tzo": "+00:00", "utc": "2002-09-10T23:08:25.123Z"}, {child.name: child.text for child in iter(told)}
        )
