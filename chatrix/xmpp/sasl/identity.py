"""Who a client says it is: names and authorization identities (RFC 6120 sections 6.3.7 and 6.3.8)."""

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.jid import JID, InvalidJID


def account_of(authcid: str, host: str) -> JID | None:
    """Prepare a simple user name as the localpart that it is; None when no account can have it.

    `juliet@example.com` is such a name: the at-sign has no place in a localpart.
    """
    try:
        account = JID.of(authcid, host)
    except InvalidJID:
        return None
    return account if account.local else None


def check_authzid(authzid: str, account: JID | None) -> None:
    """Refuse to let anybody act as somebody else.

    An authorization identity must be a bare JID, so `bob` is not bob: it is a domain. `account` None stands for a name
    that no account can have.

    Raises: SASLError invalid-authzid.
    """
    if not authzid:
        return
    try:
        identity = JID.parse(authzid)
    except InvalidJID:
        raise SASLError("invalid-authzid") from None
    if account is None or identity != account.bare:
        raise SASLError("invalid-authzid")
