"""What a server needs before its first start, made where it is missing: certificate, database, first admin.

Never overwrites anything, so it can run before every start, as `make run` does.
"""

from pathlib import Path

from chatrix.admin.accounts import add, in_accounts, keys_for, new_password
from chatrix.admin.certificate import make_certificate
from chatrix.admin.control import prepare_state
from chatrix.admin.errors import AdminError
from chatrix.config.load import Config
from chatrix.config.options import show_options
from chatrix.store.accounts import Accounts
from chatrix.store.database import DatabaseError
from chatrix.store.migrate import migrate
from chatrix.xmpp.jid import JID


def first_run(config: Config) -> list[str]:
    """Make what is missing; returns what to tell the admin, with a new password at most once in its life.

    Raises: AdminError.
    """
    prepare_state(config.chatrix.state)
    lines = _make_certificates(config)
    if migrate_database(config):
        lines.append(f"The database is ready: {database_name(config)}")
    lines += in_accounts(config, lambda accounts: _make_admins(config, accounts))
    return lines + how_to_log_in(config)


def migrate_database(config: Config) -> bool:
    """Bring the tables to this version; False if they are.

    Raises: AdminError.
    """
    try:
        return migrate(config.chatrix.database, str(config.chatrix.state))
    except DatabaseError as error:
        raise AdminError(str(error)) from None


def database_name(config: Config) -> str:
    """The database as it may be shown, without its password."""
    return show_options(config.chatrix)["database"]


def _make_certificates(config: Config) -> list[str]:
    lines = []
    for domain, host in config.hosts.items():
        # Elsewhere the files are somebody else's, such as an ACME client's; the server says what it misses there.
        if not _is_inside(host.certificate, config.chatrix.state) or host.certificate.suffix != ".pem":
            continue
        if make_certificate(host.certificate, domain):
            lines.append(f"Made a certificate for {domain}, signed by itself: {host.certificate}")
    return lines


def _is_inside(path: Path, folder: Path) -> bool:
    return path.parent == folder or folder in path.parents


async def _make_admins(config: Config, accounts: Accounts) -> list[str]:
    lines = []
    for domain, host in config.hosts.items():
        if await accounts.count(domain):
            continue
        jid = next((admin for admin in host.admins if admin.domain == domain), None)
        if jid is not None:
            lines += await _make_admin(accounts, jid, config)
    return lines


async def _make_admin(accounts: Accounts, jid: JID, config: Config) -> list[str]:
    password = new_password()
    try:
        await add(accounts, jid, keys_for(password))
    except AdminError:
        return []  # another first run was quicker, and has told its password
    return [
        f"Made the account {jid}. Its password is shown this once:",
        "",
        f"    {password}",
        "",
        f"(another one: chatrixctl -c {config.path} user password {jid})",
    ]


def how_to_log_in(config: Config) -> list[str]:
    """What listens where, and what to enter in a client."""
    starttls = " ".join(config.chatrix.c2s) or "nothing"
    direct = " ".join(config.chatrix.c2s_tls) or "nothing"
    lines = [f"Clients connect to: {starttls} (STARTTLS), {direct} (TLS)"]
    domain, host = next(iter(config.hosts.items()))
    address = next((str(admin) for admin in host.admins if admin.domain == domain), f"somebody@{domain}")
    lines.append(f"Log in with any XMPP client as {address}; accounts: chatrixctl -c {config.path} user add JID")
    if _is_inside(host.certificate, config.chatrix.state):
        lines.append("The certificate is signed by itself: trust it when the client asks.")
        lines.append(f"In Profanity, for example: /connect {address} tls trust")
    return lines
