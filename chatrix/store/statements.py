"""Statements: written with SQLAlchemy Core, kept as text, so that a running server does not hold SQLAlchemy.

SQLAlchemy costs 0.2 s of start-up and 16 MiB, and is only needed to turn an expression into text. So the text of every
statement in `accounts.py` is kept beside it in `accounts.sql.json`, made by `python -m chatrix.store.compile`, with a
digest of `accounts.py`. While the digest holds, the text is taken from there; when it does not, or for a third party's
store that has no such file, the statements are compiled at import: slower, and just as right.

    SERVER = Schema()

    @SERVER.table
    def accounts(metadata: sa.MetaData) -> sa.Table:
        return sa.Table("accounts", metadata, sa.Column("account", key(), primary_key=True))

    @statement
    def exists() -> sa.Select[Any]:
        return sa.select(sa.true()).where(accounts().c.account == sa.bindparam("account"))

    await database.fetch_one(exists, account="juliet@example.com")

A file that does so starts with `from __future__ import annotations`: an annotation would import SQLAlchemy, too.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["SERVER", "Dialect", "Schema", "Statement", "digest", "key", "sa", "statement"]


class _Late:
    """A module that is imported when it is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


if TYPE_CHECKING:
    import sqlalchemy as sa

    from chatrix.store.compile import Dialect
else:
    sa = _Late("sqlalchemy")
    Dialect = Any


class Schema:
    """The tables of one program: the server's, or a service's own."""

    def __init__(self) -> None:
        self._tables: list[Callable[[], sa.Table]] = []
        self._metadata: sa.MetaData | None = None

    def table(self, build: Callable[[sa.MetaData], sa.Table]) -> Callable[[], sa.Table]:
        """Decorate what declares a table; the name then stands for the function that returns it."""
        declared: list[sa.Table] = []

        def declare() -> sa.Table:
            if not declared:
                if self._metadata is None:
                    self._metadata = sa.MetaData()
                declared.append(build(self._metadata))
            return declared[0]

        self._tables.append(declare)
        return declare

    def metadata(self) -> sa.MetaData:
        """All tables that the imported stores declare."""
        for declare in self._tables:
            declare()
        assert self._metadata is not None
        return self._metadata


SERVER = Schema()


def key() -> Any:
    """The type of text that is looked up and sorted: by code point, on both engines.

    PostgreSQL's other orders change with the C library, and leave indexes behind that no longer find what is in them.
    """
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


class Statement:
    """One statement as text for both engines."""

    __slots__ = (
        "_constants",
        "_names",
        "_order",
        "arrays",
        "booleans",
        "build",
        "name",
        "postgresql",
        "reads",
        "returns",
        "sqlite",
    )

    def __init__(self, name: str, build: Callable[..., Any], compiled: Mapping[str, Any]) -> None:
        self.build = build
        """What makes the expression, for those who compile it again."""
        self.name = name
        """Module and function, for error messages."""
        self.sqlite: str = compiled["sqlite"]
        """With a `?` for each parameter."""
        self.postgresql: str = compiled["postgresql"]
        """With a `%(name)s` for each parameter."""
        self.reads: bool = compiled["reads"]
        """A SELECT, which SQLite's reading connection may execute."""
        self.returns: bool = compiled["returns"]
        """Rows come back: a SELECT, or something with RETURNING."""
        self.arrays: bool = compiled["arrays"]
        """For PostgreSQL, `execute_many` hands over one array per parameter, all rows in one go."""
        self.booleans: tuple[int, ...] = tuple(compiled["booleans"])
        """The result's columns that SQLite returns as 0 and 1."""
        self._order: tuple[str, ...] = tuple(compiled["order"])
        self._constants: dict[str, Any] = dict(compiled["constants"])
        self._names = frozenset(compiled["names"])

    def __repr__(self) -> str:
        return f"<Statement {self.name}>"

    def named(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters for PostgreSQL.

        Raises: TypeError for a missing or an unknown name.
        """
        if values.keys() != self._names:
            raise TypeError(f"{self.name} takes {sorted(self._names)}, not {sorted(values)}")
        return {**self._constants, **values} if self._constants else values

    def ordered(self, values: Mapping[str, Any]) -> list[Any]:
        """The parameters for SQLite.

        Raises: TypeError for a missing or an unknown name; ValueError for text that PostgreSQL could not store.
        """
        values = self.named(values)
        for value in values.values():
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"{self.name}: text must not contain NUL")
        return [values[name] for name in self._order]

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The rows turned into one array per parameter, for a statement with `arrays`."""
        values: dict[str, Any] = {name: [row[name] for row in rows] for name in self._names}
        return self._constants | values


def statement(build: Callable[..., Any]) -> Statement:
    """Decorate the function that builds a statement; the name then stands for its compiled text.

    A function with a parameter is called for each engine, with a `Dialect`: for INSERT ... ON CONFLICT, or when the two
    must differ. For PostgreSQL it may return several statements, which travel together and are one transaction; the
    result is that of the last.
    """
    module = sys.modules[build.__module__]
    name = f"{build.__module__}.{build.__name__}"
    stored = _stored(str(module.__file__)).get(build.__name__)
    if stored is None:
        from chatrix.store.compile import compiled

        stored = compiled(name, build)
    return Statement(name, build, stored)


def digest(path: str) -> str:
    """What tells that the text beside a store is that of this store."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


@lru_cache(maxsize=256)
def _stored(path: str) -> Mapping[str, Any]:
    """The text kept beside the module at `path`, empty when there is none or it is that of another version."""
    try:
        with open(path.removesuffix(".py") + ".sql.json", encoding="utf-8") as file:
            kept = json.load(file)
        fresh = kept["source"] == digest(path)
    except FileNotFoundError:
        return {}
    statements: Mapping[str, Any] = kept["statements"]
    return statements if fresh else {}
