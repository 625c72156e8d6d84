"""The source keeps the project's rules: our own lints (tests/lints.py), ruff, and mypy in strict mode."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

from twisted.internet import interfaces
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface import implementedBy
from zope.interface.interface import InterfaceClass

from tests import lints
from tests.imports import ROOT, python_files

TWISTED_NAMES = {
    name
    for interface in vars(interfaces).values()
    if isinstance(interface, InterfaceClass)
    for name in interface.names(all=True)
}
"""What Twisted calls on a transport, a protocol, a reactor: a class may have some of it without claiming all of it."""

PERMITTED: dict[tuple[str, str], str] = {
    ("chatrix/admin/ctl.py", "secrets_by_equality"): "what one admin typed twice",
    ("chatrix/server/background.py", "unbounded_caches"): "what runs right now; each takes itself out at its end",
    ("chatrix/xmpp/common_path.py", "unbounded_caches"): "as many entries as there are orders of six names",
    ("chatrix/xmpp/jid.py", "unbounded_caches"): "two generations, each dropped whole when it has _CACHE_ENTRIES",
    ("chatrix/xmpp/slice_parser.py", "unbounded_caches"): "one parser for each of the roots in _POOLED",
    ("chatrix/xmpp/tags.py", "unbounded_caches"): "forgotten as a whole when it has _KNOWN_TAGS entries",
    ("chatrix/xmpp/stream_header.py", "unbounded_caches"): "by our own content namespaces, three",
}
"""(file, lint) -> why this file may. Empty is best."""

CAUGHT: dict[Callable[..., lints.Complaints], tuple[str, ...]] = {
    lints.secrets_by_equality: (
        "if password == given: pass",
        "if expected != self.token: pass",
        "return sha1(secret).hexdigest() == handshake",
        "return row['stored_key'] != key",
        "return proof == b'known'",
    ),
    lints.guessable_random: (
        "import random",
        "from random import choice",
        "def f():\n    import random as r",
        "uuid.uuid1()",
    ),
    lints.code_from_data: ("import pickle", "from marshal import loads", "eval(text)", "exec(text)"),
    lints.sql_from_pieces: (
        "cursor.execute(f'SELECT a FROM b WHERE c = {d}')",
        "cursor.execute('SELECT a FROM b WHERE c = %s' % d)",
        "cursor.execute('SELECT a FROM b WHERE c = ' + d)",
        "cursor.execute('SELECT a FROM b WHERE c = {}'.format(d))",
        "text('a = ' + b)",
        "statement = f'DELETE FROM {table}'",
        "statement = 'INSERT INTO t VALUES (' + values + ')'",
    ),
    lints.unbounded_caches: (
        "from functools import cache",
        "@functools.cache\ndef f(): ...",
        "@lru_cache(None)\ndef f(): ...",
        "@functools.lru_cache(maxsize=None)\ndef f(): ...",
        "known = {}\ndef f(name):\n    known[name] = 1",
        "KNOWN: set[str] = set()\ndef f(name):\n    KNOWN.add(name)",
        "_known = defaultdict(list)\nasync def f(name):\n    _known.setdefault(name, [])",
    ),
    lints.meaningless_names: ("class StanzaHandler: ...", "class SessionManager: ..."),
    lints.first_line: ("import os\n", '"""x"""\n', "", "# a comment\n"),
    lints.loose_ends: ("# TODO: later\n", "x = 1  # FIXME\n"),
}
"""What each lint must catch."""

PASSED: dict[Callable[..., lints.Complaints], tuple[str, ...]] = {
    lints.secrets_by_equality: (
        "hmac.compare_digest(password, given)",
        "if password == '': pass",
        "if len(password) == 3: pass",
        "if key == 'type': pass",
        "if mechanism == EXPECTED_TOKEN: pass",
    ),
    lints.guessable_random: ("import secrets", "from secrets import token_bytes", "uuid.uuid4()"),
    lints.code_from_data: ("import json", "re.compile(text)", "literal_eval(text)"),
    lints.sql_from_pieces: (
        "cursor.execute('SELECT a FROM b WHERE c = ?', (d,))",
        "cursor.execute(STATEMENT, [d + 1])",
        "cursor.execute(f'PRAGMA max_page_count={pages:d}')",
        "log.info(f'select {a} from the list')",
    ),
    lints.unbounded_caches: (
        "@lru_cache(maxsize=1000)\ndef f(): ...",
        "TABLE = {1: 2}\ndef f(name):\n    return TABLE[name]",
        "recent = deque(maxlen=10)\ndef f(x):\n    recent.append(x)",
    ),
    lints.meaningless_names: ("class Router: ...",),
    lints.first_line: ('"""XEP-0199: XMPP Ping."""\n',),
    lints.loose_ends: ("# TODO https://example.org/issues/3: later\n", "todo = 1\n"),
}
"""What each lint must let pass."""


def complaints(lint: Callable[..., lints.Complaints], source: str) -> list[tuple[int, str]]:
    """Apply a lint to a source text."""
    return list(lint(source if lint in lints.TEXT_LINTS else ast.parse(source)))


class OwnLints(TestCase):
    """The lints of tests/lints.py."""

    def test_bad_samples_are_caught(self) -> None:
        """A lint that catches nothing protects nothing: each has samples."""
        self.assertEqual(set(CAUGHT), {*lints.TREE_LINTS, *lints.TEXT_LINTS})
        for lint, sources in CAUGHT.items():
            for source in sources:
                self.assertNotEqual(complaints(lint, source), [], f"{lint.__name__} lets pass: {source}")

    def test_good_samples_pass(self) -> None:
        """A lint that cries wolf is soon switched off."""
        self.assertEqual(set(PASSED), set(CAUGHT))
        for lint, sources in PASSED.items():
            for source in sources:
                self.assertEqual(complaints(lint, source), [], f"{lint.__name__} complains about: {source}")

    def test_server(self) -> None:
        """Every rule holds for everything that is installed."""
        self.check(["chatrix", "twisted"], [*lints.TREE_LINTS, *lints.TEXT_LINTS])

    def test_what_stands_beside_it(self) -> None:
        """Tests, benchmark and tools say what each file is for, and end no sentence with a TODO."""
        self.check(["tests", "bench", "tools"], lints.TEXT_LINTS)

    def test_exceptions_are_needed(self) -> None:
        """What is permitted is still there; an exception that outlives its reason hides the next mistake."""
        by_name = {lint.__name__: lint for lint in CAUGHT}
        for path, name in PERMITTED:
            self.assertNotEqual(complaints(by_name[name], (ROOT / path).read_text()), [], path)

    def check(self, folders: list[str], applied: Sequence[Callable[..., lints.Complaints]]) -> None:
        """Fail with one line per complaint."""
        found = []
        for path in python_files(*folders):
            name, source = str(path.relative_to(ROOT)), path.read_text()
            if path.name == "__init__.py":
                if source:
                    found.append(f"{name}: an __init__.py is empty")
                continue
            for lint in applied:
                if (name, lint.__name__) not in PERMITTED:
                    found += [f"{name}:{line}: {what} ({lint.__name__})" for line, what in complaints(lint, source)]
        self.assertEqual(found, [], "\n" + "\n".join(found))


class CamelCase(TestCase):
    """snake_case is what we define; a camel hump says "Twisted (or zope, or the standard library) calls this"."""

    def test_humps_are_inherited(self) -> None:
        """Every camelCase method is one that a base class or an interface, in the end Twisted's, has."""
        found = [
            f"{cls.__module__}.{cls.__qualname__}.{name}"
            for module in modules()
            for cls in vars(module).values()
            if inspect.isclass(cls) and cls.__module__ == module.__name__
            for name in own_humps(cls)
        ]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_invented_hump_is_found(self) -> None:
        """A camelCase name that no base knows is reported, an inherited one is not."""
        from twisted.internet.protocol import Protocol

        class Invented(Protocol):
            def connectionMade(self) -> None: ...

            def stanzaReceived(self) -> None: ...

        self.assertEqual(list(own_humps(Invented)), ["stanzaReceived"])


