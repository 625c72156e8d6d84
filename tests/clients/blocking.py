"""Two people with slixmpp: one blocks and reports the other, sees that on all clients, and takes it back.

A script for test_blocking.py: prints a line for each thing that worked, and ends with a traceback at the first one that
did not. `python -m tests.clients.blocking --help`
"""

import asyncio
from argparse import Namespace
from functools import partial
from typing import Any

from tests.clients.conversation import are_contacts, ask_and_approve, worked
from tests.clients.person import Person, arguments


class Blocker(Person):
    """A client that asks for its block list when it comes, and hears of changes."""

    def __init__(self, jid: str, options: Namespace) -> None:
        super().__init__(jid, options)
        for number in ("0191", "0377"):
            self.register_plugin(f"xep_{number}")
        self.pushes: list[tuple[str, list[str]]] = []
        for name in ("block", "unblock"):
            self.add_event_handler(f"{name}ed", partial(self._pushed, name))

    async def blocked(self) -> set[str]:
        """Ask for the list."""
        return {str(jid) for jid in await self.plugin["xep_0191"].get_blocked_jids()}

    async def hears(self, what: str) -> None:
        """Wait for a push. Raises: TimeoutError."""
        await self.until(lambda: self.pushes, f"heard of {what}")

    def _pushed(self, name: str, push: Any) -> None:
        self._keep(self.pushes, (name, [str(item["jid"]) for item in push[name]]))


async def block(options: Namespace) -> None:
    romeo_jid, juliet_jid = f"romeo@{options.domain}", f"juliet@{options.domain}"
    romeo, juliet = Blocker(f"{romeo_jid}/orchard", options), Blocker(f"{juliet_jid}/balcony", options)
    chamber = Blocker(f"{juliet_jid}/chamber", options)
    await asyncio.gather(romeo.log_in(), juliet.log_in(), chamber.log_in())
    await ask_and_approve(romeo, juliet)
    await ask_and_approve(juliet, romeo)
    for one, other in ((romeo, juliet_jid), (juliet, romeo_jid)):
        await one.until(partial(are_contacts, one, other), "saw the other one as a contact")
    info = await juliet.plugin["xep_0030"].get_info(options.domain)
    assert {"urn:xmpp:blocking", "urn:xmpp:reporting:1"} <= set(info["disco_info"]["features"]), info
    assert await juliet.blocked() == await chamber.blocked() == set()
    worked("empty list")

    await juliet.plugin["xep_0191"].block([romeo_jid, "iago@shakespeare.example"])
    wanted = {romeo_jid, "iago@shakespeare.example"}
    for one in (juliet, chamber):
        await one.hears("the block")
        assert one.pushes == [("block", [romeo_jid, "iago@shakespeare.example"])], one.pushes
        assert await one.blocked() == wanted
    await romeo.until(lambda: not romeo.sees(juliet_jid), "saw the other one leave")
    worked("blocked")

    assert await romeo.in_vain(juliet_jid, "Wilt thou leave me so unsatisfied?") == "service-unavailable", romeo.errors
    assert await juliet.in_vain(romeo_jid, "Can you hear me now?") == "not-acceptable", juliet.errors
    assert juliet.errors[0].xml.find(".//{urn:xmpp:blocking:errors}blocked") is not None
    assert not juliet.messages and not romeo.messages
    worked("nothing comes through")

    await juliet.plugin["xep_0377"].report("spam@shakespeare.example", "spam")
    assert await juliet.blocked() == wanted | {"spam@shakespeare.example"}
    worked("reported")

    await chamber.plugin["xep_0191"].unblock(romeo_jid)
    await romeo.until(lambda: romeo.sees(juliet_jid), "saw the other one come back")
    romeo.send_message(juliet_jid, "Good morrow", mtype="chat")
    await juliet.read("Good morrow")
    assert juliet.pushes[-1] == ("unblock", [romeo_jid]), juliet.pushes
    worked("unblocked")
    await asyncio.gather(romeo.log_off(), juliet.log_off(), chamber.log_off())


if __name__ == "__main__":
    asyncio.run(block(arguments(__doc__).parse_args()))
