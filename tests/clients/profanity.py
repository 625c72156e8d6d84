"""Profanity in tmux as romeo, slixmpp as juliet: log in, become contacts, talk, block, log off, read later.

A script for test_profanity.py: prints a line for each thing that worked; when one does not, the screen and a traceback.
It needs the programs `profanity` and `tmux`. `python -m tests.clients.profanity --help`
"""

import asyncio
import tempfile
from argparse import Namespace
from pathlib import Path

from OpenSSL import crypto

from tests.clients.person import Person, arguments
from tests.clients.screen import Screen, worked

_SETTINGS = """
[ui]
splash=false
wrap=true
[logging]
chlog=false
"""


async def talk(options: Namespace, folder: Path) -> None:
    romeo_jid, juliet_jid = f"romeo@{options.domain}", f"juliet@{options.domain}"
    juliet = Person(f"{juliet_jid}/balcony", options)
    await juliet.log_in()
    settings = folder / "config" / "profanity" / "profrc"
    settings.parent.mkdir(parents=True)
    settings.write_text(_SETTINGS)
    (folder / "data" / "profanity").mkdir(parents=True)
    screen = Screen(folder, "profanity --log DEBUG")
    try:
        await converse(screen, juliet, romeo_jid, juliet_jid, options, trusted(folder, Path(options.authority)))
        await juliet.log_off()
    finally:
        screen.close()


async def converse(
    screen: Screen, juliet: Person, romeo_jid: str, juliet_jid: str, options: Namespace, trust: Path
) -> None:
    await screen.shows("Profanity")
    for setting in ("", f" jid {romeo_jid}", f" server {options.address}", f" port {options.port}", " tls force"):
        screen.type(f"/account set me{setting}" if setting else "/account add me")
    screen.type(f"/account set me password {options.password}")
    screen.type("/connect me")
    await screen.shows("/tls allow")
    screen.type("/tls deny")
    await screen.shows("Login failed")
    worked("unknown authority refused")
    screen.type(f"/tls certpath set {trust}")
    screen.type("/connect me")
    await screen.shows("logged in successfully")
    worked("log in")

    screen.type(f"/roster add {juliet_jid}")
    screen.type(f"/sub request {juliet_jid}")
    await juliet.until(lambda: romeo_jid in juliet.requests, "asked")
    juliet.send_presence_subscription(pto=romeo_jid, ptype="subscribed")
    juliet.send_presence_subscription(pto=romeo_jid)
    await screen.shows("subscription request")
    screen.type(f"/sub allow {juliet_jid}")
    await juliet.until(lambda: juliet.subscription(romeo_jid) == "both", "subscribed both ways")
    await juliet.until(lambda: juliet.sees(romeo_jid), "saw the other one")
    screen.type("/win 1")
    screen.type("/roster")
    await screen.shows(juliet_jid)
    worked("contacts")

    screen.type(f"/msg {juliet_jid} But, soft! what light through yonder window breaks?")
    heard = await juliet.read("But, soft! what light through yonder window breaks?")
    heard.reply("O Romeo, Romeo! wherefore art thou Romeo?").send()
    await screen.shows("wherefore art thou Romeo?")
    worked("chat")

    screen.type(f"/blocked add {juliet_jid}")
    await juliet.until(lambda: not juliet.sees(romeo_jid), "saw the other one leave")
    assert await juliet.in_vain(romeo_jid, "Wilt thou leave me so unsatisfied?") == "service-unavailable"
    screen.type(f"/blocked remove {juliet_jid}")
    await juliet.until(lambda: juliet.sees(romeo_jid), "saw the other one come back")
    screen.type(f"/msg {juliet_jid} What satisfaction canst thou have tonight?")
    heard = await juliet.read("What satisfaction canst thou have tonight?")
    heard.reply("Th' exchange of thy love's faithful vow").send()
    await screen.shows("faithful vow")
    assert "O Romeo, Romeo!" in screen.look() and "unsatisfied" not in screen.look(), screen.look()
    worked("blocking")

    screen.type("/disconnect")
    await juliet.until(lambda: not juliet.sees(romeo_jid), "saw the other one leave")
    juliet.send_message(romeo_jid, "Dost thou love me?", mtype="chat")
    await juliet.plugin["xep_0199"].ping(options.domain)
    assert "Dost thou love me?" not in screen.look()
    screen.type("/connect me")
    await juliet.until(lambda: juliet.sees(romeo_jid), "saw the other one come back")
    screen.type(f"/msg {juliet_jid}")
    await screen.shows("Dost thou love me?")
    worked("offline")
    screen.type("/quit")


def trusted(folder: Path, authority: Path) -> Path:
    """Make a folder of trusted authorities with one in it, named the way OpenSSL looks it up."""
    certificate = crypto.load_certificate(crypto.FILETYPE_PEM, authority.read_bytes())
    trust = folder / "trusted"
    trust.mkdir()
    (trust / f"{certificate.subject_name_hash():08x}.0").write_bytes(authority.read_bytes())
    return trust


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(talk(arguments(__doc__).parse_args(), Path(name)))
