"""The import rule of docs/layers.md: which part of chatrix may import which, and what xmpp/ does without."""

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.imports import ROOT, imports_of, python_files

BASE = {"xmpp", "hooks", "interfaces", "config"}
MAIN = {*BASE, "store", "server", "net", "web", "process"}

MAY_IMPORT = {
    "xmpp": {"xmpp"},
    "hooks": BASE,
    "interfaces": BASE,
    "config": BASE,
    "store": {*BASE, "store"},
    "server": {*BASE, "store", "server"},
    "net": {*BASE, "store", "server", "net"},
    "web": {*BASE, "store", "server", "web"},
    "process": MAIN,
    "component": {"xmpp", "component"},
    "services": {"xmpp", "component", "store", "services"},
    # what modules see of the server, and nothing else is what they see
    "api": {*BASE, "store", "server"},
    "modules": {"xmpp", "api"},
    "admin": {*MAIN, "admin", "api", "modules", "component", "services"},
    "tap": {*MAIN, "admin", "api", "modules", "component", "services", "tap"},
    # for tests, ours and other people's; nothing that serves imports it
    "testing": {*MAIN, "admin", "api", "modules", "component", "services", "tap", "testing"},
}
"""Part of chatrix (a folder, or a file at the top) -> the parts it may import."""

NOT_IN_XMPP = {
    "asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "sched", "select",
    "selectors", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "twisted",
}  # fmt: skip
"""What a sans-I/O part cannot want: a reactor, a clock, a file, a thread."""

ONLY_IN = {
    "txpostgres": {"chatrix/store/postgres.py"},
    "OpenSSL": {"chatrix/net/", "chatrix/testing/"},
    "sqlite3": {"chatrix/store/"},
    "twisted.words": {"chatrix/net/"},
}
"""Libraries that stay behind one seam -> the files or folders that may know them."""


def violations(path: str, source: str) -> Iterator[str]:
    """Yield what the import rule has against a file; `path` is relative to the project's root."""
    part, own_module = part_of(path)
    tree = ast.parse(source)
    if part not in MAY_IMPORT:
        yield f"{path}: chatrix/{part} has no row in the table of tests/test_layers.py"
        return
    for line, name in imports_of(tree):
        if name.split(".")[0] == "chatrix":
            imported = [*name.split("."), ""][1]
            # A module that is a package may import its own files, though no other module's.
            itself = part == "modules" and name.startswith(own_module)
            if imported not in MAY_IMPORT[part] and not itself:
                yield f"{path}:{line}: chatrix.{part} must not import {name}"
        if part == "xmpp" and name.split(".")[0] in NOT_IN_XMPP:
            yield f"{path}:{line}: chatrix.xmpp does no I/O, so it must not import {name}"
        for library, places in ONLY_IN.items():
            if f"{name}.".startswith(f"{library}.") and not path.startswith(tuple(places)):
                yield f"{path}:{line}: {library} belongs to {', '.join(sorted(places))}"
    if part == "xmpp":
        yield from (
            f"{path}:{line}: chatrix.xmpp does no I/O, so it must not call {call}" for line, call in io_calls(tree)
        )


def part_of(path: str) -> tuple[str, str]:
    """Return the part a file belongs to and, for a module of the server, the dotted beginning of its own package."""
    parts = Path(path).with_suffix("").parts[1:]
    return parts[0], f"chatrix.modules.{parts[1]}." if len(parts) > 2 else "chatrix.modules. "


def io_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of calls that read a file or a clock without importing anything telling."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today" as name)):
                yield node.lineno, name


class Layers(TestCase):
    """The rule, held against the code that is there and against code that breaks it."""

    def test_code_keeps_to_the_layers(self) -> None:
        """No file under chatrix/ imports what its layer must not know."""
        found = [
            violation
            for path in python_files("chatrix")
            if path.parent != ROOT / "chatrix" or path.name != "__init__.py"
            for violation in violations(str(path.relative_to(ROOT)), path.read_text())
        ]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_code_was_looked_at(self) -> None:
        """The walk finds the source: a rule applied to nothing holds always."""
        self.assertGreater(len(list(python_files("chatrix"))), 10)

    def test_forbidden_imports_are_found(self) -> None:
        """Each way to reach above one's layer is seen, in whatever dress."""
        for path, source in (
            ("chatrix/xmpp/jid.py", "from chatrix.server.router import Router"),
            ("chatrix/xmpp/jid.py", "import chatrix.hooks"),
            ("chatrix/xmpp/sasl/scram.py", "from twisted.internet import defer"),
            ("chatrix/xmpp/acks.py", "import time"),
            ("chatrix/xmpp/acks.py", "with open('x') as file: pass"),
            ("chatrix/xmpp/acks.py", "from datetime import datetime\ndatetime.now()"),
            ("chatrix/hooks.py", "from chatrix import store"),
            ("chatrix/store/roster.py", "def f():\n    from chatrix.server import host"),
            ("chatrix/server/host.py", "if TYPE_CHECKING:\n    import chatrix.net.c2s"),
            ("chatrix/server/host.py", "from chatrix.api import Module"),
            ("chatrix/net/c2s.py", "importlib.import_module('chatrix.tap')"),
            ("chatrix/web/bosh.py", "from chatrix.net import xmlstream"),
            ("chatrix/component/kit.py", "from chatrix import hooks"),
            ("chatrix/services/muc/room.py", "from chatrix.server.router import Router"),
            ("chatrix/modules/ping.py", "from chatrix.hooks import on"),
            ("chatrix/modules/ping.py", "from chatrix.modules.roster import Roster"),
            ("chatrix/modules/pep/nodes.py", "from chatrix.modules.roster import Roster"),
            ("chatrix/admin/ctl.py", "from chatrix import tap"),
            ("chatrix/tap.py", "from chatrix.testing import host"),
            ("chatrix/store/sqlite.py", "import txpostgres"),
            ("chatrix/server/account.py", "import sqlite3"),
            ("chatrix/server/session.py", "from twisted.words.protocols.jabber import jid"),
            ("chatrix/novelty.py", "import os"),
        ):
            self.assertNotEqual(list(violations(path, source)), [], f"{path} may have: {source}")

    def test_permitted_imports_pass(self) -> None:
        """What the rule allows is not reported, or nobody would believe the test."""
        for path, source in (
            ("chatrix/xmpp/stanza.py", "from chatrix.xmpp.jid import JID\nimport secrets"),
            ("chatrix/server/router.py", "from chatrix.hooks import Sending\nfrom chatrix.store import roster"),
            ("chatrix/modules/ping.py", "from chatrix.api import Module, iq\nfrom chatrix.xmpp import namespaces"),
            ("chatrix/modules/pep/nodes.py", "from chatrix.modules.pep.access import Access"),
            ("chatrix/store/postgres.py", "from txpostgres import txpostgres"),
            ("chatrix/tap.py", "from chatrix.process import worker"),
        ):
            self.assertEqual(list(violations(path, source)), [])
