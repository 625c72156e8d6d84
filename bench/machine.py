"""How fast this machine is, in the one figure that was also taken where the budgets were set."""

import time
from xml.parsers.expat import ParserCreate

REFERENCE_US = 1.7
"""Expat alone, no handlers, per chat message: the floor of parsing in the table the budgets come from."""
MESSAGES = 20_000
MESSAGE = (
    b"<message to='u1@bench.localhost' id='5c1f7a30-0007-00000b2c' type='chat'><body>XL:5c1f7a30:7:b2c:18f3a2b4c5d6e;"
    b"the quick brown fox jumps over the lazy dog while the band plays on the quick brown fox</body>"
    b"<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>"
    b"<markable xmlns='urn:xmpp:chat-markers:0'/>"
    b"<origin-id xmlns='urn:xmpp:sid:0' id='5c1f7a30-0007-00000b2c-5c1f7a30'/></message>"
)


def parse_us() -> float:
    """CPU microseconds that expat takes for one message."""
    parser = ParserCreate()
    parser.Parse(b"<stream>")
    begun = time.process_time()
    for _ in range(MESSAGES):
        parser.Parse(MESSAGE)
    return (time.process_time() - begun) * 1e6 / MESSAGES


def compared(here_us: float) -> str:
    """The figure in words, for below the table."""
    return (
        f"this machine: expat alone takes {here_us:g} us per message; {REFERENCE_US:g} where the budgets were set "
        f"(times {here_us / REFERENCE_US:.2g})"
    )
