"""`chatrixctl`: look after a server from the command line.

Exit status: 0 done; 1 not done, and one line says why; 2 the command line or the ini is wrong.
"""

import argparse
import contextlib
import getpass
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from chatrix.admin.ask import ask
from chatrix.admin.errors import AdminError, NotRunning
from chatrix.config.load import NO_TIER, Config, load
from chatrix.config.problems import ConfigError, nearest

DONE, FAILED, WRONG = 0, 1, 2
_LONGEST_PASSWORD_LINE = 4096


class UsageError(Exception):
    """The command line asks for something that cannot be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    options = _parser().parse_args(arguments)
    act: Callable[[argparse.Namespace], None] = options.act
    try:
        act(options)
        sys.stdout.flush()
    except (ConfigError, UsageError) as error:
        print(error if isinstance(error, ConfigError) else f"chatrixctl: {error}", file=sys.stderr)
        return WRONG
    except AdminError as error:
        print(f"chatrixctl: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("chatrixctl: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # `chatrixctl user list | head`: whoever reads has enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chatrixctl", description="Look after a chatrix server.")
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the server's ini")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    def verb(name: str, act: Callable[[argparse.Namespace], None], help_: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=help_, description=help_)
        added.set_defaults(act=act)
        return added

    check = verb("check-config", _check_config, "say what the server makes of its ini, or what is wrong with it")
    check.add_argument("file", metavar="FILE", type=Path, nargs="?")
    user = verbs.add_parser("user", help="look after accounts").add_subparsers(
        metavar="add|delete|password|disable|enable|tier|list", required=True
    )
    for name, act, help_ in (
        ("add", _add_user, "make an account; asks for its password"),
        ("delete", _delete_user, "delete an account and all it owns"),
        ("password", _set_password, "set an account's password, and end its sessions"),
        ("disable", _disable_user, "keep an account from logging in, and end its sessions"),
        ("enable", _enable_user, "let a disabled account log in again"),
        ("tier", _set_tier, "put an account into a tier of the ini"),
    ):
        of_user = user.add_parser(name, help=help_, description=help_)
        of_user.set_defaults(act=act)
        of_user.add_argument("jid", metavar="JID")
        if name == "tier":
            of_user.add_argument("tier", metavar="NAME", help=f"of a [tier NAME] section; {NO_TIER} takes it out")
        elif name in ("add", "password"):
            of_user.add_argument("--stdin", action="store_true", help="read the password from standard input, a line")
    listing = user.add_parser("list", help="list the accounts of one host or of all")
    listing.set_defaults(act=_list_users)
    listing.add_argument("host", metavar="HOST", nargs="?")
    group = verbs.add_parser("group", help="look after shared roster groups").add_subparsers(
        metavar="add|delete|join|leave|list", required=True
    )
    for name, act, help_, whom in (
        ("add", _add_group, "make a group of a host's accounts, who see each other in their rosters", "HOST"),
        ("delete", _delete_group, "delete a group of a host", "HOST"),
        ("join", _join_group, "put an account into a group of its host", "JID"),
        ("leave", _leave_group, "take an account out of a group", "JID"),
    ):
        of_group = group.add_parser(name, help=help_, description=help_)
        of_group.set_defaults(act=act)
        of_group.add_argument(whom.lower(), metavar=whom)
        of_group.add_argument("group", metavar="NAME")
    groups = group.add_parser("list", help="list the groups of one host or of all, with their members")
    groups.set_defaults(act=_list_groups)
    groups.add_argument("host", metavar="HOST", nargs="?")
    reports = verbs.add_parser("reports", help="show what users have reported of spam and abuse, or put it away")
    reports.set_defaults(act=_reports)
    reports.add_argument("--done", metavar="ID", type=int, help="forget this report, which has been dealt with")
    verb("status", _status, "say how the running server is")
    verb("reload", _reload, "let the running server read its ini and its certificates again")
    verb("migrate", _migrate, "bring the database to this version")
    verb("first-run", _first_run, "make what is missing: certificate, database, first admin")
    verb("options", _options, "print docs/options.md")
    return parser


def _config(options: argparse.Namespace) -> Config:
    # Here and below: what takes long to import is imported by the commands that need it.
    from chatrix.server.loading import module_options, module_words

    if options.config is None:
        raise UsageError("which server? Name its ini: chatrixctl -c FILE ...")
    return load(options.config, module_options, module_words)


def _check_config(options: argparse.Namespace) -> None:
    from chatrix.admin.check import config_as_text, warnings

    options.config = options.file or options.config
    config = _config(options)
    print(config_as_text(config))
    for warning in warnings(config):
        print(f"warning: {warning}", file=sys.stderr)


def _add_user(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts

    config = _config(options)
    jid = accounts.account_jid(options.jid, config)
    keys = accounts.keys_for(_password(options))
    accounts.become_owner(config.chatrix.state)
    accounts.in_accounts(config, lambda them: accounts.add(them, jid, keys))
    print(f"added {jid}")


def _delete_user(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts

    config = _config(options)
    jid = accounts.account_jid(options.jid, config)
    accounts.become_owner(config.chatrix.state)
    try:
        # The server can still tell the contacts, as long as the roster is there.
        ended = ask(config.chatrix.control_socket, "delete account", account=str(jid))
    except NotRunning:
        accounts.in_accounts(config, lambda them: accounts.delete(them, jid))
        ended = 0
    print(f"deleted {jid}")
    _print_ended(ended)


def _set_password(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts

    config = _config(options)
    jid = accounts.account_jid(options.jid, config)
    keys = accounts.keys_for(_password(options))
    accounts.become_owner(config.chatrix.state)
    accounts.in_accounts(config, lambda them: accounts.set_password(them, jid, keys))
    print(f"{jid} has a new password")
    _tell_server(config, str(jid), "password")


def _disable_user(options: argparse.Namespace) -> None:
    _set_disabled(options, True)


def _enable_user(options: argparse.Namespace) -> None:
    _set_disabled(options, False)


def _set_disabled(options: argparse.Namespace, disabled: bool) -> None:
    from chatrix.admin import accounts

    config = _config(options)
    jid = accounts.account_jid(options.jid, config)
    accounts.become_owner(config.chatrix.state)
    accounts.in_accounts(config, lambda them: accounts.disable(them, jid, disabled))
    print(f"{jid} is {'disabled' if disabled else 'enabled'}")
    if disabled:
        _tell_server(config, str(jid), "disabled")


def _set_tier(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts
    from chatrix.store.tiers import Tiers

    config = _config(options)
    jid = accounts.account_jid(options.jid, config)
    tier: str = options.tier
    if tier not in (NO_TIER, *config.tiers):
        guess = nearest(tier, config.tiers)
        hint = f'; did you mean "{guess}"?' if guess else ""
        raise AdminError(f"{config.path} has no section [tier {tier}]{hint}")
    accounts.become_owner(config.chatrix.state)
    wanted = "" if tier == NO_TIER else tier
    accounts.in_database(config, lambda database: accounts.set_tier(Tiers(database), jid, wanted))
    print(f"{jid} has the tier {wanted}" if wanted else f"{jid} has no tier")
    _tell_server(config, str(jid), "tier")


def _add_group(options: argparse.Namespace) -> None:
    from chatrix.admin import groups

    _change_groups(options, lambda config, them: groups.add(them, _host(options, config), options.group))


def _delete_group(options: argparse.Namespace) -> None:
    from chatrix.admin import groups

    _change_groups(options, lambda config, them: groups.delete(them, _host(options, config), options.group))


def _join_group(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts, groups

    _change_groups(
        options, lambda config, them: groups.join(them, options.group, accounts.account_jid(options.jid, config))
    )


def _leave_group(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts, groups

    _change_groups(
        options, lambda config, them: groups.leave(them, options.group, accounts.account_jid(options.jid, config))
    )


def _change_groups(options: argparse.Namespace, change: Callable[[Config, Any], Awaitable[str]]) -> None:
    from chatrix.admin import accounts
    from chatrix.store.shared_groups import SharedGroups

    config = _config(options)
    accounts.become_owner(config.chatrix.state)
    print(accounts.in_database(config, lambda database: change(config, SharedGroups(database))))
    if "shared_roster" not in config.chatrix.modules:
        print("warning: shared_roster is not in modules of [chatrix], so nobody will notice", file=sys.stderr)
    with contextlib.suppress(NotRunning):
        ask(config.chatrix.control_socket, "groups changed")


def _list_groups(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts, groups
    from chatrix.store.shared_groups import SharedGroups

    config = _config(options)
    hosts = list(config.hosts) if options.host is None else [_host(options, config)]
    accounts.become_owner(config.chatrix.state)
    for line in accounts.in_database(config, lambda database: groups.lines(SharedGroups(database), hosts)):
        print(line)


def _reports(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts, reports
    from chatrix.store.blocking import Reports

    config = _config(options)
    accounts.become_owner(config.chatrix.state)
    if options.done is not None:
        print(accounts.in_database(config, lambda database: reports.put_away(Reports(database), options.done)))
        return
    for line in accounts.in_database(config, lambda database: reports.lines(Reports(database))):
        print(line)


def _host(options: argparse.Namespace, config: Config) -> str:
    from chatrix.admin import accounts

    return accounts.known_host(options.host.lower(), config)


def _list_users(options: argparse.Namespace) -> None:
    from chatrix.admin import accounts
    from chatrix.store.accounts import Accounts

    config = _config(options)
    hosts = list(config.hosts) if options.host is None else [accounts.known_host(options.host.lower(), config)]

    async def show(them: Accounts) -> BrokenPipeError | None:
        try:
            for host in hosts:
                async for line in accounts.every(them, host):
                    print(line)
        except BrokenPipeError as error:
            return error  # not through the reactor, which would log it
        return None

    accounts.become_owner(config.chatrix.state)
    if (error := accounts.in_accounts(config, show)) is not None:
        raise error


def _status(options: argparse.Namespace) -> None:
    _show(ask(_config(options).chatrix.control_socket, "status", timeout=10))


def _reload(options: argparse.Namespace) -> None:
    _show(ask(_config(options).chatrix.control_socket, "reload"))


def _migrate(options: argparse.Namespace) -> None:
    from chatrix.admin.accounts import become_owner
    from chatrix.admin.control import prepare_state
    from chatrix.admin.first_run import migrate_database

    config = _config(options)
    become_owner(config.chatrix.state)
    prepare_state(config.chatrix.state)
    print("the database is of this version now" if migrate_database(config) else "there was nothing to do")


def _first_run(options: argparse.Namespace) -> None:
    from chatrix.admin.accounts import become_owner
    from chatrix.admin.first_run import first_run

    config = _config(options)
    become_owner(config.chatrix.state)
    for line in first_run(config):
        print(line)


def _options(options: argparse.Namespace) -> None:
    from chatrix.admin.options_page import options_page, own_modules

    print(options_page(own_modules()), end="")


def _tell_server(config: Config, account: str, change: str) -> None:
    """Let a running server end the account's sessions."""
    with contextlib.suppress(NotRunning):
        _print_ended(ask(config.chatrix.control_socket, "account changed", account=account, change=change))


def _print_ended(ended: int) -> None:
    if ended:
        print(f"ended {ended} session{'' if ended == 1 else 's'}")


def _password(options: argparse.Namespace) -> str:
    if options.stdin:
        raw = sys.stdin.buffer.readline(_LONGEST_PASSWORD_LINE)
        try:
            return raw.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise AdminError("the password on standard input is not UTF-8 text") from None
    if not sys.stdin.isatty():
        raise UsageError("standard input is no terminal; to read the password from it, say --stdin")
    try:
        password = getpass.getpass(f"Password of {options.jid}: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise AdminError("no password was given") from None
    if password != again:
        raise AdminError("the two passwords differ")
    return password


def _show(result: Any) -> None:
    """Print what the server says: lines, or a value to each name."""
    if isinstance(result, dict):
        width = max(map(len, result), default=0)
        for name, value in result.items():
            text = " ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{name + ':':<{width + 1}} {text}")
    elif isinstance(result, list):
        for line in result:
            print(line)
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
