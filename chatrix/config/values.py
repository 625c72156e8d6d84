"""The kinds of value an option can have: how each is read from the ini, shown again and named in the docs."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NewType, Union, get_args, get_origin

from twisted.internet.endpoints import serverFromString

from chatrix.config.problems import BadValue, BadValues, nearest, quoted
from chatrix.xmpp.jid import JID, InvalidJID

Size = NewType("Size", int)
"""Bytes."""
Rate = NewType("Rate", int)
"""Bytes a second."""
Duration = NewType("Duration", float)
"""Seconds."""
Endpoint = NewType("Endpoint", str)
"""The description of a Twisted server endpoint, such as `tcp:5222`."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
SECOND = 1
MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_SIZES = {"GiB": GIB, "MiB": MIB, "KiB": KIB, "GB": 10**9, "MB": 10**6, "kB": 1000, "B": 1}
_TIMES: dict[str, float] = {"d": DAY, "h": HOUR, "min": MINUTE, "s": SECOND, "ms": 0.001}
# Bounded digits: int() of thousands of digits is refused by Python with an error of its own.
_MEASURE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)[ \t]*([A-Za-z]*)")
_WHOLE = re.compile(r"-?[0-9]{1,15}")


@dataclass(frozen=True)
class Kind:
    """How values of one type are read and shown."""

    what: str
    """What the docs say is expected, such as `size (256 KiB)`."""
    read: Callable[[str, Path], Any]
    """From the text and the folder relative names start from; raises BadValue."""
    show: Callable[[Any], str] = str
    """The text an admin would write for the value."""


