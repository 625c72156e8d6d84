"""docs/options.md, written from the dataclasses that the ini is read with, so that it cannot be wrong."""

from collections.abc import Iterable
from dataclasses import MISSING

from chatrix.config.options import Option, options_of
from chatrix.config.sections import ChatrixOptions, HostOptions, LimitOptions
from chatrix.config.tiers import TierOptions
from chatrix.server.loading import module_class, module_options, module_words

_BEGINNING = """\
# Options

Written by `chatrixctl options` from the code that reads the ini; do not change it by hand.

An ini is UTF-8 text: sections, `option = value`, comments after `;` (or `#` at the beginning of a line). A deeper
indented line goes on with the value above it. File names are relative to the ini; what the server writes is relative to
`state`. A size has a unit (`B`, `kB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`), a rate as well (`64 KiB/s`), and so has a time
(`ms`, `s`, `min`, `h`, `d`). What the server does not know is an error: `chatrixctl check-config FILE` says where.

A change of an option marked `*` takes effect when the server starts anew, of any other with `chatrixctl reload`.
"""


def options_page(modules: Iterable[tuple[str, str, type]]) -> str:
    """The page; `modules` gives word, one line about it, and options dataclass of every module that has options."""
    parts = [
        _BEGINNING,
        _section("[chatrix]", ChatrixOptions),
        _section("[limits]", LimitOptions),
        _section("[tier NAME]", TierOptions),
        _section("[host DOMAIN]", HostOptions),
    ]
    parts += [
        _section(f"[module {word}]", class_, about) for word, about, class_ in sorted(modules, key=lambda m: m[0])
    ]
    return "\n".join(parts)


def own_modules() -> list[tuple[str, str, type]]:
    """Word, line about it and options dataclass of the modules that come with chatrix and have options."""
    found = []
    for word in module_words():
        class_ = module_options(word)
        if class_ is not None:
            about = (module_class(word).__doc__ or "").strip().partition("\n")[0]
            found.append((word, about, class_))
    return found


def _section(title: str, class_: type, about: str = "") -> str:
    about = about or (class_.__doc__ or "").strip().partition("\n")[0]
    lines = [f"## {title}", "", about, "", "| option | value | default | |", "|---|---|---|---|"]
    lines += [_row(option) for option in options_of(class_)]
    return "\n".join(lines) + "\n"


def _row(option: Option) -> str:
    if option.default is MISSING:
        default = "must be set"
    else:
        shown = option.show(option.default)
        default = f"`{shown}`" if shown else ""
    star = " *" if option.about.restart else ""
    bounds = _bounds(option)
    cells = (f"`{option.name}`{star}", option.kind.what, default, option.about.doc + bounds)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _bounds(option: Option) -> str:
    low, high = option.about.minimum, option.about.maximum
    if low is not None and high is not None:
        return f" From {option.kind.show(low)} to {option.kind.show(high)}."
    if low is not None:
        return f" At least {option.kind.show(low)}."
    return f" At most {option.kind.show(high)}." if high is not None else ""
