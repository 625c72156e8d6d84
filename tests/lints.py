"""Rules about the source that no ready-made linter knows: each a function from a file's tree to (line, complaint).

tests/test_lint.py applies them to all of chatrix, and to samples they must catch.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tests.imports import imports_of

Complaints = Iterator[tuple[int, str]]

SECRET_WORDS = {"secret", "token", "digest", "hexdigest", "proof", "handshake", "password", "signature", "mac", "hmac"}
KEY_NAMES = re.compile(r"(stored|server|client|private|salted|session|auth)_key$")
MUTATORS = {"setdefault", "update", "add", "append", "appendleft", "extend", "insert"}
EXECUTORS = {"execute", "executemany", "executescript", "exec_driver_sql", "runQuery", "runOperation", "text"}
SQL = re.compile(
    r"\s*(SELECT\s.*\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|PRAGMA|"
    r"(CREATE|ALTER|DROP)\s+(TABLE|INDEX|SCHEMA|DATABASE))\b",
    re.DOTALL,
)


def secrets_by_equality(tree: ast.AST) -> Complaints:
    """`==` takes longer the more of a secret was guessed; hmac.compare_digest does not."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            continue
        sides = [node.left, *node.comparators]
        # Whether something is empty, or there at all, tells nothing about its content.
        if any(isinstance(side, ast.Constant) and not side.value for side in sides):
            continue
        for side in sides:
            if names_a_secret(side):
                yield node.lineno, f"compare {ast.unparse(side)} with hmac.compare_digest"


def names_a_secret(node: ast.expr) -> bool:
    """Whether an expression's own name says that its value is secret."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            pass
        case ast.Call(func=ast.Attribute(attr="digest" | "hexdigest")):
            # Only what makes one: `len(password)` and `is_token(text)` are no secrets.
            return True
        case _:
            return False
    # A constant's NAME_IN_CAPITALS is known to everybody who reads the source.
    if name.isupper():
        return False
    return name.lower().split("_")[-1] in SECRET_WORDS or KEY_NAMES.search(name) is not None


def guessable_random(tree: ast.AST) -> Complaints:
    """Whoever has seen enough numbers from `random` knows the next one; `secrets` makes ours."""
    for line, name in imports_of(tree):
        if f"{name}.".startswith(("random.", "numpy.random.")) or name in {"uuid.uuid1", "uuid.getnode"}:
            yield line, f"{name} can be guessed; use secrets"
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="uuid"), attr="uuid1")):
                yield node.lineno, "uuid1 can be guessed; use secrets"


def code_from_data(tree: ast.AST) -> Complaints:
    """Data that can become code: pickle and its kin, eval, exec."""
    for line, name in imports_of(tree):
        if name.split(".")[0] in {"pickle", "cPickle", "marshal", "shelve", "dill", "jsonpickle"}:
            yield line, f"{name} runs what is in the data"
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" as name)):
                yield node.lineno, f"{name} runs what is in the data"


def sql_from_pieces(tree: ast.AST) -> Complaints:
    """A statement is written whole, its values go in as parameters: no f-string, %, + or format()."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called_name(node) in EXECUTORS and node.args and is_glued(node.args[0]):
            yield node.lineno, f"{called_name(node)}() gets SQL made of pieces"
        elif isinstance(node, ast.expr) and is_glued(node) and SQL.match(first_text(node)):
            yield node.lineno, "SQL made of pieces"


def called_name(node: ast.Call) -> str:
    """Return the last name of what is called."""
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def is_glued(node: ast.expr) -> bool:
    """Whether an expression makes a text out of a constant and something else."""
    match node:
        case ast.JoinedStr(values=values):
            return any(isinstance(value, ast.FormattedValue) and not is_number(value) for value in values)
        case ast.BinOp(op=ast.Mod() | ast.Add()):
            return first_text(node) != "" or any(is_glued(side) for side in (node.left, node.right))
        case ast.Call(func=ast.Attribute(attr="format" | "format_map", value=value)):
            return first_text(value) != ""
    return False


def is_number(value: ast.FormattedValue) -> bool:
    """Whether a place in an f-string can only hold a whole number: `{pages:d}`, where SQLite takes no parameters."""
    return value.format_spec is not None and ast.unparse(value.format_spec).strip("f'\"") == "d"


def first_text(node: ast.AST) -> str:
    """Return the first constant text in an expression, '' without one."""
    found = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))
    return next(found, "")


def unbounded_caches(tree: ast.AST) -> Complaints:
    """What grows with every name a stranger invents: caches without a bound, and filled module-level collections."""
    for line, name in imports_of(tree):
        if name == "functools.cache":
            yield line, "functools.cache has no bound"
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="functools"), attr="cache"):
                yield node.lineno, "functools.cache has no bound"
            case ast.Call(args=args, keywords=keywords) if called_name(node) == "lru_cache":
                sizes = [*args[:1], *(keyword.value for keyword in keywords if keyword.arg == "maxsize")]
                if any(isinstance(size, ast.Constant) and size.value is None for size in sizes):
                    yield node.lineno, "lru_cache(None) has no bound"
    yield from filled_collections(tree)


def filled_collections(tree: ast.AST) -> Complaints:
    """Collections bound to a name at the top of a file and filled inside a function."""
    collections = {
        target.id
        for statement in getattr(tree, "body", [])
        if isinstance(statement, ast.Assign | ast.AnnAssign) and is_collection(statement.value)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for node in ast.walk(function):
            match node:
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store()) if name in collections:
                    yield node.lineno, f"{name} grows for ever"
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if name in collections:
                    if attr in MUTATORS:
                        yield node.lineno, f"{name} grows for ever"


def is_collection(value: ast.expr | None) -> bool:
    """Whether an expression makes something that can grow; what has `maxlen` cannot."""
    match value:
        case ast.Dict() | ast.List() | ast.Set() | ast.DictComp() | ast.ListComp() | ast.SetComp():
            return True
        case ast.Call(keywords=keywords):
            growing = {"dict", "list", "set", "defaultdict", "OrderedDict", "Counter", "deque"}
            return called_name(value) in growing and not any(keyword.arg == "maxlen" for keyword in keywords)
    return False


def meaningless_names(tree: ast.AST) -> Complaints:
    """A class is named for what it does: router, directory, leash."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and re.search(r"(Handler|Manager|Processor|Helper|Utils?)\d*$", node.name):
            yield node.lineno, f"{node.name} does not say what it does"


def first_line(source: str) -> Complaints:
    """Line 1 of every file says what the file is for; only an `__init__.py` is empty."""
    if not source.startswith('"""') or len(source.splitlines()[0].strip('"')) < 10:
        yield 1, "line 1 is not a docstring that says what the file is for"


def loose_ends(source: str) -> Complaints:
    """What is left to do names the issue that will do it."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_open = token.type == tokenize.COMMENT and re.search(r"\b(TODO|FIXME|XXX)\b", token.string)
        if is_open and not re.search(r"https?://", token.string):
            yield token.start[0], "something left to do, without the address of its issue"


TREE_LINTS = (
    secrets_by_equality, guessable_random, code_from_data, sql_from_pieces, unbounded_caches, meaningless_names,
)  # fmt: skip
TEXT_LINTS = (first_line, loose_ends)
