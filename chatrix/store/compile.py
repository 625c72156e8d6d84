"""Compiling statements into text: into files by `python -m chatrix.store.compile`, at import where those do not fit."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.sql.compiler import SQLCompiler

from chatrix.store.statements import Statement, digest

CHATRIX = Path(__file__).parent.parent


@dataclass(frozen=True)
class Dialect:
    """What a statement may need to know about the engine that it is built for."""

    name: str
    """'sqlite' or 'postgresql'."""
    insert: Callable[..., Any]
    """The INSERT that knows ON CONFLICT."""

    def insert_rows(self, table: sqlalchemy.Table) -> Any:
        """INSERT of whole rows: one by one on SQLite, all at once from one array per column on PostgreSQL."""
        if self.name == "sqlite":
            return sqlalchemy.insert(table)
        rows = self.rows(*table.columns)
        return sqlalchemy.insert(table).from_select([column.name for column in table.columns], sqlalchemy.select(rows))

    def rows(self, *columns: sqlalchemy.Column[Any]) -> sqlalchemy.TableValuedAlias:
        """PostgreSQL: the rows given as one array per column, to select from."""
        arrays = (sqlalchemy.bindparam(column.name, type_=postgresql.ARRAY(_plain(column.type))) for column in columns)
        names = [sqlalchemy.column(column.name, _plain(column.type)) for column in columns]
        return sqlalchemy.func.unnest(*arrays).table_valued(*names).render_derived("rows")


def _plain(kind: Any) -> Any:
    """Text without its collation: an array has none."""
    return sqlalchemy.Text() if isinstance(kind, sqlalchemy.Text) else kind


DIALECTS = {
    "sqlite": (Dialect("sqlite", sqlite.insert), sqlite.dialect(paramstyle="qmark")),
    "postgresql": (Dialect("postgresql", postgresql.insert), psycopg2.dialect()),  # type: ignore[no-untyped-call]
}


def compiled(name: str, build: Callable[..., Any]) -> dict[str, Any]:
    """The text of the statement, and all else that the engines must know about it.

    Raises: TypeError when the two engines' parameters differ.
    """
    result: dict[str, Any] = {}
    names: dict[str, set[str]] = {}
    for dialect, (ours, theirs) in DIALECTS.items():
        expressions = build(ours) if build.__code__.co_argcount else build()
        if not isinstance(expressions, tuple):
            expressions = (expressions,)
        parts = [expression.compile(dialect=theirs) for expression in expressions]
        result[dialect] = ";\n".join(str(part) for part in parts)
        if len(parts) > 1 and any(not bind.required for part in parts[:-1] for bind in part.bind_names):
            raise TypeError(f"{name}: constants of several statements at once must be literals")
        binds = {name: bind for part in parts for bind, name in part.bind_names.items()}
        given = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        names[dialect] = binds.keys() - given.keys()
        if dialect == "sqlite":
            result |= _details(parts[-1], expressions[-1], given)
        else:
            result["constants"] |= given
            result["arrays"] = "unnest(" in result[dialect]
    if names["sqlite"] != names["postgresql"]:
        raise TypeError(f"{name}: the engines' parameters differ: {names}")
    result["names"] = sorted(names["sqlite"])
    return result


def _details(part: Any, expression: Any, constants: Mapping[str, Any]) -> dict[str, Any]:
    assert isinstance(part, SQLCompiler)
    reads = isinstance(expression, sqlalchemy.SelectBase)
    columns = expression.selected_columns if reads else expression.exported_columns
    return {
        "order": list(part.positiontup or ()),
        "constants": dict(constants),
        "reads": reads,
        "returns": bool(columns),
        "booleans": [i for i, column in enumerate(columns) if isinstance(column.type, sqlalchemy.Boolean)],
    }


def text_beside(path: Path) -> str:
    """What belongs into the file beside the store at `path`, compiled anew."""
    module = import_module(".".join(path.relative_to(CHATRIX.parent).with_suffix("").parts))
    statements = {
        key: compiled(value.name, value.build)
        for key, value in sorted(vars(module).items())
        if isinstance(value, Statement) and value.build.__module__ == module.__name__
    }
    return json.dumps({"source": digest(str(path)), "statements": statements}, indent=1) + "\n"


def stores() -> list[Path]:
    """Every file of chatrix that declares a statement."""
    decorated = re.compile(r"^@statement$", re.MULTILINE)
    return [path for path in sorted(CHATRIX.rglob("*.py")) if decorated.search(path.read_text("utf-8"))]


def main() -> None:
    """Keep the text of every statement of chatrix."""
    for path in stores():
        path.with_suffix(".sql.json").write_text(text_beside(path), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
