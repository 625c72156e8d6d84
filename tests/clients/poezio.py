"""poezio in tmux as romeo, slixmpp as juliet: log in, become contacts, talk, block, tell what they do, part.

A script for test_poezio.py: prints a line for each thing that worked; when one does not, the screen and a traceback.
It needs the programs `poezio` and `tmux`. `python -m tests.clients.poezio --help`
"""

import asyncio
import os
import shutil
import tempfile
from argparse import Namespace
from pathlib import Path

from tests.clients.person import Person, arguments
from tests.clients.screen import Screen, worked

_SETTINGS = """
[Poezio]
jid = {jid}/poezio
password = {password}
custom_host = {address}
custom_port = {port}
ca_cert_path = {authority}
certificate =
use_bookmarks_method =
rooms =
enable_user_nick = false
"""
_NOBODY = 65534


async def talk(options: Namespace, folder: Path) -> None:
    romeo_jid, juliet_jid = f"romeo@{options.domain}", f"juliet@{options.domain}"
    juliet = Person(f"{juliet_jid}/balcony", options)
    await juliet.log_in()
    screen = Screen(folder, prepared(folder, romeo_jid, options))
    try:
        await converse(screen, juliet, romeo_jid, juliet_jid)
        await juliet.log_off()
    except BaseException:
        worked(screen.look())
        raise
    finally:
        screen.close()


async def command(screen: Screen, line: str) -> None:
    """Type a command: its slash opens the prompt, which is there when the rest is typed."""
    screen.press("-l", "/")
    await asyncio.sleep(0.3)
    screen.press("-l", "--", line)
    await asyncio.sleep(0.3)
    screen.press("Enter")


async def converse(screen: Screen, juliet: Person, romeo_jid: str, juliet_jid: str) -> None:
    await screen.shows("Authentication success")
    worked("log in")

    await command(screen, f"add {juliet_jid}")
    await juliet.until(lambda: romeo_jid in juliet.requests, "asked")
    juliet.send_presence_subscription(pto=romeo_jid, ptype="subscribed")
    juliet.send_presence_subscription(pto=romeo_jid)
    await juliet.until(lambda: juliet.subscription(romeo_jid) in ("from", "both"), "subscribed to")
    await command(screen, f"accept {juliet_jid}")
    await juliet.until(lambda: juliet.subscription(romeo_jid) == "both", "subscribed both ways")
    await juliet.until(lambda: juliet.sees(romeo_jid), "saw the other one")
    await screen.shows(juliet_jid)
    worked("contacts")

    await command(screen, f"message {juliet_jid} But, soft! what light through yonder window breaks?")
    heard = await juliet.read("But, soft! what light through yonder window breaks?")
    heard.reply("O Romeo, Romeo! wherefore art thou Romeo?").send()
    await screen.shows("wherefore art thou Romeo?")
    worked("chat")

    await command(screen, f"block {juliet_jid}")
    await juliet.until(lambda: not juliet.sees(romeo_jid), "saw the other one leave")
    assert await juliet.in_vain(romeo_jid, "Wilt thou leave me so unsatisfied?") == "service-unavailable"
    await command(screen, f"unblock {juliet_jid}")
    await juliet.until(lambda: juliet.sees(romeo_jid), "saw the other one come back")
    await command(screen, f"message {juliet_jid} What satisfaction canst thou have tonight?")
    heard = await juliet.read("What satisfaction canst thou have tonight?")
    heard.reply("Th' exchange of thy love's faithful vow").send()
    await screen.shows("faithful vow")
    assert "O Romeo, Romeo!" in screen.look() and "unsatisfied" not in screen.look(), screen.look()
    worked("blocking")

    await command(screen, "status dnd Wooing Juliet")
    await juliet.until(lambda: "dnd" in shows(juliet, romeo_jid), "saw what the other one does")
    juliet.send_presence(pshow="xa", pstatus="Good night, good night")
    await screen.shows("Good night, good night")
    worked("presence")

    await command(screen, f"remove {juliet_jid}")
    await juliet.until(lambda: juliet.subscription(romeo_jid) == "none", "told that it is over")
    worked("removal")

    await command(screen, "quit")


def shows(person: Person, contact: str) -> list[str]:
    """What each resource of a contact does."""
    return [resource["show"] for resource in person.client_roster[contact].resources.values()]


def prepared(folder: Path, jid: str, options: Namespace) -> str:
    """Write poezio's settings; the command that starts it, not as root, which it refuses."""
    authority, settings = folder / "authority.pem", folder / "config" / "poezio" / "poezio.cfg"
    settings.parent.mkdir(parents=True)
    shutil.copy(options.authority, authority)
    settings.write_text(_SETTINGS.format(jid=jid, **{**vars(options), "authority": authority}))
    start = f"poezio -d {folder}/debug.log"
    if os.geteuid() != 0:
        return start
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    return f"env HOME={folder} setpriv --reuid {_NOBODY} --regid {_NOBODY} --clear-groups {start}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(talk(arguments(__doc__).parse_args(), Path(name)))
