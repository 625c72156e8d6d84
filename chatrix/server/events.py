"""The events that modules act on: five walks that can still be stopped, and facts.

`chatrix.hooks` says how they are led through the modules, `docs/walk-of-a-stanza` where each one stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from chatrix.server.directory import Account
    from chatrix.server.session import Session
    from chatrix.xmpp.jid import JID
    from chatrix.xmpp.stanza import Presence, Stanza


@dataclass(slots=True)
class Sending:
    """A session of ours sends a stanza; `from` is stamped, nothing else has happened yet. Has stages."""

    stanza: Stanza
    session: Session

    @property
    def account(self) -> Account:
        """The sender's account."""
        return self.session.account


@dataclass(slots=True)
class Arriving:
    """A stanza reaches an account of ours, from anywhere. Has stages.

    `account` is a value for the one who asks, not a promise that the account has sessions, or exists: an unknown
    account and an offline one walk alike.
    """

    stanza: Stanza
    account: Account
    stanza_id: str = ""
    "The id that the account has given to a message worth keeping (XEP-0359): its archive keeps it by that name."


@dataclass(slots=True)
class Addressing:
    """A message is for a host of ours itself, from anywhere; unless a step stops it, it is refused."""

    stanza: Stanza


@dataclass(slots=True)
class Undelivered:
    """No session took a stanza that may be kept: offline store and push decide; unless one stops it, it bounces.

    Only for accounts that exist, and only for messages.
    """

    stanza: Stanza
    account: Account


@dataclass(slots=True)
class Writing:
    """One session is about to write a stanza to its stream; HOLD keeps it back.

    Only for sessions that some module watches: it adds one to `session.watched`, and takes it back when it has seen
    enough. Most sessions are not watched most of the time, and what is written to them does not pay for those that are.
    """

    goes_on: ClassVar[bool] = True
    stanza: Stanza
    session: Session


@dataclass(slots=True)
class SessionBound:
    """A resource was bound; the client knows its JID, no stanza was exchanged yet."""

    goes_on: ClassVar[bool] = True
    session: Session


@dataclass(slots=True)
class BecameAvailable:
    """A session sent its first available presence, or its priority is not negative any more.

    It is an available resource from now on; messages to the bare JID it gets only with a priority of 0 or more.
    """

    goes_on: ClassVar[bool] = True
    session: Session
    presence: Presence
    first: bool = True
    "Whether it was no available resource before."


@dataclass(slots=True)
class BecameUnavailable:
    """A session took its presence back by unavailable presence, and may come back; see also `SessionEnded`."""

    goes_on: ClassVar[bool] = True
    session: Session
    presence: Presence


@dataclass(slots=True)
class SessionEnded:
    """A session left its account, for whatever reason; `presence` is the last it had broadcast, if any."""

    goes_on: ClassVar[bool] = True
    session: Session
    presence: Presence | None


@dataclass(slots=True)
class AccountDeleted:
    """An account and everything in the core's stores was deleted; its sessions are closed."""

    goes_on: ClassVar[bool] = True
    jid: JID
