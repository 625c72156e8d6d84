"""RFC 6121 section 4: presence."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from chatrix.api import (
    JID,
    Arriving,
    BecameAvailable,
    BecameUnavailable,
    Module,
    Presence,
    Roster,
    Sending,
    Session,
    SessionEnded,
    Stage,
    Stanza,
    StanzaError,
    Verdict,
    on,
    send_current,
    send_to,
    unavailable,
)
from chatrix.xmpp import subscription
from chatrix.xmpp.timestamps import delay

TYPES = ("", "unavailable", "probe", "error", *subscription.TYPES)
MOST_DIRECTED = 5000
"Entities that a session may send directed presence to; rooms are among them."


class PresenceModule(Module):
    """Broadcast presence, answer probes, and keep from strangers who is there."""

    requires = ("roster",)

    # From a session of ours

    @on(Sending, Stage.RECORD, stanzas=("presence",))
    def send(self, sending: Sending) -> object:
        """Take broadcasts; note whom directed presence goes to, and let it go there."""
        presence, session = sending.stanza, sending.session
        type = presence.type
        if type not in TYPES:
            raise StanzaError("modify", "bad-request", "there is no presence of this type")
        if "to" in presence.attributes:
            if type in ("", "unavailable"):
                self._note_directed(session, presence)
            elif type == "probe" and presence.to is not None and presence.to.is_bare:
                # Subscriptions are between bare JIDs; who asks after one resource had directed presence (section 4.3).
                presence.from_ = session.jid.bare
            return None
        if type not in ("", "unavailable"):
            return Verdict.STOP
        roster = self.server.rosters.known(session.account)
        if roster is None or roster.lock.locked:
            return self._broadcast_later(session, presence)
        self._broadcast(session, presence, roster)
        return Verdict.STOP

    def _note_directed(self, session: Session, presence: Stanza) -> None:
        """Section 4.6: who got directed presence gets the end of it, too."""
        to = presence.to
        assert to is not None
        if presence.type == "unavailable":
            if session.directed is not None:
                session.directed.pop(str(to), None)
            return
        if session.directed is None:
            session.directed = {}
        if str(to) not in session.directed and len(session.directed) >= MOST_DIRECTED:
            raise StanzaError("wait", "resource-constraint", "directed presence to too many")
        session.directed[str(to)] = to

    async def _broadcast_later(self, session: Session, presence: Stanza) -> Verdict:
        # After what is being changed: who sends `unsubscribed` first is not seen by that contact any more.
        async with self.server.rosters.changing(session.jid) as roster:
            if roster is not None and self.server.directory.session(session.jid) is session:
                self._broadcast(session, presence, roster)
        return Verdict.STOP

    def _broadcast(self, session: Session, presence: Stanza, roster: Roster) -> None:
        assert isinstance(presence, Presence)
        if presence.type == "unavailable":
            known = session.presence is not None
            session.presence = None
            if known:
                self.server.occurred(BecameUnavailable(session, presence))
            self._broadcast_end(session, presence, roster if known else None)
            return
        first = session.presence is None
        able_before = not first and session.priority >= 0
        session.presence = presence
        session.priority = presence.priority
        send_to(self.server.router, presence, roster.subscribers)
        self._tell_own(session, presence)
        if first:
            self._greet(session, roster)
        if first or (session.priority >= 0 and not able_before):
            self.server.occurred(BecameAvailable(session, presence, first))

    def _broadcast_end(self, session: Session, presence: Presence, roster: Roster | None) -> None:
        """Tell all who saw the session that it is gone (section 4.5); no `roster`: only who got directed presence."""
        directed, session.directed = session.directed or {}, None
        contacts = dict.fromkeys(roster.subscribers if roster is not None else ())
        if roster is not None:
            contacts[str(session.jid.bare)] = None
        contacts.update(dict.fromkeys(text for text, jid in directed.items() if str(jid.bare) not in contacts))
        contacts.pop(str(session.jid.bare), None)
        send_to(self.server.router, presence, contacts)
        if roster is not None:
            self._tell_own(session, presence)

    def _tell_own(self, session: Session, presence: Presence) -> None:
        """An account is subscribed to itself (section 4.2.2): its available sessions, and the one that sent this."""
        copy = presence.copy()
        copy.to = session.jid.bare
        told = session.account.available
        if session not in told and session.account.sessions.get(session.jid.resource) is session:
            told = [*told, session]
        for other in told:
            other.write(copy)

    def _greet(self, session: Session, roster: Roster) -> None:
        """A new available session learns who else is: its siblings, and by probes its contacts (section 4.3.1)."""
        for other in session.account.available:
            if other is not session and other.presence is not None:
                copy = other.presence.copy()
                copy.to = session.jid
                session.write(copy)
        for contact in roster.subscriptions:
            jid = JID.parse(contact)
            sender = session.jid.bare
            if self.server.directory.serves(jid.domain):
                if self.server.directory.account(jid) is None:
                    # Ours, and not connected: the client takes it for unavailable without being told so for each of
                    # its contacts (section 4.3.1); whoever probes is answered with the last status.
                    continue
                # Nobody sees this probe but we: the answer is for the one who does not know it yet.
                sender = session.jid
            send_to(self.server.router, Presence({"from": str(sender), "type": "probe"}), (contact,))

    @on(SessionEnded)
    def end(self, fact: SessionEnded) -> object:
        """A stream ended without unavailable presence: the server says it (section 4.5.2)."""
        session = fact.session
        if fact.presence is None and not session.directed:
            return None
        return self._end(session, fact.presence is not None)

    async def _end(self, session: Session, known: bool) -> None:
        roster = await self.server.rosters.of(session.jid) if known else None
        self._broadcast_end(session, unavailable(session), roster)

    # To an account of ours

    @on(Arriving, Stage.RECORD, stanzas=("presence",))
    def arrive(self, arriving: Arriving) -> object:
        """Answer probes; forget directed presence to those who leave."""
        presence = arriving.stanza
        type = presence.type
        if type not in TYPES:
            raise StanzaError("modify", "bad-request", "there is no presence of this type")
        if type == "probe":
            return self._probed(arriving)
        if type == "unavailable" and presence.from_ is not None:
            for session in arriving.account.sessions.values():
                if session.directed is not None:
                    session.directed.pop(str(presence.from_), None)
        return None

    def _probed(self, arriving: Arriving) -> object:
        """Section 4.3.2; whom the account does not let see its presence is answered when the answer is sure."""
        sender = arriving.stanza.from_
        if sender is None:
            return Verdict.STOP
        roster = self.server.rosters.known(arriving.account)
        if roster is None or not roster.lets_see(sender):
            return self._answer_later(arriving, sender)
        if self._is_absent(arriving):
            return self._answer_absent(arriving, sender)
        self._answer_probe(arriving, sender, roster)
        return Verdict.STOP

    async def _answer_later(self, arriving: Arriving, sender: JID) -> Verdict:
        # "unsubscribed" ends the sender's subscription: it must not cross the approval.
        async with self.server.rosters.between(arriving.account.jid, sender):
            async with self.server.rosters.changing(arriving.account.jid) as roster:
                if roster is not None and not self._directed(arriving, sender):
                    # To the sender's server it denies the request that may wait here.
                    await self.server.rosters.drop_request(roster, sender)
            if roster is not None and roster.lets_see(sender) and self._is_absent(arriving):
                return await self._answer_absent(arriving, sender)
            done = self._answer_probe(arriving, sender, roster)
            if done is not None and self.server.directory.serves(sender.domain):
                await done
        return Verdict.STOP

    def _is_absent(self, arriving: Arriving) -> bool:
        to = arriving.stanza.to
        account = self.server.directory.account(arriving.account.jid)
        return to is not None and not to.resource and (account is None or not account.available)

    async def _answer_absent(self, arriving: Arriving, sender: JID) -> Verdict:
        """Rule 3: nobody is there; since when, and what the account said then."""
        probe, account = arriving.stanza, arriving.account
        seen = await self.server.last_seen.of(self.server.directory.account(account.jid) or account)
        if self._is_absent(arriving):
            answer = Presence({"from": str(account.jid), "type": "unavailable", **_id_of(probe)})
            if seen is not None:
                answer.append(seen.status)
                answer.append(delay(account.jid.domain, seen.at))
            send_to(self.server.router, answer, (str(sender),))
        elif (current := self.server.directory.account(account.jid)) is not None:
            # Somebody came while we waited; "unavailable" would be the last that the sender hears.
            send_current(self.server.router, current, str(sender))
        return Verdict.STOP

    def _answer_probe(self, arriving: Arriving, sender: JID, roster: Roster | None) -> Deferred[object] | None:
        """An unknown account and one that hides answer alike."""
        probe, account = arriving.stanza, arriving.account
        to = probe.to
        assert to is not None
        available = [session for session in account.available if to.resource in ("", session.jid.resource)]
        answers: list[Presence]
        if roster is not None and roster.lets_see(sender):
            if to.resource:
                answers = [Presence({"from": str(session.jid)}) for session in available]
            else:
                answers = [session.presence.copy() for session in available if session.presence is not None]
            if not answers:
                answers = [Presence({"from": str(to), "type": "unavailable", **_id_of(probe)})]
        else:
            session = self._directed(arriving, sender)
            if session is None:
                answer = Presence({"from": str(to.bare), "to": str(sender), "type": "unsubscribed", **_id_of(probe)})
                return self.server.router.send_answer(answer)
            answers = [Presence({"from": str(session.jid)})]
        for answer in answers:
            send_to(self.server.router, answer, (str(sender),))
        return None

    def _directed(self, arriving: Arriving, sender: JID) -> Session | None:
        """The session that a probe is for, if the prober got directed presence from it (section 4.6.6)."""
        to = arriving.stanza.to
        session = None if to is None else arriving.account.sessions.get(to.resource)
        directed = (session.directed if session is not None else None) or {}
        return session if str(sender) in directed or str(sender.bare) in directed else None

    @on(Arriving, Stage.SCREEN, stanzas=("iq",))
    def screen_request(self, arriving: Arriving) -> object:
        """Requests to a session only from those who know that it is there (section 8.5.3.1)."""
        request, account = arriving.stanza, arriving.account
        sender, to = request.from_, request.to
        if request.type not in ("get", "set") or sender is None or to is None or sender.bare == account.jid:
            return None
        session = account.sessions.get(to.resource)
        if session is None:
            return None
        if session.directed and any(jid.bare == sender.bare for jid in session.directed.values()):
            return None
        roster = self.server.rosters.known(account)
        if roster is None:
            return self._screen_later(account.jid, sender)
        self._check(roster, sender)
        return None

    async def _screen_later(self, jid: JID, sender: JID) -> None:
        self._check(await self.server.rosters.of(jid), sender)

    def _check(self, roster: Roster | None, sender: JID) -> None:
        """Let pass those who see the account's presence, and the domains of this server, which ask clients, too."""
        domain = sender.domain
        ours = not sender.local and (self.server.directory.serves(domain) or domain in self.server.router.routes)
        if not ours and (roster is None or not roster.lets_see(sender)):
            raise StanzaError("cancel", "service-unavailable")


def _id_of(stanza: Stanza) -> dict[str, str]:
    return {"id": stanza.id} if stanza.id else {}
