"""What is wrong with an ini, said as `file:line: message; did you mean "word"?`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

_LONGEST_SHOWN = 80
"""Characters of the admin's own text repeated in a message: enough to recognise, never a screenful."""


@dataclass(frozen=True)
class Problem:
    """One thing to put right in the ini."""

    file: str
    line: int
    """Counted from 1; 0 when the problem is about the file as a whole."""
    message: str
    suggestion: str = ""
    """What the admin probably meant, without quotes; empty when there is no good guess."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        guess = f'; did you mean "{self.suggestion}"?' if self.suggestion else ""
        return f"{where}: {self.message}{guess}"


class ConfigError(ValueError):
    """The ini cannot be used. Carries every problem found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BadValues(ValueError):
    """What is wrong with the value of one option; whoever knows its lines makes Problems of it."""

    def __init__(self, each: Sequence["BadValue"]) -> None:
        super().__init__("; ".join(str(one) for one in each))
        self.each = tuple(each)


class BadValue(BadValues):
    """A value, or one word of a value of several, that does not fit its option."""

    def __init__(self, message: str, suggestion: str = "", word: str = "") -> None:
        ValueError.__init__(self, message)
        self.each = (self,)
        self.suggestion = suggestion
        self.word = word
        """The one word at fault in a value of several, so that its own line can be named."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that looks most like this one, or "" when none is close."""
    by_lower_case = {name.lower(): name for name in known}
    matches = get_close_matches(word[:_LONGEST_SHOWN].lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[matches[0]] if matches else ""


def quoted(text: str) -> str:
    """The admin's own text for a message: in quotes, on one line, and cut when it is long."""
    shown = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "\u2026"
    return '"' + "".join(character if character.isprintable() else "\ufffd" for character in shown) + '"'
