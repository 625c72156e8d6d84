"""XEP-0049: Private XML Storage, version 1.2.

Security: only for the account itself; of others it is as if the server did not know the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatrix.api import (
    IQ,
    JID,
    Element,
    Module,
    NoSuchAccount,
    PrivateXML,
    Server,
    Size,
    StanzaError,
    Target,
    TooMuch,
    iq,
    option,
)
from chatrix.xmpp.element import parse, serialise
from chatrix.xmpp.namespaces import NS_PRIVATE

QUERY = (NS_PRIVATE, "query")
RESERVED = ("jabber:", "http://jabber.org/")


@dataclass(frozen=True, kw_only=True)
class PrivateOptions:
    """What an account may keep for itself."""

    size: Size = option(Size(256 * 1024), doc="What one account may keep in all.", minimum=1024)
    namespaces: int = option(100, doc="Namespaces in which one account may keep something.", minimum=1, maximum=10_000)


class Private(Module):
    """Keep elements for clients, by namespace: what comes last replaces all that was there in the same namespace."""

    features = (NS_PRIVATE,)
    account_features = (NS_PRIVATE,)
    options = PrivateOptions
    settings: PrivateOptions

    def __init__(self, server: Server, options: PrivateOptions) -> None:
        super().__init__(server, options)
        self._store = PrivateXML(server.database)

    @iq("get", QUERY, to=Target.OWN_ACCOUNT)
    async def tell(self, request: IQ) -> Element:
        """All elements of the namespaces that are asked for; where there are none, the empty element that asks."""
        asked = _by_namespace(request)
        if len(asked) > self.settings.namespaces:
            raise StanzaError("modify", "not-acceptable")
        kept = await self._store.get(_account(request), asked)
        answer = Element(*QUERY)
        for namespace, elements in asked.items():
            if namespace in kept:
                answer.extend(list(parse(b"<all>" + kept[namespace] + b"</all>")))
            else:
                answer.extend([Element(namespace, element.name) for element in elements[:1]])
        return answer

    @iq("set", QUERY, to=Target.OWN_ACCOUNT)
    async def keep(self, request: IQ) -> None:
        """All that is in the request, or nothing of it."""
        elements = {
            namespace: b"".join(serialise(each) for each in found)
            for namespace, found in _by_namespace(request).items()
        }
        account = _account(request)
        size, namespaces = self.server.tiers.storage(JID.parse(account), self.settings.size), self.settings.namespaces
        try:
            await self._store.save(account, elements, size.most, namespaces)
        except TooMuch:
            limits = f"private XML may have {size} octets in {namespaces} namespaces in all"
            raise StanzaError("modify", "policy-violation", limits) from None
        except NoSuchAccount:
            raise StanzaError("cancel", "item-not-found") from None


def _account(request: IQ) -> str:
    sender = request.from_
    assert sender is not None
    return str(sender.bare)


def _by_namespace(request: IQ) -> dict[str, list[Element]]:
    """The elements of a request.

    Raises: StanzaError not-acceptable when there are none, or a namespace is missing or reserved (section 2.3).
    """
    found: dict[str, list[Element]] = {}
    for element in request.payload:
        namespace = element.namespace
        if namespace is None or namespace == "vcard-temp" or namespace.startswith(RESERVED):
            raise StanzaError("modify", "not-acceptable", "each element needs a namespace that is not reserved")
        found.setdefault(namespace, []).append(element)
    if not found:
        raise StanzaError("modify", "not-acceptable", "there is no element to say what it is about")
    return found
