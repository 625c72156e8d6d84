"""What README and docs/ say of the code is true: what they link to and name exists, the example module works."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import TestCase

from chatrix.xmpp.errors import SASL_CONDITIONS, STANZA_CONDITIONS, STREAM_CONDITIONS
from tests.imports import ROOT, python_files

PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
IN_BACKTICKS = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*(\.(py|md|ini|cfg|toml)|/)")
METHOD = re.compile(r"([A-Z]\w+)\.([a-z_]\w*)")
TEST = re.compile(r"(tests(?:\.[a-z_]\w*)+)\.([A-Z]\w*)\.(test_\w+)")
TRANSCRIPT = re.compile(r"[\w.-]+\.transcript")
CONDITION = re.compile(r"^\| `([a-z-]+)`.*$", re.MULTILINE)
PLACEHOLDER = re.compile(r"[A-Z]{4}")


def pages() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every page."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text()


class Pages(TestCase):
    """The words of the documentation against the files of the project."""

    def test_links_lead_somewhere(self) -> None:
        """Every relative link is a file."""
        broken = [
            f"{page}: {link}"
            for page, text in pages()
            for link in LINK.findall(text)
            if not ((ROOT / page).parent / link).exists()
        ]
        self.assertEqual(broken, [])

    def test_files_exist(self) -> None:
        """Every file or folder named in backticks exists, from the project's root or from chatrix/."""
        missing = [
            f"{page}: {word}"
            for page, text in pages()
            for word in IN_BACKTICKS.findall(CODE_BLOCK.sub("", text))
            if FILE.fullmatch(word)
            and not PLACEHOLDER.search(Path(word).stem)
            and not any((base / word).exists() for base in (ROOT, ROOT / "chatrix", (ROOT / page).parent))
        ]
        self.assertEqual(missing, [])

    def test_inis_are_right(self) -> None:
        """Every whole ini on a page is one that the server takes."""
        from chatrix.config.load import load_bytes
        from chatrix.server.loading import module_options, module_words

        whole = [
            (page, code)
            for page, text in pages()
            for language, code in CODE_BLOCK.findall(text)
            if language == "ini" and "[host " in code
        ]
        self.assertNotEqual(whole, [])
        for page, code in whole:
            config = load_bytes(code.encode(), ROOT / page, module_options, module_words)
            self.assertEqual(list(config.hosts), ["example.com"])

    def test_methods_exist(self) -> None:
        """Every `Class.method` in backticks is a method of a class of that name."""
        source = "\n".join(path.read_text() for path in python_files("chatrix"))
        missing = [
            f"{page}: {owner}.{name}"
            for page, text in pages()
            for word in IN_BACKTICKS.findall(CODE_BLOCK.sub("", text))
            if not FILE.fullmatch(word) and not TEST.fullmatch(word)
            for owner, name in METHOD.findall(word)
            if not PLACEHOLDER.match(owner)
            and not re.search(rf"^class {owner}\b(?:(?!^class ).)*?\b{name}\b", source, re.DOTALL | re.MULTILINE)
        ]
        self.assertEqual(missing, [])

    def test_tests_exist(self) -> None:
        """Every test and every transcript in backticks is there, with a whole name."""
        missing = [
            f"{page}: {word}"
            for page, text in pages()
            for word in IN_BACKTICKS.findall(CODE_BLOCK.sub("", text))
            if (word.startswith("tests.") or TRANSCRIPT.fullmatch(word)) and not is_there(word)
        ]
        self.assertEqual(missing, [])


def is_there(word: str) -> bool:
    """Whether this is the name of a transcript or of a test."""
    if TRANSCRIPT.fullmatch(word):
        return (ROOT / "tests" / "transcripts" / word).exists()
    match = TEST.fullmatch(word)
    if match is None:
        return False
    module, case, test = match.groups()
    try:
        return callable(getattr(getattr(import_module(module), case), test))
    except (ImportError, AttributeError):
        return False


def conditions_in_code(error: str) -> set[str]:
    """The words in the calls that make such an error, wherever the server does."""
    calls = (
        call
        for path in python_files("chatrix")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == error
    )
    constants = (node.value for call in calls for node in ast.walk(call) if isinstance(node, ast.Constant))
    return {word for word in constants if isinstance(word, str)}


class Conditions(TestCase):
    """The lists of errors in docs/conformance.md against the RFC's and the code."""

    def check(self, title: str, error: str, known: frozenset[str]) -> None:
        text = (ROOT / "docs" / "conformance.md").read_text()
        (section,) = (part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(f"{title}\n"))
        rows = [
            (match[1], bool(TEST.search(match[0]) or TRANSCRIPT.search(match[0])))
            for match in CONDITION.finditer(section)
        ]
        self.assertEqual(sorted(known), sorted(condition for condition, _ in rows))
        self.assertEqual(conditions_in_code(error) & known, {condition for condition, shown in rows if shown})

    def test_streams(self) -> None:
        """Every stream error is listed; with a test if the server sends it, without one if not."""
        self.check("Stream errors", "StreamError", STREAM_CONDITIONS)

    def test_stanzas(self) -> None:
        """The same for stanza errors."""
        self.check("Stanza errors", "StanzaError", frozenset(STANZA_CONDITIONS))

    def test_sasl(self) -> None:
        """The same for SASL failures."""
        self.check("SASL failures", "SASLError", SASL_CONDITIONS)


class ExampleModule(TestCase):
    """The module of docs/writing-a-module.md, taken from the page."""

    def setUp(self) -> None:
        text = (ROOT / "docs" / "writing-a-module.md").read_text()
        (source,) = (code for language, code in CODE_BLOCK.findall(text) if language == "python")
        self.folder = Path(self.mktemp())
        (self.folder / "acme").mkdir(parents=True)
        (self.folder / "acme" / "office_hours.py").write_text(source)
        self.patch(sys, "path", [str(self.folder.absolute()), *sys.path])
        self.addCleanup(lambda: [sys.modules.pop(name, None) for name in ("acme", "acme.office_hours")])

    def test_loads_by_its_import_path(self) -> None:
        """The server finds the class, its options and what it wants to be called for."""
        from chatrix.hooks import marks_of
        from chatrix.server.loading import module_class, module_options

        kind = module_class("acme.office_hours")
        options = module_options("acme.office_hours")
        assert options is not None
        module = kind(ModuleType("a server it does not look at yet"), options(opens=9))
        self.assertEqual([method.__name__ for method, _ in marks_of(module)], ["refuse", "tell"])

    def test_refuses_hours_without_sense(self) -> None:
        """What the constructor raises is what stops the start."""
        from chatrix.server.loading import module_class, module_options

        options = module_options("acme.office_hours")
        assert options is not None
        with self.assertRaises(ValueError):
            module_class("acme.office_hours")(ModuleType("server"), options(opens=20, closes=10))
