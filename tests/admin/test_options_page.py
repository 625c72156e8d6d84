"""docs/options.md is what the code says, and says all of it."""

from dataclasses import dataclass

from twisted.trial.unittest import TestCase

from chatrix.admin.options_page import options_page, own_modules
from chatrix.config.options import option
from chatrix.config.values import Size
from tests.imports import ROOT


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Options of a sample."""

    bytes_kept: Size = option(Size(1024), doc="How much | is kept.", minimum=1, maximum=2048, restart=False)
    name: str = option(doc="A name.")


class OptionsPage(TestCase):
    """The page and its making."""

    def test_up_to_date(self) -> None:
        """The page in docs/ is the one that `make docs` would write now."""
        self.assertEqual((ROOT / "docs/options.md").read_text(), options_page(own_modules()), "run: make docs")

    def test_rows(self) -> None:
        """Name, kind, default, bounds, and whether it takes a restart; a bar does not break the table."""
        page = options_page([("sample", "What it does.", SampleOptions)])
        self.assertIn("## [module sample]\n\nWhat it does.\n", page)
        self.assertIn("| `bytes kept` | size (256 KiB) | `1 KiB` | How much \\| is kept. From 1 B to 2 KiB. |\n", page)
        self.assertIn("| `name` * | text | must be set | A name. |\n", page)
