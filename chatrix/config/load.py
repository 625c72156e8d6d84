"""From an ini to a Config: `load(path)`, which finds every problem at once or none."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from chatrix.config.difference import Change, differences
from chatrix.config.ini import Section, read_bytes, read_sections
from chatrix.config.options import typed_section
from chatrix.config.problems import ConfigError, Problem, nearest, quoted
from chatrix.config.sections import ChatrixOptions, HostOptions, LimitOptions
from chatrix.config.tiers import TierOptions
from chatrix.config.values import Endpoint
from chatrix.xmpp.jid import JID, InvalidJID

ModuleOptions = Callable[[str], type | None]
"""From a word of `modules =` to the dataclass of its options, or None if it has none; raises LookupError for a word
that names no module, ImportError for one that cannot be imported."""

_Options = TypeVar("_Options")
_KINDS = ("chatrix", "limits", "tier", "module", "host", "service", "component")
_NAMELESS = ("chatrix", "limits")
_NOT_YET = ("service", "component")
_NAMED_BY = {"module": "word", "tier": "name"}
NO_TIER = "none"
"""What an admin writes in place of a tier's name."""


@dataclass(frozen=True)
class Config:
    """A whole ini, typed and checked. Two are equal when they say the same, wherever it stands in the file."""

    path: Path = field(compare=False)
    chatrix: ChatrixOptions
    limits: LimitOptions
    hosts: Mapping[str, HostOptions]
    """By prepared domain, in the order of the file."""
    modules: Mapping[str, Any]
    """By word: the options dataclass of each enabled module that declares one; without a `module_options` finder, the
    entries of the [module WORD] sections as they are written (a mapping of texts)."""
    sections: Mapping[str, Section] = field(compare=False, repr=False)
    """The text behind it all by title, such as "host example.com", for `problem`."""
    tiers: Mapping[str, TierOptions] = field(default_factory=dict)
    """By name."""

    def problem(self, title: str, key: str, message: str, word: str = "", suggestion: str = "") -> Problem:
        """A problem found after loading, with the line of the option (or of the one word in its value)."""
        section = self.sections.get(title)
        if section is None:
            return Problem(str(self.path), 0, message, suggestion)
        entry = section.entries.get(key)
        return Problem(str(self.path), entry.line_of(word) if entry else section.line, message, suggestion)

    def difference(self, other: "Config") -> list[Change]:
        """What the other Config says differently; `str()` of each is a line for the admin."""
        return differences(self, other)


def load(
    path: Path,
    module_options: ModuleOptions | None = None,
    module_words: Callable[[], Iterable[str]] | None = None,
) -> Config:
    """The Config that an ini describes.

    `module_words` gives the words there are, for "did you mean". Both callables exist because the config layer cannot
    import modules itself.

    Raises: ConfigError with all problems.
    """
    path = Path(path)
    return load_bytes(read_bytes(path), path, module_options, module_words)


def load_bytes(
    raw: bytes,
    path: Path,
    module_options: ModuleOptions | None = None,
    module_words: Callable[[], Iterable[str]] | None = None,
) -> Config:
    """As `load`, for the text of an ini; `path` is what messages name and relative files start from."""
    loading = _Loading(path, module_options, module_words)
    sections, problems = read_sections(raw, str(path))
    loading.problems += problems
    return loading.finish(sections)


