"""What is worth keeping: every type with every kind of content and every hint."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import TestCase

from chatrix.xmpp.keeping import is_archived, says_something, waits
from chatrix.xmpp.stanza import Message

STATE = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
CONTENTS = {
    "<body>b</body>": True,
    "<body/>": True,
    f"{STATE}<body>b</body>": True,
    "<subject>s</subject>": True,
    "<encrypted xmlns='eu.siacs.conversations.axolotl'/>": True,
    "<encrypted xmlns='urn:xmpp:omemo:2'/>": True,
    "<openpgp xmlns='urn:xmpp:openpgp:0'/>": True,
    "<received xmlns='urn:xmpp:receipts' id='1'/>": True,
    "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>": True,
    "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>": True,
    "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>": True,
    STATE: False,
    f"<thread>t</thread>{STATE}": False,
    f"{STATE}<origin-id xmlns='urn:xmpp:sid:0' id='1'/>": False,
    "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>": False,
    "": False,
}
TYPES = {"": True, "normal": True, "chat": True, "strange": True, "groupchat": False, "headline": False, "error": False}
HINTS = ("store", "no-store", "no-permanent-store", "no-copy")


def message(type_: str, content: str, hints: tuple[str, ...]) -> Message:
    """A message."""
    raw = content + "".join(f"<{hint} xmlns='urn:xmpp:hints'/>" for hint in hints)
    return Message({"type": type_} if type_ else {}, f"{raw}</message>".encode() if raw else b"")


class Keeping(TestCase):
    """The whole table."""

    def test_table(self) -> None:
        """Type first, then `no-store`, then `store`, then the content (XEP-0160 section 3, XEP-0334 section 4)."""
        sets = [hints for size in range(3) for hints in itertools.combinations(HINTS, size)]
        for (type_, kept), (content, says), hints in itertools.product(TYPES.items(), CONTENTS.items(), sets):
            each = message(type_, content, hints)
            self.assertEqual(says, says_something(each), (content, hints))
            wanted = kept and "no-store" not in hints and (says or "store" in hints or each.inner == b"")
            self.assertEqual(wanted, waits(each), (type_, content, hints))
            archived = kept and not {"no-store", "no-permanent-store"} & {*hints} and (says or "store" in hints)
            self.assertEqual(archived, is_archived(each), (type_, content, hints))
