"""What a reload tells the admin about a changed ini."""

from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import TestCase

from chatrix.config.load import Config, load_bytes
from chatrix.config.options import option

HOST = "[host example.com]\ncertificate = /a.pem\n"


@dataclass(frozen=True, kw_only=True)
class PingOptions:
    """A module's options, one of which a running server can take over."""

    port: int = option(1, doc="A port.")
    pause: int = option(1, doc="A pause.", restart=False)
    key: str = option("a", doc="A key.", secret=True)


def read(text: str) -> Config:
    """A Config whose modules all have PingOptions."""
    return load_bytes(text.encode(), Path("/x.ini"), lambda word: PingOptions)


class Difference(TestCase):
    """Config.difference."""

    def lines(self, old: str, new: str) -> list[str]:
        """The lines for the admin."""
        return [str(change) for change in read(old).difference(read(new))]

    def test_nothing(self) -> None:
        """The same ini in other words is no change."""
        self.assertEqual(self.lines(HOST, f"; c\n[limits]\n{HOST}"), [])

    def test_options(self) -> None:
        """From what to what, and whether it waits for a restart."""
        self.assertEqual(
            self.lines(
                f"[chatrix]\nc2s = tcp:1\nmodules = ping\n{HOST}admins = a@example.com\n",
                f"[chatrix]\nc2s = tcp:2\nmodules = ping\n[limits]\ndepth = 65\n{HOST}"
                "[module ping]\nport = 2\npause = 2\nkey = b\n",
            ),
            [
                "[chatrix] c2s: tcp:1 -> tcp:2 (after a restart)",
                "[limits] depth: 64 -> 65",
                "[host example.com] admins: a@example.com -> nothing",
                "[module ping] port: 1 -> 2 (after a restart)",
                "[module ping] pause: 1 -> 2",
                "[module ping] key: has changed (after a restart)",
            ],
        )

    def test_tiers(self) -> None:
        """Tiers come, go and change at once."""
        self.assertEqual(
            self.lines(f"{HOST}[tier a]\nsessions = 2\n[tier b]\n", f"{HOST}[tier a]\n[tier c]\n"),
            ["[tier b] is gone", "[tier a] sessions: 2 -> none", "[tier c] is new"],
        )

    def test_sections(self) -> None:
        """Hosts come and go at once, modules with a restart."""
        self.assertEqual(
            self.lines(
                f"[chatrix]\nmodules = ping\n{HOST}",
                "[chatrix]\nmodules = pong\n[host b.example]\ncertificate = /a.pem\n",
            ),
            [
                "[chatrix] modules: ping -> pong (after a restart)",
                "[host example.com] is gone",
                "[host b.example] is new",
                "[module ping] is gone (after a restart)",
                "[module pong] is new (after a restart)",
            ],
        )

    def test_password(self) -> None:
        """A changed password of the database is told without it."""
        old, new = (f"[chatrix]\nmodules =\ndatabase = postgresql://c:{word}@h/c\n{HOST}" for word in ("abc", "def"))
        self.assertEqual(self.lines(old, new), ["[chatrix] database: has changed (after a restart)"])