class _Loading:
    """The state while one ini is given its meaning."""

    def __init__(
        self,
        path: Path,
        module_options: ModuleOptions | None,
        module_words: Callable[[], Iterable[str]] | None,
    ) -> None:
        self.path = path
        self.folder = Path(os.path.abspath(path)).parent
        self.problems: list[Problem] = []
        self._module_options = module_options
        self._module_words = module_words
        self._sections: dict[str, Section] = {}
        self._hosts: dict[str, HostOptions] = {}
        self._tiers: dict[str, TierOptions] = {}

    def finish(self, sections: list[Section]) -> Config:
        """Type every section and check them against each other."""
        for section in sections:
            self._take_section(section)
        chatrix = self._typed(ChatrixOptions, self._sections.get("chatrix", Section("chatrix", "", 0)))
        limits = self._typed(LimitOptions, self._sections.get("limits", Section("limits", "", 0)))
        for title, section in self._sections.items():
            if section.kind == "host":
                options = self._typed(HostOptions, section)
                if options is not None:
                    self._take_host(title.removeprefix("host "), options, section)
            elif section.kind == "tier":
                tier = self._typed(TierOptions, section)
                if tier is not None:
                    self._tiers[section.name] = tier
        if not any(section.kind == "host" for section in sections):
            self._complain(0, "there is no [host DOMAIN] section, so nobody could log in")
        modules = self._typed_modules(chatrix) if chatrix is not None else {}
        if chatrix is not None:
            chatrix = self._placed(chatrix)
        if self.problems or chatrix is None or limits is None:
            raise ConfigError(self.problems)
        return Config(self.path, chatrix, limits, self._hosts, modules, self._sections, self._tiers)

    def _take_host(self, domain: str, options: HostOptions, section: Section) -> None:
        self._hosts[domain] = options
        for admin in options.admins:
            if admin.domain != domain:
                line = section.entries["admins"].line_of(str(admin))
                self._complain(line, f"admins in {section.title}: {quoted(str(admin))} is no account of this host")

    def _take_section(self, section: Section) -> None:
        if not section.kind:
            return  # its title has been complained about
        if section.kind not in _KINDS:
            guess = nearest(section.kind, _KINDS)
            guess = f"{guess} {section.name}" if guess and section.name and guess not in _NAMELESS else guess
            self._complain(section.line, f"unknown section {quoted(section.title)}", f"[{guess}]" if guess else "")
            return
        if section.kind in _NAMELESS:
            if section.name:
                self._complain(section.line, f"{section.title} has a name too many", f"[{section.kind}]")
                return
        elif not section.name:
            what = _NAMED_BY.get(section.kind, "domain")
            self._complain(section.line, f"{section.title} needs a {what}, as in [{section.kind} {what.upper()}]")
            return
        if section.kind in _NOT_YET:
            self._complain(section.line, f"{section.title}: {section.kind}s are not supported by this version")
            return
        if section.kind == "tier" and section.name == NO_TIER:
            self._complain(section.line, f"{quoted(section.name)} cannot be the name of a tier")
            return
        name = self._domain(section) if section.kind == "host" else section.name
        if name is None:
            return
        title = f"{section.kind} {name}" if name else section.kind
        first = self._sections.setdefault(title, section)
        if first is not section:
            self._complain(section.line, f"{section.title} was already opened in line {first.line}")

    def _domain(self, section: Section) -> str | None:
        try:
            jid = JID.parse(section.name)
        except InvalidJID as error:
            self._complain(section.line, f"{quoted(section.name)} is not a domain: {error}")
            return None
        if jid.local or jid.resource:
            self._complain(section.line, f"{quoted(section.name)} is not a domain", f"[host {jid.domain}]")
            return None
        return jid.domain

    def _typed(self, class_: type[_Options], section: Section) -> _Options | None:
        options, problems = typed_section(class_, section, str(self.path), self.folder)
        self.problems += problems
        return options

    def _typed_modules(self, chatrix: ChatrixOptions) -> dict[str, Any]:
        sections = {section.name: section for section in self._sections.values() if section.kind == "module"}
        modules: dict[str, Any] = {}
        for word in chatrix.modules:
            section = sections.pop(word, None)
            if self._module_options is None:
                if section is not None:
                    modules[word] = {key: entry.value for key, entry in section.entries.items()}
                continue
            class_ = self._options_class(word)
            if class_ is not None:
                modules[word] = self._typed(class_, section or Section("module", word, self._line_of_module(word)))
            elif section is not None and section.entries:
                entry = next(iter(section.entries.values()))
                self._complain(entry.line, f"{section.title} has no options")
        for section in sections.values():
            message = f'{section.title}: "{section.name}" is not in modules of [chatrix]'
            self._complain(section.line, message, nearest(section.name, chatrix.modules))
        return modules

    def _options_class(self, word: str) -> type | None:
        assert self._module_options is not None
        line = self._line_of_module(word)
        try:
            return self._module_options(word)
        except LookupError:
            known = self._module_words() if self._module_words is not None else ()
            self._complain(line, f"unknown module {quoted(word)}", nearest(word, known))
        except Exception as error:
            # Somebody else's module runs its own code when it is imported.
            self._complain(line, f"module {quoted(word)} cannot be loaded: {type(error).__name__}: {error}")
        return None

    def _line_of_module(self, word: str) -> int:
        section = self._sections.get("chatrix")
        entry = section.entries.get("modules") if section else None
        return entry.line_of(word) if entry else 0

    def _placed(self, chatrix: ChatrixOptions) -> ChatrixOptions:
        """The options with what the server writes put inside `state`, and no endpoint listened on twice."""
        database = chatrix.database
        if database.startswith("sqlite:"):
            # SQLAlchemy's three slashes before a relative file mean the same.
            file = database.removeprefix("sqlite:").removeprefix("///")
            database = f"sqlite:{chatrix.state / file}"
        for endpoint in set(chatrix.c2s) & set(chatrix.c2s_tls):
            entries = self._sections["chatrix"].entries
            entry = entries.get("c2s tls") or entries["c2s"]
            self._complain(entry.line_of(endpoint), f'{quoted(endpoint)} is both in "c2s" and in "c2s tls"')
        return dataclasses.replace(
            chatrix,
            database=database,
            c2s=tuple(_placed_endpoint(endpoint, chatrix.state) for endpoint in chatrix.c2s),
            c2s_tls=tuple(_placed_endpoint(endpoint, chatrix.state) for endpoint in chatrix.c2s_tls),
        )

    def _complain(self, line: int, message: str, suggestion: str = "") -> None:
        self.problems.append(Problem(str(self.path), line, message, suggestion))


def _placed_endpoint(endpoint: Endpoint, state: Path) -> Endpoint:
    kind, _, rest = endpoint.partition(":")
    if kind != "unix" or rest.startswith(("/", "address=")):
        return endpoint
    folder = str(state).replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
    return Endpoint(f"unix:{folder}/{rest}")
