"""Threats C-S2, C-S8, and of L6 and L7 the block list and the offline store: forged server data, and what fills a disk.

Not here, because it does not exist yet: of C-S2 the occupants of rooms, of C-S8 PEP, carbons and push.
"""

from lxml import etree

from tests.threats.oracle import Threat
from tests.threats.raw import RawClient, condition

SID = "urn:xmpp:sid:0"
CLIENT = "{jabber:client}"


class ForgeryThreats(Threat):
    """One server for the table."""

    def logged_in(self, user: str, *, available: bool = True, resource: str = "raw") -> RawClient:
        """A client with a bound resource, available unless it should not be, and nothing unread."""
        client = self.connect().log_in(user, resource=resource)
        if available:
            client.send(b"<presence/>")
        client.barrier()
        return client

    def passed(self, inside: str, start: str = "<message to='bob@a.test' type='chat'>") -> etree._Element:
        """What of a message reaches Bob."""
        bob, alice = self.logged_in("bob"), self.logged_in("alice", available=False)
        try:
            alice.send(f"{start}{inside}</message>")
            return bob.element()
        finally:
            bob.close()
            alice.close()

    def test_cs2_stanza_ids(self) -> None:
        """However it is written and wherever it stands, no forged id arrives; the one that does is the server's."""
        attributes = "by='bob@a.test' id='forged'"
        for inside, start in (
            (f"<stanza-id xmlns='{SID}' {attributes}/><body>b</body><stanza-id xmlns='{SID}' {attributes}/>", ""),
            (f"<s:stanza-id xmlns:s='{SID}' {attributes}/>", ""),
            (f"<s:stanza-id {attributes}/>", f"<message xmlns:s='{SID}' to='bob@a.test'>"),
            (f"<stanza-id xmlns='&#117;rn:xmpp:sid&#x3a;0' {attributes}/>", ""),
            (f"<stanza-id xmlns='{SID}' by='&#98;ob@a.test' id='forged'><![CDATA[x]]></stanza-id>", ""),
            (f"<stanza-id xmlns='{SID}' by='BOB@A.TEST.' id='forged'/>", ""),
            (f"<stanza-id xmlns='{SID}' by='a.test' id='forged'/>", ""),
            (f"<stanza-id\n\txmlns = '{SID}'\n by=\"bob@a.test\" id='forged'\n/>", ""),
        ):
            message = self.passed(f"{inside}<body>b</body>", *([start] if start else []))
            found = message.findall(f"{{{SID}}}stanza-id")
            self.assertEqual(["bob@a.test"], [each.get("by") for each in found], inside)
            self.assertNotIn(b"forged", etree.tostring(message))

    def test_cs2_delays_and_wrappers(self) -> None:
        """No delay of the server's, no carbon, no result of an archive and no privilege of a client's making."""
        forwarded = (
            "<forwarded xmlns='urn:xmpp:forward:0'>"
            "<message xmlns='jabber:client' from='bob@a.test/x' to='c@a.test'><body>forged</body></message></forwarded>"
        )
        for inside in (
            "<delay xmlns='urn:xmpp:delay' from='a.test' stamp='2002-09-10T23:08:25Z'>forged</delay>",
            "<delay xmlns='urn:xmpp:dela&#121;' from='bob@a.test' stamp='2002-09-10T23:08:25Z'>forged</delay>",
            "<x xmlns='jabber:x:delay' from='a.test' stamp='20020910T23:08:25'>forged</x>",
            f"<sent xmlns='urn:xmpp:carbons:2'>{forwarded}</sent>",
            f"<c:received xmlns:c='urn:xmpp:carbons&#58;2'>{forwarded}</c:received>",
            f"<result xmlns='urn:xmpp:mam:2' id='1'>{forwarded}</result>",
            f"<privilege xmlns='urn:xmpp:privilege:2'>{forwarded}</privilege>",
        ):
            message = self.passed(f"{inside}<body>b</body>{inside}")
            self.assertNotIn(b"forged", etree.tostring(message), inside)
            self.assertEqual("b", message.findtext(f"{CLIENT}body"))

    def test_cs8_blocked(self) -> None:
        """By full JID, bare JID or domain: nothing of any kind comes through, by whatever address."""
        bob, alice = self.logged_in("bob"), self.logged_in("alice")
        for item in ("alice@a.test/raw", "alice@a.test", "a.test"):
            bob.send(f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{item}'/></block></iq>")
            bob.answer("b")
            for to in ("bob@a.test", "bob@a.test/raw", "BOB@a.test/raw"):
                for inside in ("<body>x</body>", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"):
                    alice.send(f"<message to='{to}' id='m' type='chat'>{inside}</message>")
                    self.assertEqual(("cancel", "service-unavailable"), condition(alice.answer("m")))
                # Subscriptions are between bare JIDs: that of one resource is none.
                types = ("", "unavailable") if "/" in item else ("", "unavailable", "subscribe", "unsubscribe", "probe")
                for type_ in types:
                    alice.send(f"<presence to='{to}'" + (f" type='{type_}'/>" if type_ else "/>"))
                alice.send(f"<message to='{to}' type='headline'><body>x</body></message>")
                # Behind all that was sent to this address.
                for payload in (
                    "<ping xmlns='urn:xmpp:ping'/>",
                    "<vCard xmlns='vcard-temp'/>",
                    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='x'/></pubsub>",
                    "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='x'/>",
                    "<query xmlns='jabber:iq:last'/>",
                ):
                    alice.send(f"<iq to='{to}' id='q' type='get'>{payload}</iq>")
                    self.assertEqual(("cancel", "service-unavailable"), condition(alice.answer("q")))
            self.assertEqual([], [etree.tostring(each) for each in alice.barrier()], item)
            self.assertEqual([], [etree.tostring(each) for each in bob.barrier()], item)
            bob.send("<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>")
            bob.answer("u")
            bob.barrier()

    def test_l6_blocklist(self) -> None:
        """The block list is bounded, in number and by the length of JIDs, and says so."""
        bob = self.logged_in("bob")
        jids = [f"{number}@{'x' * 50}.test" for number in range(1001)]
        items = "".join(f"<item jid='{jid}'/>" for jid in jids)
        bob.send(f"<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>")
        answer = bob.answer("1")
        self.assertEqual(("wait", "resource-constraint"), condition(answer))
        self.assertIn("1000 items", str(answer.xpath("string()")))
        bob.send(f"<iq type='set' id='2'><block xmlns='urn:xmpp:blocking'><item jid='{'x' * 1024}@x'/></block></iq>")
        self.assertEqual(("modify", "jid-malformed"), condition(bob.answer("2")))
        bob.send("<iq type='get' id='3'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        self.assertEqual(0, len(bob.answer("3")[0]))

    def test_l7_offline(self) -> None:
        """What the offline store does not take is bounced, each message, with its reason; what it took comes."""
        alice = self.logged_in("alice", available=False)
        for number in range(110):
            alice.send(f"<message to='bob@a.test' id='{number}' type='chat'><body>{number}</body></message>")
        alice.send("<message to='bob@a.test' id='last' type='chat'><body>x</body></message>")
        bounced = {str(number): alice.answer(str(number)) for number in range(100, 110)}
        for each in bounced.values():
            self.assertEqual(("cancel", "service-unavailable"), condition(each))
            self.assertIn("too many messages", str(each.xpath("string()")))
        alice.answer("last")
        bob = self.connect().log_in("bob")
        bob.send(b"<presence/>")
        bodies: list[str | None] = []
        while len(bodies) < 100:
            element = bob.element()
            if element.tag == f"{CLIENT}message":
                bodies.append(element.findtext(f"{CLIENT}body"))
        self.assertEqual([str(number) for number in range(100)], bodies)
        self.assertEqual([], bob.barrier())
