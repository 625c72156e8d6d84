"""XEP-0030: Service Discovery, version 2.5.0."""

from __future__ import annotations

from collections.abc import Iterable

from chatrix.api import IQ, JID, Element, Module, StanzaError, Target, iq
from chatrix.xmpp.namespaces import NS_DISCO_INFO, NS_DISCO_ITEMS

INFO = (NS_DISCO_INFO, "query")
ITEMS = (NS_DISCO_ITEMS, "query")


class Disco(Module):
    """Tell what the hosts and the accounts can do; of an account only those who may see its presence are told."""

    features = (NS_DISCO_INFO, NS_DISCO_ITEMS)
    account_features = (NS_DISCO_INFO, NS_DISCO_ITEMS)

    @iq("get", INFO, to=Target.HOST)
    def tell_of_host(self, request: IQ) -> Element:
        """The server's identity and the features of all modules."""
        _refuse_nodes(request)
        return _info("server", "im", "chatrix", self.server.features())

    @iq("get", ITEMS, to=Target.HOST)
    def list_services(self, request: IQ) -> Element:
        """The services that are connected."""
        _refuse_nodes(request)
        query = Element(*ITEMS)
        for domain in sorted(self.server.router.routes):
            query.add(NS_DISCO_ITEMS, "item", {"jid": domain})
        return query

    @iq("get", INFO, to=Target.OWN_ACCOUNT)
    def tell_of_own_account(self, request: IQ) -> Element:
        """What the server does for the account that asks."""
        _refuse_nodes(request)
        return self._account_info()

    @iq("get", ITEMS, to=Target.OWN_ACCOUNT)
    def list_own_items(self, request: IQ) -> Element:
        """An account has no items."""
        _refuse_nodes(request)
        return Element(*ITEMS)

    @iq("get", INFO, to=Target.ACCOUNT)
    async def tell_of_account(self, request: IQ) -> Element:
        """To a subscriber what the server does for the account; to others nothing (XEP-0030 section 8)."""
        await self._check_subscriber(request)
        _refuse_nodes(request)
        return self._account_info()

    @iq("get", ITEMS, to=Target.ACCOUNT)
    async def list_items(self, request: IQ) -> Element:
        """To a subscriber the items, of which there are none; to others nothing."""
        await self._check_subscriber(request)
        _refuse_nodes(request)
        return Element(*ITEMS)

    def _account_info(self) -> Element:
        return _info("account", "registered", "", self.server.account_features())

    async def _check_subscriber(self, request: IQ) -> None:
        asked, asking = request.to, request.from_
        if asked is None or asking is None or not await self._may_see(asked, asking):
            raise StanzaError("cancel", "service-unavailable")

    async def _may_see(self, asked: JID, asking: JID) -> bool:
        roster = await self.server.rosters.of(asked)
        return roster is not None and roster.lets_see(asking)


def _refuse_nodes(request: IQ) -> None:
    """No node is known here; those that a later module adds, it answers itself."""
    if request.payload.get("node"):
        raise StanzaError("cancel", "item-not-found")


def _info(category: str, type: str, name: str, features: Iterable[str]) -> Element:
    query = Element(*INFO)
    identity = {"category": category, "type": type}
    if name:
        identity["name"] = name
    query.add(NS_DISCO_INFO, "identity", identity)
    for feature in features:
        query.add(NS_DISCO_INFO, "feature", {"var": feature})
    return query
