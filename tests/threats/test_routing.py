"""Threats C-S and R, as far as they concern clients and what is built: routing, roster, presence, administration.

Elsewhere: C-S7 in tests/xmpp/test_subscription.py, R11 also in tests/admin/test_control.py. Not here, because it does
not exist yet: C-S2's occupants, carbons and stanza-ids, C-S3, C-S4, C-S8 beyond what tests/modules has, C-S11 between
components, R1 to R5 and R7 (registration, invitations), R6, R8 and R10 (ad-hoc commands, announcements).
"""

import re
import stat

from lxml import etree

from tests.threats.oracle import Threat
from tests.threats.raw import RawClient, condition, stream_error

ROSTER = "jabber:iq:roster"


class RoutingThreats(Threat):
    """One server for the table."""

    def logged_in(self, user: str, resource: str = "raw", *, available: bool = True) -> RawClient:
        """A client with a bound resource, available unless it should not be."""
        client = self.connect().log_in(user, resource=resource)
        if available:
            client.send(b"<presence/>")
            client.barrier()
        return client

    def test_cs1_from(self) -> None:
        """A `from` that is not one's own ends the stream, and what it stood on goes nowhere."""
        bob = self.logged_in("bob")
        self.logged_in("alice", "other")
        for claimed in (
            "bob@a.test",
            "bob@a.test/raw",
            "alice@a.test/other",
            "alice@b.test",
            "alice@b.test/raw",
            "a.test",
            "alice@a.test@a.test",
            "",
            "alice@a.test/",
            "alicе@a.test",
        ):
            for stanza in (
                "<message from='{}' to='bob@a.test' type='chat'><body>x</body></message>",
                "<presence from='{}' to='bob@a.test'/>",
                "<iq from='{}' type='get' id='1' to='bob@a.test/raw'><ping xmlns='urn:xmpp:ping'/></iq>",
            ):
                alice = self.logged_in("alice", available=False)
                alice.send(stanza.format(claimed))
                self.assertEqual((claimed, stream_error("invalid-from")), (claimed, alice.rest()))
        self.assertEqual([], bob.barrier())
        alice = self.logged_in("alice", available=False)
        for claimed in ("alice@a.test", "ALICE@a.test", "alice@a.test/raw"):
            alice.send(f"<message from='{claimed}' to='bob@a.test' type='chat'><body>x</body></message>")
            self.assertEqual("alice@a.test/raw", bob.element().get("from"))

    def test_cs5_who_is_there(self) -> None:
        """Somebody without a subscription cannot tell a resource that is there from one that is not."""
        bob = self.logged_in("bob", "phone")
        alice = self.logged_in("alice")
        for payload in (
            "<ping xmlns='urn:xmpp:ping'/>",
            "<query xmlns='jabber:iq:version'/>",
            "<query xmlns='jabber:iq:last'/>",
            "<time xmlns='urn:xmpp:time'/>",
            "<vCard xmlns='vcard-temp'/>",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        ):
            answers = set()
            for resource in ("phone", "none"):
                alice.send(f"<iq type='get' id='q' to='bob@a.test/{resource}'>{payload}</iq>")
                answers.add(etree.tostring(alice.answer("q")).replace(resource.encode(), b"R"))
            self.assertEqual(1, len(answers))
        self.assertEqual([], bob.barrier())
        probed = {}
        for name in ("bob@a.test", "bob@a.test/phone", "bystander@a.test", "nobody@a.test", "nobody@a.test/raw"):
            alice.send(f"<presence type='probe' to='{name}'/>")
            probed[name] = [
                etree.tostring(each).decode().replace(name.partition("@")[0], "N") for each in self.settled(alice)
            ]
        self.assertEqual(1, len({tuple(each) for each in probed.values()}), probed)

    def settled(self, client: RawClient) -> list[etree._Element]:
        """What has come when everything that waits for the database has come back."""
        found = client.barrier()
        client.send(f"<iq type='get' id='settled'><query xmlns='{ROSTER}'/></iq>")
        while (element := client.element()).get("id") != "settled":
            found.append(element)
        return found

    def test_cs5_directed(self) -> None:
        """Whoever got directed presence, and nobody else, is told when it ends."""
        bob, stranger = self.logged_in("bob"), self.logged_in("u1")
        alice = self.logged_in("alice", available=False)
        alice.send(b"<presence to='bob@a.test'/>")
        self.assertIsNone(bob.element().get("type"))
        alice.close()
        gone = bob.element()
        self.assertEqual(("unavailable", "alice@a.test/raw"), (gone.get("type"), gone.get("from")))
        self.assertEqual([], stranger.barrier())

    def test_cs6_roster(self) -> None:
        """A roster is its owner's: nobody else's requests, no forged pushes, and no subscription by saying so."""
        bob = self.logged_in("bob", available=False)
        alice = self.logged_in("alice", available=False)
        for kind in ("get", "set"):
            for to in ("bob@a.test", "nobody@a.test"):
                alice.send(
                    f"<iq type='{kind}' id='r' to='{to}'><query xmlns='{ROSTER}'><item jid='eve@a.test'/></query></iq>"
                )
                self.assertEqual(("auth", "forbidden"), condition(alice.answer("r")))
        bob.send(f"<iq type='get' id='r'><query xmlns='{ROSTER}'/></iq>")
        self.assertEqual(0, len(bob.answer("r")[0]))
        alice.send(f"<iq type='get' id='r'><query xmlns='{ROSTER}'/></iq>")
        alice.answer("r")
        alice.send(
            f"<iq type='set' id='s'><query xmlns='{ROSTER}'>"
            f"<item jid='bob@a.test' subscription='both' ask='subscribe' approved='true'/></query></iq>"
        )
        push = next(each for each in (alice.element(), alice.element()) if each.get("type") == "set")
        self.assertIn(push.get("from"), (None, "alice@a.test"))
        item = push[0][0]
        self.assertEqual(("none", None, None), (item.get("subscription"), item.get("ask"), item.get("approved")))
        # A client that makes a push of its own for somebody else reaches nobody.
        alice.send(
            f"<iq type='set' id='p' to='bob@a.test/raw'><query xmlns='{ROSTER}'><item jid='eve@a.test'/></query></iq>"
        )
        self.assertEqual(("cancel", "service-unavailable"), condition(alice.answer("p")))
        self.assertEqual([], bob.barrier())

    def test_cs9_addresses(self) -> None:
        """Nowhere in what others get is the address of a client."""
        bob = self.logged_in("bob")
        alice = self.connect("127.66.77.88").log_in("alice")
        alice.send(
            "<presence to='bob@a.test/raw'/><message to='bob@a.test/raw' type='chat'><body>x</body></message>"
            "<iq type='get' id='1' to='bob@a.test/none'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        for namespace, name in (
            ("jabber:iq:version", "query"),
            ("urn:xmpp:time", "time"),
            ("http://jabber.org/protocol/disco#info", "query"),
            ("http://jabber.org/protocol/disco#items", "query"),
        ):
            alice.send(f"<iq type='get' id='x' to='a.test'><{name} xmlns='{namespace}'/></iq>")
        seen = b"".join(etree.tostring(each) for each in [*alice.barrier(), *bob.barrier()])
        self.assertIn(b"<", seen)
        self.assertEqual([], re.findall(rb"127\.\d+\.\d+\.\d+", seen))

    def test_cs10_answers_nobody_asked_for(self) -> None:
        """Results and errors for requests that were never made are ignored, whomever they pretend to answer."""
        bob = self.logged_in("bob", available=False)
        alice = self.logged_in("alice", available=False)
        for to in ("", " to='a.test'", " to='alice@a.test'", " to='bob@a.test'", " to='nobody@a.test'"):
            for kind in ("result", "error"):
                alice.send(
                    f"<iq type='{kind}' id='1'{to}><query xmlns='{ROSTER}'><item jid='eve@a.test'/></query></iq>"
                )
        self.assertEqual([], alice.barrier())
        self.assertEqual([], bob.barrier())

    def test_cs11_no_answer_to_an_answer(self) -> None:
        """An error is never answered, wherever it was sent."""
        alice = self.logged_in("alice", available=False)
        for to in (
            "nobody@a.test",
            "nobody@a.test/x",
            "a.test",
            "a.test/x",
            "other.test",
            "bob@other.test/x",
            "alice@a.test/x",
        ):
            for name in ("message", "presence", "iq"):
                alice.send(f"<{name} type='error' id='e' to='{to}'><error type='cancel'/></{name}>")
        self.assertEqual([], self.settled(alice))

    def test_r11_files(self) -> None:
        """What the server keeps is for its own user alone: the control socket, the secret, the database."""
        state = self.server.folder / "var"
        for name in ("control.sock", "secret", "chatrix.sqlite"):
            mode = stat.S_IMODE((state / name).stat().st_mode)
            self.assertEqual(0, mode & 0o077, f"{name}: {mode:o}")
