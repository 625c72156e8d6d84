"""RFC 6121 section 2: the roster; XEP-0237: Roster Versioning, version 1.3."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable

from chatrix.api import (
    IQ,
    JID,
    Arriving,
    Element,
    InvalidJID,
    Module,
    Presence,
    RosterItem,
    Session,
    Stage,
    StanzaError,
    Target,
    Verdict,
    iq,
    on,
    send_unavailable,
)
from chatrix.xmpp.namespaces import NS_FEATURE_ROSTER_VERSION, NS_ROSTER

QUERY = (NS_ROSTER, "query")
LONGEST_NAME = 1023
"Octets of a contact's name, or of a group's."
MOST_GROUPS = 100
LONGEST_ITEM = 4096
"Octets of a contact's name and groups together: a roster is sent in one piece, and kept in memory."


class Roster(Module):
    """Let clients read and change their list of contacts."""

    account_features = (NS_ROSTER,)

    def stream_features(self) -> Iterable[Element]:
        """That versions are understood (RFC 6121 section 2.6.1)."""
        return (Element(NS_FEATURE_ROSTER_VERSION, "ver"),)

    @iq("get", QUERY, to=Target.OWN_ACCOUNT)
    async def tell(self, request: IQ) -> Element | Verdict:
        """The roster, or what changed since the version that the client has (RFC 6121 sections 2.1.3 and 2.6)."""
        session = self._session_of(request)
        # Most clients keep no roster: for them no tree is built.
        version = request.payload.get("ver", "") if b" ver=" in request.inner else ""
        version, _, shared = version.partition("-")
        if version.isascii() and version.isdecimal() and len(version) < 19:
            # Nobody changes it meanwhile: pushes come after the answer, in the order of the changes.
            async with self.server.rosters.changing(session.jid) as changing:
                if changing is None:
                    raise StanzaError("cancel", "item-not-found")
                changes = None
                if shared == changing.shared_ver:
                    changes = await self.server.rosters.store.changes(str(changing.jid), int(version))
                if changes is not None:
                    session.interested = True
                    self.server.router.send_answer(request.reply())
                    for item in changes:
                        visible = changing.visible(item.jid) or item
                        self.server.rosters.push_to(session, visible, changing.ver_at(item.changed))
                    return Verdict.STOP
        roster = await self.server.rosters.of(session.jid)
        if roster is None:
            raise StanzaError("cancel", "item-not-found")
        session.interested = True
        query = Element(*QUERY, {"ver": roster.ver})
        for item in roster.visible_items():
            query.append(self.server.rosters.element(item))
        return query

    @iq("set", QUERY, to=Target.OWN_ACCOUNT)
    async def change(self, request: IQ) -> None:
        """Add, change or remove one contact (RFC 6121 sections 2.3 to 2.5)."""
        session = self._session_of(request)
        items: list[Element] = [*request.payload]
        if len(items) != 1 or (items[0].namespace, items[0].name) != (NS_ROSTER, "item"):
            raise StanzaError("modify", "bad-request", "one item at a time")
        contact = _contact_of(items[0])
        if items[0].get("subscription") == "remove":
            await self._remove(session, contact)
        else:
            await self._save(session, contact, items[0])

    @iq("get", QUERY, to=Target.ACCOUNT)
    @iq("set", QUERY, to=Target.ACCOUNT)
    def refuse(self, request: IQ) -> None:
        """Nobody has anything to do with another's roster, or learns here whether there is one."""
        raise StanzaError("auth", "forbidden")

    @on(Arriving, Stage.SCREEN, stanzas=("iq",))
    def refuse_forged(self, arriving: Arriving) -> None:
        """A push comes from the server itself; it answers as if the resource were not there (section 2.1.6)."""
        request = arriving.stanza
        if request.type == "set" and QUERY in request.children and request.to != arriving.account.jid:
            raise StanzaError("cancel", "service-unavailable")

    def _session_of(self, request: IQ) -> Session:
        sender = request.from_
        session = None if sender is None else self.server.directory.session(sender)
        if session is None:
            raise StanzaError("cancel", "service-unavailable")
        return session

    async def _save(self, session: Session, contact: JID, element: Element) -> None:
        name = element.get("name", "")
        if len(name.encode()) > LONGEST_NAME:
            raise StanzaError("modify", "not-acceptable", "the name is too long")
        groups = _groups_of(element)
        if len(name.encode()) + sum(len(group.encode()) for group in groups) > LONGEST_ITEM:
            raise StanzaError("modify", "not-acceptable", "the name and the groups together are too long")
        if contact == session.jid.bare:
            raise StanzaError("cancel", "not-allowed", "nobody is his own contact")
        async with self.server.rosters.changing(session.jid) as roster:
            if roster is None:
                raise StanzaError("cancel", "item-not-found")
            item = roster.items.get(str(contact))
            if item is None:
                limit = self.server.tiers.roster_items(roster.jid)
                if len(roster.items) >= limit.most:
                    raise StanzaError("wait", "resource-constraint", f"a roster has at most {limit} contacts")
                item = RosterItem(str(roster.jid), str(contact))
            # What a client says of `subscription` and `ask` is not for it to say (section 2.3.1).
            await self.server.rosters.save(roster, dataclasses.replace(item, name=name, groups=groups))

    async def _remove(self, session: Session, contact: JID) -> None:
        """Remove a contact, and with it both subscriptions (section 2.5.2)."""
        account = session.account
        async with self.server.rosters.between(session.jid, contact):
            async with self.server.rosters.changing(session.jid) as roster:
                if roster is None or roster.visible(str(contact)) is None:
                    raise StanzaError("cancel", "item-not-found")
                shared = roster.shared_with(str(contact))
                if shared:
                    raise StanzaError("cancel", "not-allowed", f"this contact is in the shared group {shared[0]}")
                state = roster.state(contact)
                await self.server.rosters.drop_request(roster, contact)
                await self.server.rosters.remove(roster, str(contact))
            if state.subscription in ("to", "both") or state.ask:
                await self._tell(account.jid, contact, "unsubscribe")
            if state.sends:
                send_unavailable(self.server.router, account, str(contact))
            if state.sends or state.asked:
                await self._tell(account.jid, contact, "unsubscribed")

    async def _tell(self, account: JID, contact: JID, type: str) -> None:
        """Send the contact what a removal says; one of ours has heard it when this returns."""
        attributes = {"from": str(account), "to": str(contact), "id": secrets.token_hex(8), "type": type}
        done = self.server.router.send_answer(Presence(attributes))
        if done is not None and self.server.directory.serves(contact.domain):
            await done


def _contact_of(item: Element) -> JID:
    try:
        return JID.parse(item.get("jid", "")).bare
    except InvalidJID:
        raise StanzaError("modify", "bad-request", "an item needs the address of a contact") from None


def _groups_of(item: Element) -> tuple[str, ...]:
    groups = [(child.text or "") for child in item if (child.namespace, child.name) == (NS_ROSTER, "group")]
    if len(set(groups)) != len(groups):
        raise StanzaError("modify", "bad-request", "the same group twice")
    if not all(groups) or any(len(group.encode()) > LONGEST_NAME for group in groups) or len(groups) > MOST_GROUPS:
        raise StanzaError("modify", "not-acceptable", "a group without name, with too long a name, or too many of them")
    return tuple(groups)