def kind_of(type_: Any) -> Kind:
    """The kind for a type annotation.

    Raises: TypeError when options cannot have this type (a mistake of the module's author, not of the admin).
    """
    if type_ in _KINDS:
        return _KINDS[type_]
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Literal and all(isinstance(choice, str) for choice in arguments):
        return _choice(arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _several(kind_of(arguments[0]))
    if origin in (Union, UnionType) and len(arguments) == 2 and NoneType in arguments:
        return _optional(kind_of(next(argument for argument in arguments if argument is not NoneType)))
    raise TypeError(f"no option can be of type {type_!r}")


def _read_text(text: str, folder: Path) -> str:
    if not text:
        raise BadValue("needs a value")
    return text


def _read_whole(text: str, folder: Path) -> int:
    if not _WHOLE.fullmatch(text):
        raise BadValue(f"{quoted(text)} is not a whole number")
    return int(text)


def _read_yes_no(text: str, folder: Path) -> bool:
    if text.lower() not in ("yes", "no"):
        meant = {"true": "yes", "on": "yes", "1": "yes", "false": "no", "off": "no", "0": "no"}.get(text.lower(), "")
        raise BadValue(f"{quoted(text)} is neither yes nor no", meant)
    return text.lower() == "yes"


def _read_path(text: str, folder: Path) -> Path:
    _read_text(text, folder)
    return Path(os.path.abspath(folder / text))


def _measure(text: str, units: Mapping[str, float], example: str) -> float:
    match = _MEASURE.fullmatch(text)
    if match is None:
        raise BadValue(f'{quoted(text)} is not a number with a unit, such as "{example}"')
    number, unit = match.groups()
    if not unit and float(number) != 0:
        raise BadValue(f'{quoted(text)} has no unit; write for example "{example}"')
    by_lower_case = {name.lower(): factor for name, factor in units.items()}
    if unit and unit.lower() not in by_lower_case:
        raise BadValue(f"{quoted(unit)} is not a unit here; there are {', '.join(units)}", nearest(unit, units))
    return float(number) * by_lower_case.get(unit.lower(), 1)


def _show_measure(value: float, units: dict[str, Any]) -> str:
    for unit, factor in units.items():
        count = value / factor
        if count >= 1 and count == int(count):
            return f"{int(count)} {unit}"
    number = f"{value:.6f}".rstrip("0").rstrip(".")
    return f"{number} {'s' if 's' in units else 'B'}"


def _read_size(text: str, folder: Path) -> Size:
    return Size(int(_measure(text, _SIZES, "256 KiB")))


def _read_rate(text: str, folder: Path) -> Rate:
    size, slash, _ = text.rpartition("/")
    if not slash or not text.endswith("/s"):
        raise BadValue(f'{quoted(text)} is not a rate, such as "64 KiB/s"')
    return Rate(int(_measure(size.rstrip(), _SIZES, "64 KiB/s")))


def _read_duration(text: str, folder: Path) -> Duration:
    # To the microsecond, so that a time shown and read again is the same time.
    return Duration(round(_measure(text, _TIMES, "30 s"), 6))


def _read_jid(text: str, folder: Path) -> JID:
    try:
        return JID.parse(text)
    except InvalidJID as error:
        raise BadValue(f"{quoted(text)} is not a JID: {error}") from None


def _read_endpoint(text: str, folder: Path) -> Endpoint:
    kind, _, rest = text.partition(":")
    if kind in ("ssl", "tls"):
        raise BadValue(f'{quoted(text)}: TLS is made by chatrix itself, so write "tcp:{rest.partition(":")[0]}"')
    if text.isdigit():
        raise BadValue(f"{quoted(text)} is a port alone", f"tcp:{text}")
    parse: Callable[[object, str], object] = serverFromString
    try:
        # The reactor is only kept by the endpoint; nothing listens before listen().
        parse(None, text)
    except Exception as error:
        # Plugins for further kinds of endpoint raise whatever they like.
        raise BadValue(f"{quoted(text)} is not a Twisted server endpoint: {str(error) or repr(error)}") from None
    port = rest.partition(":")[0].removeprefix("port=")
    if kind in ("tcp", "tcp6") and not (port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise BadValue(f"{quoted(text)}: {quoted(port)} is not a port")
    return Endpoint(text)


def _choice(choices: tuple[str, ...]) -> Kind:
    def read(text: str, folder: Path) -> str:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise BadValue(f"{quoted(text)} is not one of {', '.join(choices)}", nearest(text, choices))

    return Kind(" | ".join(choices), read)


def _several(kind: Kind) -> Kind:
    def read(text: str, folder: Path) -> tuple[Any, ...]:
        values: list[Any] = []
        problems = []
        for word in text.split():
            try:
                value = _read_word(kind, word, folder)
                if value in values:
                    raise BadValue(f"{quoted(word)} is there twice")
                values.append(value)
            except BadValue as error:
                problems.append(BadValue(str(error), error.suggestion, word))
        if problems:
            raise BadValues(problems)
        return tuple(values)

    return Kind(f"{kind.what}, several with spaces between", read, lambda values: " ".join(map(kind.show, values)))


def _read_word(kind: Kind, word: str, folder: Path) -> Any:
    if word.endswith(",") or word.startswith(","):
        raise BadValue("several values are separated by spaces, without commas")
    return kind.read(word, folder)


def _optional(kind: Kind) -> Kind:
    def read(text: str, folder: Path) -> Any:
        return None if text.lower() == "none" else kind.read(text, folder)

    return Kind(f"{kind.what} or none", read, lambda value: "none" if value is None else kind.show(value))


_KINDS: dict[Any, Kind] = {
    str: Kind("text", _read_text),
    int: Kind("whole number", _read_whole),
    bool: Kind("yes | no", _read_yes_no, lambda value: "yes" if value else "no"),
    Path: Kind("file or folder", _read_path),
    Size: Kind("size (256 KiB)", _read_size, lambda value: _show_measure(value, _SIZES)),
    Rate: Kind("rate (64 KiB/s)", _read_rate, lambda value: _show_measure(value, _SIZES) + "/s"),
    Duration: Kind("time (30 s, 5 min, 6 h)", _read_duration, lambda value: _show_measure(value, _TIMES)),
    Endpoint: Kind("Twisted server endpoint", _read_endpoint),
    JID: Kind("JID", _read_jid),
}
