"""Which modules a source file imports, wherever in the file it does so: what the layer test and the lints look at."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def python_files(*folders: str) -> Iterator[Path]:
    """Yield every Python file below these folders of the project."""
    for folder in folders:
        yield from sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) per imported name: at the top, in a function, for type checking only, or by importlib.

    `from a import b` yields `a.b`, as b may be a module; a reader who asks about `a` looks at the beginning.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((node.lineno, f"{module}.{name.name}") for name in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__" | "namedAny" | "namedModule")
                | ast.Attribute(attr="import_module" | "namedAny" | "namedModule"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module
