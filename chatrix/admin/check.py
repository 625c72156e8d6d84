"""What `chatrixctl check-config` says of an ini without problems: all that is in force, and what is still missing."""

from chatrix.config.load import Config
from chatrix.config.options import show_options
from chatrix.net.certificates import Certificates


def config_as_text(config: Config) -> str:
    """Every option with its value, defaults included and secrets hidden, as an ini."""
    parts = [_section("[chatrix]", config.chatrix), _section("[limits]", config.limits)]
    parts += [_section(f"[tier {name}]", tier) for name, tier in config.tiers.items()]
    parts += [_section(f"[host {domain}]", host) for domain, host in config.hosts.items()]
    parts += [_section(f"[module {word}]", options) for word, options in config.modules.items()]
    return "\n\n".join(parts)


def warnings(config: Config) -> list[str]:
    """What would keep the server from starting although the ini is right."""
    certificates = Certificates({domain: host.certificate for domain, host in config.hosts.items()})
    lines = [f"certificate of {problem}" for problem in certificates.reload()]
    if not config.chatrix.state.is_dir():
        lines.append(f"state: {config.chatrix.state} is not there yet")
    return lines


def _section(title: str, options: object) -> str:
    lines = [title]
    lines += [f"{name} = {value}".rstrip() for name, value in show_options(options).items()]
    return "\n".join(lines)
