"""Shared roster groups changed straight in the database; what is behind `chatrixctl group`."""

from chatrix.admin.errors import AdminError
from chatrix.store.shared_groups import GroupExists, NoSuchMember, SharedGroups
from chatrix.xmpp.jid import JID

LONGEST_NAME = 1023
"""Octets of a group's name."""


async def add(groups: SharedGroups, host: str, name: str) -> str:
    """Make a group; what was done, in a line.

    Raises: AdminError when it exists, or cannot be called so.
    """
    if not name.strip() or len(name.encode()) > LONGEST_NAME or not name.isprintable():
        raise AdminError(f"{name!r} cannot be the name of a group")
    try:
        await groups.add(host, name)
    except GroupExists:
        raise AdminError(f"{host} has a group {name} already") from None
    return f"added the group {name} of {host}"


async def delete(groups: SharedGroups, host: str, name: str) -> str:
    """Remove a group.

    Raises: AdminError when there is none.
    """
    if not await groups.delete(host, name):
        raise AdminError(f"{host} has no group {name}")
    return f"deleted the group {name} of {host}"


async def join(groups: SharedGroups, name: str, jid: JID) -> str:
    """Put an account into a group of its host.

    Raises: AdminError when there is no such account or group.
    """
    try:
        joined = await groups.join(jid.domain, name, str(jid))
    except NoSuchMember:
        raise AdminError(f"there is no account {jid}, or {jid.domain} has no group {name}") from None
    return f"{jid} is in the group {name} now" if joined else f"{jid} was in the group {name} already"


async def leave(groups: SharedGroups, name: str, jid: JID) -> str:
    """Take an account out of a group of its host.

    Raises: AdminError when it is not in it.
    """
    if not await groups.leave(jid.domain, name, str(jid)):
        raise AdminError(f"{jid} is not in a group {name}")
    return f"{jid} is not in the group {name} any more"


async def lines(groups: SharedGroups, hosts: list[str]) -> list[str]:
    """A line for each group, its members indented below it."""
    found = []
    for (host, name), members in (await groups.all()).items():
        if host in hosts:
            found += [f"{name} ({host})", *(f"    {member}" for member in members)]
    return found
