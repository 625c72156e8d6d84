"""Statements as text: kept beside the stores, compiled when they are not, and never SQLAlchemy in a running server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatrix.store import accounts, statements
from chatrix.store.accounts import accounts as table
from chatrix.store.compile import compiled, stores, text_beside
from chatrix.store.statements import Statement, sa, statement

IMPORTS = """
import sys
import chatrix.store.accounts, chatrix.store.roster, chatrix.store.offline, chatrix.store.migrate
import chatrix.store.sqlite, chatrix.store.postgres
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "alembic"}))
"""


@statement
def first_accounts() -> Any:
    return (
        sa.select(table().c.account, table().c.disabled)
        .where(table().c.host == sa.bindparam("host"), table().c.localpart != "admin")
        .limit(sa.bindparam("at_most"))
    )


class StatementTests(SynchronousTestCase):
    def test_kept_text_is_fresh(self) -> None:
        """The text beside every store is what its statements compile to: else run `python -m chatrix.store.compile`."""
        found = stores()
        self.assertIn(Path(accounts.__file__), found)
        for path in found:
            kept = path.with_suffix(".sql.json").read_text("utf-8")
            self.assertEqual(kept, text_beside(path), f"{path.name}: run python -m chatrix.store.compile")

    def test_without_sqlalchemy(self) -> None:
        """A server that only uses its stores imports neither SQLAlchemy nor Alembic."""
        done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "[]\n")

    def test_compiled_at_import(self) -> None:
        """A statement without kept text, as this one, is compiled; constants are parameters as well."""
        self.assertEqual(first_accounts.ordered({"host": "h", "at_most": 3})[:3], ["h", "admin", 3])
        self.assertEqual(first_accounts.named({"host": "h", "at_most": 3})["localpart_1"], "admin")
        self.assertEqual(first_accounts.booleans, (1,))
        self.assertTrue(first_accounts.reads and first_accounts.returns and not first_accounts.arrays)

    def test_changed_store(self) -> None:
        """When a store is not the one whose text was kept, its text is not used."""
        path = Path(self.mktemp()).with_suffix(".py")
        shutil.copyfile(accounts.__file__, path)
        shutil.copyfile(Path(accounts.__file__).with_suffix(".sql.json"), path.with_suffix(".sql.json"))
        self.assertIn("keys_of", statements._stored(str(path)))
        statements._stored.cache_clear()
        path.write_text(path.read_text("utf-8") + "\n# another\n", "utf-8")
        self.assertEqual(statements._stored(str(path)), {})

    def test_no_kept_text(self) -> None:
        """A third party's store needs no text beside it."""
        self.assertEqual(statements._stored(str(Path(self.mktemp()).with_suffix(".py"))), {})

    def test_engines_must_agree(self) -> None:
        """A statement with other parameters for the one engine than for the other is an error at import."""

        def differs(dialect: Any) -> Any:
            return sa.select(sa.bindparam(dialect.name))

        with self.assertRaises(TypeError):
            compiled("differs", differs)

    def test_several_statements_have_no_constants(self) -> None:
        """Constants of several statements for PostgreSQL could meet under one name: that is an error at import."""

        def two(dialect: Any) -> Any:
            one = sa.select(sa.literal(1))
            return one if dialect.name == "sqlite" else (one, sa.select(sa.literal(2)))

        with self.assertRaises(TypeError):
            compiled("two", two)

    def test_percent(self) -> None:
        """A percent sign in a statement is one on both engines."""

        def modulo() -> Any:
            return sa.select(sa.bindparam("a", type_=sa.BigInteger) % sa.bindparam("b", type_=sa.BigInteger))

        both = Statement("modulo", modulo, compiled("modulo", modulo))
        self.assertIn(" % ", both.sqlite)
        self.assertIn(" %% ", both.postgresql)

    def test_kept_text_is_plain(self) -> None:
        """The kept text is JSON that a reviewer can read: one statement per name."""
        kept = json.loads(Path(accounts.__file__).with_suffix(".sql.json").read_text("utf-8"))
        self.assertIn("keys_of", kept["statements"])
