"""Modules from the words of an ini: what is wrong with them stops the start, with file and line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from chatrix.config.load import load
from chatrix.config.problems import ConfigError
from chatrix.modules.ping import Ping
from chatrix.process.worker import Worker
from chatrix.server.loading import load_modules, module_class, module_options, module_words
from chatrix.server.server import Server
from chatrix.testing.client import Client
from chatrix.testing.host import MemoryHost
from chatrix.testing.login import log_in
from tests.certificates import leaf

GREETING = '''"""Greet whoever says hello."""

from dataclasses import dataclass

from chatrix.api import Arriving, Element, Message, Module, Stage, Verdict, on, option


@dataclass(frozen=True, kw_only=True)
class GreetingOptions:
    """The section [module acme.greeting]."""

    words: str = option("hello", doc="What to say.")


class Greeting(Module):
    """Answer messages to robot@ with a greeting."""

    options = GreetingOptions
    features = ("urn:acme:greeting",)

    @on(Arriving, Stage.SCREEN, stanzas=("message",))
    async def greet(self, arriving: Arriving) -> Verdict | None:
        """Answer in the name of the account."""
        if arriving.account.jid.local != "robot" or arriving.stanza.type == "error":
            return None
        self.server.router.send_answer(arriving.stanza.reply(self.settings.words))
        return Verdict.STOP
'''

OTHERS = {
    "pong": """
        from chatrix.api import *

        class Pong(Module):
            @iq("get", ("urn:xmpp:ping", "ping"), to=Target.HOST)
            def pong(self, request): ...
    """,
    "broken": """
        from chatrix.api import Module

        class Broken(Module):
            def __init__(self, server, options):
                raise ValueError("the moon is not full")
    """,
    "needy": """
        from chatrix.api import Module

        class Needy(Module):
            requires = ("roster", "moon")
    """,
    "typo": "import no_such_thing_at_all",
    "syntax": "class (",
    "two": """
        from chatrix.api import Module

        class One(Module): ...
        class Two(Module): ...
    """,
    "none": "from chatrix.api import Module",
    "slow": """
        from chatrix.api import Module, Writing, on

        class Slow(Module):
            @on(Writing)
            async def write(self, writing): ...
    """,
}


class LoadingCase(TestCase):
    """With a package `acme`, of somebody else's, on sys.path."""

    def setUp(self) -> None:
        site = Path(self.mktemp())
        (site / "acme").mkdir(parents=True)
        (site / "acme" / "__init__.py").touch()
        (site / "acme" / "greeting.py").write_text(GREETING)
        for name, source in OTHERS.items():
            lines = [line.removeprefix("        ") for line in source.splitlines()]
            (site / "acme" / f"{name}.py").write_text("\n".join(lines))
        sys.path.insert(0, str(site))
        importlib.invalidate_caches()
        self.addCleanup(sys.path.remove, str(site))
        self.addCleanup(self._forget)

    def _forget(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
            del sys.modules[name]

    def ini(self, modules: str, more: str = "") -> Path:
        """An ini with these modules, each on a line of its own from line 3 on."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        path = folder / "chatrix.ini"
        words = "\n".join(f"    {word}" for word in modules.split())
        path.write_text(
            f"[chatrix]\nmodules =\n{words}\n{more}\n[host example.com]\ncertificate = host.pem\n", encoding="utf-8"
        )
        return path

    def refusal(self, modules: str, more: str = "") -> list[str]:
        """What the problems say, without the folder of the ini."""
        path = self.ini(modules, more)
        with self.assertRaises(ConfigError) as caught:
            config = load(path, module_options, module_words)
            load_modules(Server(config, None, bytes(32), reactor), config)  # type: ignore[arg-type]
        return str(caught.exception).replace(f"{path.parent}/", "").splitlines()


class Words(LoadingCase):
    """`module_class` and `module_words`."""

    def test_words(self) -> None:
        """The words are the files of chatrix/modules."""
        self.assertLessEqual({"disco", "ping", "roster", "offline"}, set(module_words()))
        self.assertIs(Ping, module_class("ping"))

    def test_dotted(self) -> None:
        """A dotted name is an import path; the class can be named."""
        self.assertEqual("Greeting", module_class("acme.greeting").__name__)
        self.assertEqual("Two", module_class("acme.two:Two").__name__)

    def test_not_found(self) -> None:
        """What does not exist is a LookupError; what breaks when it is imported shows its own error."""
        for word in ("pin", "acme.nothing", "nothing.at.all", "acme.two", "acme.none", "acme.two:Three", "ping.x", ""):
            with self.subTest(word=word):
                self.assertRaises(LookupError, module_class, word)
        self.assertRaises(ModuleNotFoundError, module_class, "acme.typo")
        self.assertRaises(SyntaxError, module_class, "acme.syntax")


class Refusals(LoadingCase):
    """Each problem stops the start with the line of the ini."""

    def test_unknown(self) -> None:
        """An unknown word, with what was probably meant."""
        self.assertEqual(
            ['chatrix.ini:4: unknown module "pingg"; did you mean "ping"?'], self.refusal("disco pingg roster")
        )
        self.assertEqual(['chatrix.ini:4: unknown module "acme.nothing"'], self.refusal("disco acme.nothing"))

    def test_missing(self) -> None:
        """A missing dependency, by name; one that stands later in the list is there."""
        self.assertEqual(["chatrix.ini:4: module presence needs module roster"], self.refusal("disco presence"))
        self.assertEqual(["chatrix.ini:4: module acme.needy needs module moon"], self.refusal("roster acme.needy"))
        path = self.ini("subscription presence roster")
        config = load(path, module_options, module_words)
        load_modules(Server(config, None, bytes(32), reactor), config)  # type: ignore[arg-type]

    def test_duplicate(self) -> None:
        """Two modules that answer one request."""
        (line,) = self.refusal("disco ping acme.pong")
        self.assertTrue(line.startswith("chatrix.ini:5: "), line)
        for part in ("ping", "acme.pong", "get", "urn:xmpp:ping", "host"):
            self.assertIn(part, line)

    def test_constructor(self) -> None:
        """A module that cannot be made says why."""
        self.assertEqual(
            ["chatrix.ini:3: module acme.broken cannot start: the moon is not full"], self.refusal("acme.broken ping")
        )

    def test_import(self) -> None:
        """A module that cannot be imported shows what Python says."""
        (line,) = self.refusal("ping acme.typo")
        self.assertTrue(line.startswith('chatrix.ini:4: module "acme.typo" cannot be loaded: '), line)
        self.assertIn("no_such_thing_at_all", line)
        (line,) = self.refusal("acme.syntax")
        self.assertIn("SyntaxError", line)

    def test_options(self) -> None:
        """An unknown option of somebody else's module, with what was probably meant."""
        (line,) = self.refusal("acme.greeting", "[module acme.greeting]\nwrods = good day\n")
        self.assertTrue(line.startswith("chatrix.ini:5: "), line)
        self.assertIn('did you mean "words"?', line)

    def test_waiting_writer(self) -> None:
        """Writing cannot wait: a module that wants to is refused, or its stanzas would be lost."""
        (line,) = self.refusal("ping acme.slow")
        self.assertTrue(line.startswith("chatrix.ini:4: "), line)
        self.assertIn("acme.slow.write", line)

    def test_all_at_once(self) -> None:
        """All problems of the modules are told at once."""
        lines = self.refusal("acme.broken ping acme.pong presence")
        self.assertEqual(["chatrix.ini:3:", "chatrix.ini:5:", "chatrix.ini:6:"], [line.split()[0] for line in lines])

    async def test_worker(self) -> None:
        """The worker does not start, and `ready` says why."""
        certificate = leaf("example.com")
        path = self.ini("ping acme.pong")
        (path.parent / "host.pem").touch(0o600)
        (path.parent / "host.pem").write_bytes(certificate.pem)
        (path.parent / "var").mkdir()
        worker = Worker(load(path, module_options, module_words), reactor)
        worker.startService()
        with self.assertRaises(ConfigError) as caught:
            await worker.ready
        self.assertIn("chatrix.ini:4:", str(caught.exception))
        await worker.stopService()


class ThirdParty(LoadingCase):
    """A module that lives outside of the package, in a whole server."""

    async def test_greeting(self) -> None:
        """It gets its options from the ini, acts on a message, and disco tells its feature."""
        certificate = leaf("localhost")
        host = MemoryHost(
            "localhost",
            certificate.pem,
            certificate.authority_pem,
            Path(self.mktemp()),
            reactor,
            modules="disco acme.greeting",
            sections="[module acme.greeting]\nwords = good day\n",
        )
        await host.start()
        self.addCleanup(host.stop)
        await host.add_account("juliet@localhost", "secret")
        juliet = Client("juliet", "juliet@localhost/a", "secret", reactor)
        await host.connect(juliet)
        await log_in(juliet)
        juliet.send("<message to='robot@localhost' id='1' type='chat'><body>hello?</body></message>")
        answer = await juliet.next()
        self.assertEqual(
            ("robot@localhost", "chat", "good day"),
            (answer.get("from"), answer.get("type"), answer.findtext("{jabber:client}body")),
        )
        juliet.send("<iq type='get' id='2' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        features = [each.get("var") for each in (await juliet.next()).iter("{*}feature")]
        self.assertIn("urn:acme:greeting", features)
        await juliet.close()
