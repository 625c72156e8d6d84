"""XEP-0030: Service Discovery, version 2.5.0; extended by the forms of XEP-0128."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from chatrix.api import IQ, JID, Element, Module, StanzaError, Target, iq
from chatrix.xmpp.disco import Identity, info
from chatrix.xmpp.namespaces import NS_DISCO_INFO, NS_DISCO_ITEMS

INFO = (NS_DISCO_INFO, "query")
ITEMS = (NS_DISCO_ITEMS, "query")

Answer = Element | Coroutine[Any, Any, Element]


class Disco(Module):
    """Tell what the hosts and the accounts can do; of an account only those who may see its presence are told.

    Nodes belong to other modules, which answer `info_of_node` and `items_of_node`.
    """

    features = (NS_DISCO_INFO, NS_DISCO_ITEMS)
    account_features = (NS_DISCO_INFO, NS_DISCO_ITEMS)

    @iq("get", INFO, to=Target.HOST)
    def tell_of_host(self, request: IQ) -> Answer:
        """The server's identity, and the features and forms of all modules."""
        node, to = request.payload.get("node"), request.to
        if node:
            return self._info_of_node(request, node)
        assert to is not None
        return self.server.info(self.server.hosts[to.domain])

    @iq("get", ITEMS, to=Target.HOST)
    def list_services(self, request: IQ) -> Answer:
        """The services that are connected."""
        node = request.payload.get("node")
        if node:
            return self._items_of_node(request, node)
        query = Element(*ITEMS)
        for domain in sorted(self.server.router.routes):
            query.add(NS_DISCO_ITEMS, "item", {"jid": domain})
        return query

    @iq("get", INFO, to=Target.OWN_ACCOUNT)
    def tell_of_own_account(self, request: IQ) -> Answer:
        """What the server does for the account that asks."""
        node = request.payload.get("node")
        return self._info_of_node(request, node) if node else self._account_info()

    @iq("get", ITEMS, to=Target.OWN_ACCOUNT)
    def list_own_items(self, request: IQ) -> Answer:
        """An account has no items."""
        node = request.payload.get("node")
        return self._items_of_node(request, node) if node else Element(*ITEMS)

    @iq("get", INFO, to=Target.ACCOUNT)
    async def tell_of_account(self, request: IQ) -> Element:
        """To a subscriber what the server does for the account; to others nothing (XEP-0030 section 8)."""
        await self._check_subscriber(request)
        node = request.payload.get("node")
        return await self._info_of_node(request, node) if node else self._account_info()

    @iq("get", ITEMS, to=Target.ACCOUNT)
    async def list_items(self, request: IQ) -> Element:
        """To a subscriber the items, of which there are none; to others nothing."""
        await self._check_subscriber(request)
        node = request.payload.get("node")
        return await self._items_of_node(request, node) if node else Element(*ITEMS)

    def _account_info(self) -> Element:
        return info((Identity("account", "registered"),), self.server.account_features())

    async def _info_of_node(self, request: IQ, node: str) -> Element:
        for module in self.server.modules.values():
            found: Element | None = await module.info_of_node(request, node)
            if found is not None:
                return found
        raise StanzaError("cancel", "item-not-found")

    async def _items_of_node(self, request: IQ, node: str) -> Element:
        for module in self.server.modules.values():
            found: Element | None = await module.items_of_node(request, node)
            if found is not None:
                return found
        raise StanzaError("cancel", "item-not-found")

    async def _check_subscriber(self, request: IQ) -> None:
        asked, asking = request.to, request.from_
        if asked is None or asking is None or not await self._may_see(asked, asking):
            raise StanzaError("cancel", "service-unavailable")

    async def _may_see(self, asked: JID, asking: JID) -> bool:
        roster = await self.server.rosters.of(asked)
        return roster is not None and roster.lets_see(asking)
