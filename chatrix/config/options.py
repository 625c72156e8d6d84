"""Options as fields of a frozen dataclass: the one place where name, type, default, unit and doc of an option stand.

    @dataclass(frozen=True, kw_only=True)
    class OfflineOptions:
        messages: int = option(100, doc="Messages kept for an account that is away.", minimum=0)
        keep_for: Duration = option(Duration(28 * DAY), doc="How long they are kept.", restart=False)

In the ini the second one is `keep for = 28 d`. An option without a default must be set.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from chatrix.config.ini import Section
from chatrix.config.problems import BadValue, BadValues, Problem, nearest, quoted
from chatrix.config.values import Kind, kind_of

Options = TypeVar("Options")
_METADATA = "chatrix"
_PASSWORD_IN_ADDRESS = re.compile(r"(?P<before>//[^:@]*:|password=)(?:(?<=:).*(?=@)|(?<==)[^&]*)", re.IGNORECASE)


@dataclass(frozen=True)
class OptionDoc:
    """What `option()` knows beside type and default."""

    doc: str = ""
    minimum: float | None = None
    maximum: float | None = None
    check: Callable[[Any], str] | None = None
    secret: bool = False
    restart: bool = True


def option(
    default: Any = MISSING,
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    check: Callable[[Any], str] | None = None,
    secret: bool = False,
    restart: bool = True,
) -> Any:
    """Declare a field of an options dataclass.

    `check` gets the typed value and says what is wrong with it, or ""; `secret` values are never shown;
    `restart` says that a change takes effect only when the server starts anew.
    """
    about = OptionDoc(doc, minimum, maximum, check, secret, restart)
    return dataclasses.field(default=default, metadata={_METADATA: about})


@dataclass(frozen=True)
class Option:
    """One option of an options dataclass, as the reader and the docs see it."""

    name: str
    """As written in the ini: with spaces where the field has underscores."""
    field: str
    kind: Kind
    default: Any
    """MISSING when the option must be set."""
    about: OptionDoc

    def show(self, value: Any) -> str:
        """The value as an admin would write it, with a secret, or the password in an address, as `(hidden)`."""
        if self.about.secret and value:
            return "(hidden)"
        if isinstance(value, str) and "://" in value:
            return _PASSWORD_IN_ADDRESS.sub(r"\g<before>(hidden)", value)
        return self.kind.show(value)


def options_of(class_: type) -> tuple[Option, ...]:
    """The options a dataclass declares.

    Raises: TypeError when it is no dataclass or has a field of a type that no option can have.
    """
    if not dataclasses.is_dataclass(class_):
        raise TypeError(f"{class_!r} is not a dataclass of options")
    types = get_type_hints(class_)
    found = []
    for field in dataclasses.fields(class_):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        about = field.metadata.get(_METADATA) or OptionDoc()
        found.append(Option(field.name.replace("_", " "), field.name, kind_of(types[field.name]), default, about))
    return tuple(found)


def typed_section(
    class_: type[Options], section: Section, file: str, folder: Path
) -> tuple[Options | None, list[Problem]]:
    """The options of a section as an instance of its dataclass; None when there are problems."""
    known = {option.name: option for option in options_of(class_)}
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for entry in section.entries.values():
        option = known.get(entry.key)
        if option is None:
            message = f"unknown option {quoted(entry.key)} in {section.title}"
            problems.append(Problem(file, entry.line, message, nearest(entry.key, known)))
            continue
        try:
            values[option.field] = _read(option, entry.value, folder)
        except BadValues as errors:
            for error in errors.each:
                message = f"{entry.key} in {section.title}: {error}"
                problems.append(Problem(file, entry.line_of(error.word), message, error.suggestion))
    for option in known.values():
        if option.name in section.entries:
            continue
        if option.default is MISSING:
            problems.append(Problem(file, section.line, f'{section.title} needs the option "{option.name}"'))
        elif isinstance(option.default, Path):
            values[option.field] = Path(os.path.abspath(folder / option.default))
    if problems:
        return None, problems
    try:
        return class_(**values), []
    except ValueError as error:
        # What a dataclass finds in __post_init__ concerns several options at once.
        return None, [Problem(file, section.line, f"{section.title}: {error}")]


def show_options(options: object) -> Mapping[str, str]:
    """Every option of a typed section by its name in the ini, with secrets hidden."""
    return {known.name: known.show(getattr(options, known.field)) for known in options_of(type(options))}


def _read(option: Option, text: str, folder: Path) -> Any:
    value = option.kind.read(text, folder)
    about = option.about
    if isinstance(value, int | float):
        if about.minimum is not None and value < about.minimum:
            raise BadValue(f"{quoted(text)} is too little; at least {option.show(cast(Any, about.minimum))}")
        if about.maximum is not None and value > about.maximum:
            raise BadValue(f"{quoted(text)} is too much; at most {option.show(cast(Any, about.maximum))}")
    if about.check is not None:
        complaint = about.check(value)
        if complaint:
            raise BadValue(complaint)
    return value
