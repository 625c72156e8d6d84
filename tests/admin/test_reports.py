"""Tests of chatrix.admin.reports: what an admin sees of what users have reported."""

from twisted.trial.unittest import TestCase

from chatrix.admin.errors import AdminError
from chatrix.admin.reports import lines, put_away
from chatrix.store.blocking import Report, Reports
from tests.inmemory import a_server, config_of


class ReportsTests(TestCase):
    """The reports of one server."""

    async def test_shown_and_put_away(self) -> None:
        """Each report with who, whom, why and what was said; one that is put away is gone, and only once."""
        server = await a_server(self, config_of())
        reports = Reports(server.database)
        self.assertEqual(["nothing is reported"], await lines(reports))
        for jid, text in (("spam@elsewhere.test", "buy\nnow"), ("bad@elsewhere.test", "")):
            report = Report("juliet@example.com", jid, "urn:xmpp:reporting:spam", 1_000_000, text, (("room@b", "i1"),))
            self.assertTrue(await reports.add(report))
        shown = await lines(reports)
        self.assertRegex(
            shown[0], "^[0-9]+  1970-01-01T00:00:01.000Z  juliet@example.com reports spam@elsewhere.test: spam$"
        )
        self.assertEqual(["    'buy\\nnow'", "    message 'i1' by 'room@b'"], shown[1:3])
        first = int(shown[0].split()[0])
        self.assertIn(str(first), await put_away(reports, first))
        self.assertEqual(2, len(await lines(reports)))
        with self.assertRaises(AdminError):
            await put_away(reports, first)
