"""Two people with slixmpp: log in, become contacts, talk both ways, go away, read later what was said meanwhile.

A script for test_slixmpp.py: prints a line for each thing that worked, and ends with a traceback at the first one that
did not. `python -m tests.clients.conversation --help`
"""

import asyncio
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path

from tests.certificates import leaf
from tests.clients.person import Person, Refused, arguments


def worked(what: str, detail: str = "") -> None:
    print(what, detail, sep=": ", flush=True)  # noqa: T201 - the script's output is its result


async def talk(options: Namespace) -> None:
    romeo_jid, juliet_jid = f"romeo@{options.domain}", f"juliet@{options.domain}"
    romeo, juliet = Person(f"{romeo_jid}/orchard", options), Person(f"{juliet_jid}/balcony", options)
    await asyncio.gather(romeo.log_in(), juliet.log_in())
    tls = romeo.transport.get_extra_info("ssl_object").version()
    worked("log in", f"{tls} {romeo.plugin['feature_mechanisms'].mech.name}")

    await ask_and_approve(romeo, juliet)
    await ask_and_approve(juliet, romeo)
    for one, other in ((romeo, juliet_jid), (juliet, romeo_jid)):
        await one.until(partial(are_contacts, one, other), "saw the other one as a contact")
    worked("contacts")

    romeo.send_message(juliet_jid, "Shall I hear more? <é ☃ & 𝄞>", mtype="chat")
    question = await juliet.read("Shall I hear more? <é ☃ & 𝄞>")
    question.reply("What man art thou?").send()
    answer = await romeo.read("What man art thou?")
    assert answer["from"].full == f"{juliet_jid}/balcony", answer["from"]
    worked("chat")

    ping = await romeo.plugin["xep_0199"].ping(options.domain)
    version = (await romeo.plugin["xep_0092"].get_version(options.domain))["software_version"]["name"]
    info = await romeo.plugin["xep_0030"].get_info(options.domain)
    assert "urn:xmpp:ping" in info["disco_info"]["features"], info
    worked("ask the server", f"{version} in {ping:.3f} s")

    await juliet.log_off()
    await romeo.until(lambda: not romeo.sees(juliet_jid), "saw the other one leave")
    romeo.send_message(juliet_jid, "Parting is such sweet sorrow", mtype="chat")
    romeo.send_message(juliet_jid, "That I shall say good night till it be morrow", mtype="chat")
    await romeo.plugin["xep_0199"].ping(options.domain)
    juliet = Person(f"{juliet_jid}/chamber", options)
    await juliet.log_in()
    first = await juliet.read("Parting is such sweet sorrow")
    await juliet.read("That I shall say good night till it be morrow")
    assert first["delay"]["stamp"] is not None, first
    assert juliet.subscription(romeo_jid) == "both"
    await romeo.until(lambda: romeo.sees(juliet_jid), "saw the other one come back")
    worked("offline", str(first["delay"]["stamp"]))
    await asyncio.gather(romeo.log_off(), juliet.log_off())

    await expect_refusal(Person(romeo_jid, options, password="not the password"), "failed_all_auth")
    worked("wrong password refused")
    with tempfile.TemporaryDirectory() as folder:
        stranger = Path(folder) / "stranger.pem"
        stranger.write_bytes(leaf(options.domain).authority_pem)
        await expect_refusal(Person(romeo_jid, options, authority=str(stranger)), "ssl_invalid_chain")
    worked("unknown authority refused")


async def ask_and_approve(asker: Person, asked: Person) -> None:
    asker.send_presence_subscription(pto=asked.boundjid.bare)
    await asked.until(lambda: asker.boundjid.bare in asked.requests, "asked")
    asked.send_presence_subscription(pto=asker.boundjid.bare, ptype="subscribed")


def are_contacts(person: Person, other: str) -> bool:
    return person.subscription(other) == "both" and person.sees(other)


async def expect_refusal(person: Person, why: str) -> None:
    try:
        await person.log_in()
    except Refused as refused:
        assert str(refused) in {why, "connection_failed"}, refused
        return
    finally:
        await person.log_off()
    raise AssertionError(f"{person.boundjid} was let in")


if __name__ == "__main__":
    asyncio.run(talk(arguments(__doc__).parse_args()))
