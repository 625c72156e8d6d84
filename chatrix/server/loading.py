"""Modules from the words of `modules =`: import, options, hooks, and the errors that must stop the server.

A word `ping` is `chatrix/modules/ping.py`; a dotted name is an import path, of a module with one `Module` class in
it, or of the class itself (`acme.weather` or `acme.weather:Weather`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from chatrix.config.load import Config
from chatrix.config.problems import ConfigError, Problem
from chatrix.hooks import CommandMark, EventMark, marks_of
from chatrix.server.commands import DuplicateCommand
from chatrix.server.events import Writing
from chatrix.server.iq import DuplicateAnswer
from chatrix.server.server import Server

PACKAGE = "chatrix.modules"


def module_words() -> list[str]:
    """The words of the modules that come with chatrix."""
    package = importlib.import_module(PACKAGE)
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))


def module_class(word: str) -> type[Any]:
    """The class behind a word.

    Raises:
        LookupError: there is no such module, or no one class in it.
        ImportError: it is there and cannot be imported.
    """
    path, _, name = word.partition(":")
    if "." not in path:
        if path not in module_words():
            raise LookupError(f"there is no module {word!r}")
        path = f"{PACKAGE}.{path}"
    try:
        python_module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (path == error.name or path.startswith(error.name + ".")):
            raise LookupError(f"there is no module {word!r}") from error
        raise
    if name:
        found = getattr(python_module, name, None)
        if not isinstance(found, type):
            raise LookupError(f"there is no class {name} in {path}")
        return found
    classes = [
        value
        for value in vars(python_module).values()
        if isinstance(value, type) and value.__module__ == python_module.__name__ and hasattr(value, "stream_features")
    ]
    if len(classes) != 1:
        raise LookupError(f"{path} has {len(classes)} classes of modules; say which one: {path}:Name")
    return classes[0]


def module_options(word: str) -> type[Any] | None:
    """The options dataclass of the module behind a word, or None when it has no options; for `config.load`."""
    options: type[Any] | None = module_class(word).options
    return options


def load_modules(server: Server, config: Config) -> None:
    """Make the modules that the ini names and enter what they answer and act on.

    Raises:
        ConfigError: a missing dependency, two modules for one request, a module that cannot be made, or would wait
            where it cannot.
    """
    problems: list[Problem] = []

    def complain(word: str, message: str) -> None:
        problems.append(config.problem("chatrix", "modules", message, word=word))

    for word in config.chatrix.modules:
        kind = module_class(word)
        missing = [need for need in kind.requires if need not in config.chatrix.modules]
        for need in missing:
            complain(word, f"module {word} needs module {need}")
        if missing:
            continue
        try:
            module = kind(server, config.modules.get(word))
        except Exception as error:
            complain(word, f"module {word} cannot start: {error}")
            continue
        server.modules[word] = module
        for method, mark in marks_of(module):
            if isinstance(mark, EventMark):
                if mark.event is Writing and inspect.iscoroutinefunction(method):
                    complain(word, f"{word}.{method.__name__} cannot wait: what is written is written at once")
                server.hooks.add(word, method, mark)
                continue
            try:
                if isinstance(mark, CommandMark):
                    server.commands.add(word, method, mark)
                else:
                    server.router.iq_table.add(word, method, mark)
            except (DuplicateAnswer, DuplicateCommand) as error:
                complain(word, str(error))
    if problems:
        raise ConfigError(problems)
    server.hooks.settle()
    server.router.use(server.hooks)
