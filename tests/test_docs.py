"""What README and docs/ say of the code is true: links, files and named methods exist, the example module works."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import TestCase

from tests.imports import ROOT, python_files

PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
IN_BACKTICKS = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*(\.(py|md|ini|cfg|toml)|/)")
METHOD = re.compile(r"([A-Z]\w+)\.([a-z_]\w*)")
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
            if not FILE.fullmatch(word)
            for owner, name in METHOD.findall(word)
            if not PLACEHOLDER.match(owner)
            and not re.search(rf"^class {owner}\b(?:(?!^class ).)*?\b{name}\b", source, re.DOTALL | re.MULTILINE)
        ]
        self.assertEqual(missing, [])


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