def modules() -> Iterator[ModuleType]:
    """Import and yield every module of chatrix."""
    for path in python_files("chatrix"):
        if path.name != "__init__.py" and "migrations" not in path.parts:
            yield importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def own_humps(cls: type) -> Iterator[str]:
    """Yield the camelCase methods of a class that no foreign base class or interface declares."""
    known = {name for base in cls.__mro__[1:] for name in vars(base)} | TWISTED_NAMES
    known |= {name for interface in implementedBy(cls) for name in interface.names(all=True)}
    for name, value in vars(cls).items():
        is_hump = re.fullmatch(r"_*[a-z]+[a-z0-9]*([A-Z][a-z0-9]*)+", name) and not name.startswith("visit_")
        if is_hump and inspect.isfunction(value) and name not in known:
            yield name


class Tools(TestCase):
    """The field's own linters, with the settings of pyproject.toml and setup.cfg."""

    def test_ruff_check(self) -> None:
        """Ruff has no complaint."""
        self.run_tool("ruff", "check", "--no-cache", ".")

    def test_ruff_format(self) -> None:
        """Formatting is what `ruff format` makes of it."""
        self.run_tool("ruff", "format", "--no-cache", "--check", ".")

    def test_mypy(self) -> None:
        """Types hold, in strict mode."""
        self.run_tool("mypy")

    def run_tool(self, name: str, *arguments: str) -> None:
        """Fail with the tool's own words."""
        program = Path(sys.executable).parent / name
        if not program.exists():
            raise SkipTest(f"{name} is not installed: pip install -e .[test]")
        done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"\n{done.stdout}{done.stderr}")
