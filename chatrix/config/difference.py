"""What a changed ini changes, in lines for the admin who reloads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatrix.config.options import options_of

if TYPE_CHECKING:
    from chatrix.config.load import Config


@dataclass(frozen=True)
class Change:
    """One difference between two Configs."""

    title: str
    """The section without its brackets, such as "host example.com"."""
    option: str
    """Empty when the section as a whole came or went."""
    text: str
    restart: bool
    """Whether it takes effect only when the server starts anew."""

    def __str__(self) -> str:
        what = f"[{self.title}] {self.option}: {self.text}" if self.option else f"[{self.title}] {self.text}"
        return f"{what} (after a restart)" if self.restart else what


def differences(old: "Config", new: "Config") -> list[Change]:
    """Everything that `new` says differently from `old`; which host or option, from what to what."""
    changes = _changed_options("chatrix", old.chatrix, new.chatrix)
    changes += _changed_options("limits", old.limits, new.limits)
    changes += _changed_sections("tier", old.tiers, new.tiers, restart=False)
    changes += _changed_sections("host", old.hosts, new.hosts, restart=False)
    changes += _changed_sections("module", old.modules, new.modules, restart=True)
    return changes


def _changed_sections(kind: str, old: Mapping[str, Any], new: Mapping[str, Any], restart: bool) -> list[Change]:
    changes = [Change(f"{kind} {name}", "", "is gone", restart) for name in old if name not in new]
    for name, options in new.items():
        if name not in old:
            changes.append(Change(f"{kind} {name}", "", "is new", restart))
        else:
            changes += _changed_options(f"{kind} {name}", old[name], options)
    return changes


def _changed_options(title: str, old: Any, new: Any) -> list[Change]:
    if old == new:
        return []
    if type(old) is not type(new) or isinstance(old, Mapping):
        return [Change(title, "", "has changed", True)]
    changes = []
    for option in options_of(type(old)):
        before, after = getattr(old, option.field), getattr(new, option.field)
        if before == after:
            continue
        was, is_now = _shown(option.show(before)), _shown(option.show(after))
        shown = "has changed" if was == is_now else f"{was} -> {is_now}"
        changes.append(Change(title, option.name, shown, option.about.restart))
    return changes


def _shown(text: str) -> str:
    return text or "nothing"
