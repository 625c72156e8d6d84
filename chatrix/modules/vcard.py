"""XEP-0054: vcard-temp, version 1.3.0.

Security: a vCard is for all the world to read. An account that does not exist answers like one without a vCard.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatrix.api import IQ, Element, Module, NoSuchAccount, Server, Size, StanzaError, Target, VCards, iq, option
from chatrix.xmpp.element import parse, serialise
from chatrix.xmpp.namespaces import NS_VCARD_TEMP

VCARD = (NS_VCARD_TEMP, "vCard")


@dataclass(frozen=True, kw_only=True)
class VCardOptions:
    """What an account may say of itself."""

    size: Size = option(
        Size(128 * 1024), doc="The largest vCard, its picture included; limits stanza size counts, too.", minimum=1024
    )


class VCard(Module):
    """Keep a vCard for each account, and show it to whoever asks."""

    features = (NS_VCARD_TEMP,)
    account_features = (NS_VCARD_TEMP,)
    options = VCardOptions
    settings: VCardOptions

    def __init__(self, server: Server, options: VCardOptions) -> None:
        super().__init__(server, options)
        self._store = VCards(server.database)

    @iq("get", VCARD, to=Target.OWN_ACCOUNT)
    async def tell_own(self, request: IQ) -> Element:
        """Section 3.1."""
        found = await self._find(request)
        if found is None:
            raise StanzaError("cancel", "item-not-found")
        return found

    @iq("get", VCARD, to=Target.ACCOUNT)
    async def tell(self, request: IQ) -> Element:
        """Section 3.3: "service-unavailable MUST be used in both cases"."""
        found = await self._find(request)
        if found is None:
            raise StanzaError("cancel", "service-unavailable")
        return found

    async def _find(self, request: IQ) -> Element | None:
        account = request.to or request.from_
        assert account is not None
        vcard = await self._store.get(str(account.bare))
        return None if vcard is None else parse(vcard)

    @iq("set", VCARD, to=Target.OWN_ACCOUNT)
    async def keep(self, request: IQ) -> None:
        """Section 3.2: the whole vCard anew; an empty one is none."""
        sender, payload = request.from_, request.payload
        assert sender is not None
        account = str(sender.bare)
        if not len(payload):
            await self._store.delete(account)
            return
        vcard = serialise(payload)
        size = self.server.tiers.storage(sender, self.settings.size)
        if len(vcard) > size.most:
            limit = f"a vCard may have {size} octets, this one has {len(vcard)}"
            raise StanzaError("modify", "policy-violation", limit)
        try:
            await self._store.save(account, vcard)
        except NoSuchAccount:
            raise StanzaError("cancel", "item-not-found") from None

    @iq("set", VCARD, to=Target.ACCOUNT)
    def refuse(self, request: IQ) -> None:
        """Section 3.2: nobody changes another one's vCard, whether there is one or not."""
        raise StanzaError("auth", "forbidden")
