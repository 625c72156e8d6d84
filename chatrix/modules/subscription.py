"""RFC 6121 section 3: presence subscriptions."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable

from chatrix.api import (
    JID,
    Arriving,
    BecameAvailable,
    Blocklist,
    Element,
    Module,
    Presence,
    Roster,
    RosterItem,
    Sending,
    Stage,
    StanzaError,
    Verdict,
    on,
    send_current,
    send_unavailable,
)
from chatrix.xmpp import subscription
from chatrix.xmpp.element import parse
from chatrix.xmpp.namespaces import NS_FEATURE_PRE_APPROVAL
from chatrix.xmpp.stanza import from_tree
from chatrix.xmpp.subscription import Change, State

LONGEST_REQUEST = 4096
"""Octets in a subscription request: a greeting, a name, a token."""


class Subscription(Module):
    """Ask, approve, deny and cancel: every stanza by the tables of `chatrix.xmpp.subscription`."""

    requires = ("roster", "presence")

    def stream_features(self) -> Iterable[Element]:
        """That a request can be approved before it comes (RFC 6121 section 3.4)."""
        return (Element(NS_FEATURE_PRE_APPROVAL, "sub"),)

    # From a session of ours

    @on(Sending, Stage.RECORD, stanzas=("presence",))
    def send(self, sending: Sending) -> object:
        """Take the stanzas that manage subscriptions; they are routed from here."""
        presence = sending.stanza
        if presence.type not in subscription.TYPES:
            return None
        contact = presence.to
        if contact is None:
            raise StanzaError("modify", "bad-request", "a subscription is with somebody")
        # Subscriptions are between bare JIDs (sections 3.1.2 and 3.1.5); an error is for the session that sent this.
        routed = presence.copy()
        routed.to = contact.bare
        routed.from_ = sending.session.jid.bare
        return self._send(sending, routed, contact.bare)

    async def _send(self, sending: Sending, presence: object, contact: JID) -> Verdict:
        assert isinstance(presence, Presence)
        account = sending.account
        router = self.server.router
        if contact == account.jid:
            return Verdict.STOP
        async with self.server.rosters.between(account.jid, contact):
            async with self.server.rosters.changing(account.jid) as roster:
                if roster is None:
                    return Verdict.STOP
                before = roster.state(contact)
                change = subscription.outbound(presence.type, before)
                await self._apply(roster, contact, before, change, cancels=presence.type == "unsubscribed")
            if before.sends and presence.type == "unsubscribed":
                send_unavailable(router, account, str(contact))
            if change.passes:
                result = router.route(presence)
                if result is not None:
                    await result
            if change.state is not None and change.state.sends and not before.sends:
                send_current(router, account, str(contact))
        return Verdict.STOP

    async def _apply(
        self, roster: Roster, contact: JID, before: State, change: Change, *, cancels: bool = False
    ) -> None:
        """Bring what is stored to the state that the table says; the account itself `cancels` its approval."""
        item = roster.items.get(str(contact))
        after = change.state or before
        approved = item is not None and item.approved
        if change.approves:
            approved = True
        elif cancels or after.sends:
            approved = False
        if before.asked and not after.asked:
            await self.server.rosters.drop_request(roster, contact)
        wanted = dataclasses.replace(
            item or RosterItem(str(roster.jid), str(contact)),
            subscription=after.subscription,
            ask=after.ask,
            approved=approved,
        )
        if item is None:
            # A contact comes into the roster by what the account does, never by a request from outside.
            if not (after.ask or after.sends or approved):
                return
            limit = self.server.tiers.roster_items(roster.jid)
            if len(roster.items) >= limit.most:
                raise StanzaError("wait", "resource-constraint", f"a roster has at most {limit} contacts")
        if wanted != item:
            await self.server.rosters.save(roster, wanted)

    # To an account of ours

    @on(Arriving, Stage.SCREEN, stanzas=("presence",))
    def bound(self, arriving: Arriving) -> None:
        """A request is kept whole, and all that wait are written at every log-in: so none is long (threat L6)."""
        presence = arriving.stanza
        if presence.type == "subscribe" and len(presence.inner) > LONGEST_REQUEST:
            raise StanzaError("modify", "policy-violation", f"a request has at most {LONGEST_REQUEST} octets")

    @on(Arriving, Stage.RECORD, stanzas=("presence",))
    def arrive(self, arriving: Arriving) -> object:
        """Take the stanzas that manage subscriptions; they are delivered from here."""
        presence = arriving.stanza
        contact = presence.from_
        to = presence.to
        if presence.type not in subscription.TYPES or contact is None or to is None:
            return None
        if to.resource and presence.type != "subscribe" and to.resource not in arriving.account.sessions:
            # RFC 6121 section 8.5.3.2.2: only a request is taken for a resource that is not there.
            return Verdict.STOP
        presence.to = arriving.account.jid
        presence.from_ = contact.bare
        return self._arrive(arriving.account.jid, presence, contact.bare)

    async def _arrive(self, jid: JID, presence: object, contact: JID) -> Verdict:
        assert isinstance(presence, Presence)
        async with self.server.rosters.changing(jid) as roster:
            if roster is None or contact == jid:
                return Verdict.STOP
            before = roster.state(contact)
            item = roster.items.get(str(contact))
            change = subscription.inbound(presence.type, before, item is not None and item.approved)
            after = change.state or before
            if (
                after.asked
                and not before.asked
                and not await self.server.rosters.keep_request(roster, contact, presence)
            ):
                return Verdict.STOP
            if change.passes:
                self._deliver(jid, presence)
            if change.state is not None:
                await self._apply(roster, contact, before, change)
        account = self.server.directory.account(jid)
        if before.sends and not after.sends and account is not None:
            send_unavailable(self.server.router, account, str(contact))
        if change.answer:
            answer = Presence({"from": str(jid), "to": str(contact), "type": change.answer})
            if presence.id:
                answer.id = presence.id
            done = self.server.router.send_answer(answer)
            if done is not None and self.server.directory.serves(contact.domain):
                await done
        if after.sends and not before.sends and account is not None:
            send_current(self.server.router, account, str(contact))
        return Verdict.STOP

    def _deliver(self, jid: JID, presence: Presence) -> None:
        """A request to the available sessions (section 3.1.3), what changes the roster to the interested ones."""
        account = self.server.directory.account(jid)
        for session in account.sessions.values() if account is not None else ():
            wants = session.presence is not None if presence.type == "subscribe" else session.interested
            if wants:
                session.write(presence)

    @on(BecameAvailable)
    async def repeat_requests(self, fact: BecameAvailable) -> None:
        """With each new available session requests come again until they are answered, and go again (section 3.1)."""
        session = fact.session
        roster = await self.server.rosters.of(session.jid) if fact.first else None
        if roster is None:
            return
        blocklist: Blocklist | None = session.account.state(Blocklist)
        for contact, raw in list(roster.requests.items()):
            if blocklist is None or not blocklist.blocks(JID.parse(contact)):
                session.write(from_tree(parse(raw)))
        for item in list(roster.items.values()):
            if item.ask and not self.server.directory.serves(JID.parse(item.jid).domain):
                # Section 3.1.2: the first one may have been lost on its way, and nobody was told.
                attributes = {"from": str(roster.jid), "to": item.jid, "id": secrets.token_hex(8), "type": "subscribe"}
                self.server.router.send_answer(Presence(attributes))
