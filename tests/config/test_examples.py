"""Every ini under etc/ is one that this version takes."""

from pathlib import Path

from twisted.trial.unittest import TestCase

from chatrix.config.load import load
from chatrix.server.loading import module_options, module_words
from tests.imports import ROOT


class Examples(TestCase):
    """What an admin copies first."""

    def test_all_load(self) -> None:
        """Each one loads, with the options of its modules."""
        found = sorted((ROOT / "etc").rglob("*.ini"))
        self.assertGreaterEqual(len(found), 2)
        for path in found:
            load(path, module_options, module_words)

    def test_default(self) -> None:
        """`make run` keeps to this machine: it listens on loopback alone and writes into var/."""
        config = load(ROOT / "etc/chatrix.ini", module_options, module_words)
        self.assertEqual(list(config.hosts), ["localhost"])
        self.assertEqual(config.chatrix.state, Path(ROOT) / "var")
        self.assertEqual(config.hosts["localhost"].certificate, Path(ROOT) / "var/localhost.pem")
        for endpoint in (*config.chatrix.c2s, *config.chatrix.c2s_tls):
            self.assertTrue(endpoint.endswith(":interface=127.0.0.1"), endpoint)
