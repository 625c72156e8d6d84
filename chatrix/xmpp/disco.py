"""XEP-0030: what an entity says of itself, as built and as read; extended by the forms of XEP-0128."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chatrix.xmpp.dataform import Form
from chatrix.xmpp.element import XML_LANG, Element
from chatrix.xmpp.namespaces import NS_DISCO_INFO


@dataclass(frozen=True, slots=True)
class Identity:
    """What an entity is (the registry of categories and types is the XMPP Registrar's)."""

    category: str
    type: str
    name: str = ""
    lang: str = ""


def info(
    identities: Iterable[Identity], features: Iterable[str], forms: Iterable[Form] = (), node: str = ""
) -> Element:
    """The answer to a disco#info request, for `node` if one was asked for."""
    query = Element(NS_DISCO_INFO, "query", {"node": node} if node else None)
    for identity in identities:
        attributes = {"category": identity.category, "type": identity.type}
        if identity.name:
            attributes["name"] = identity.name
        if identity.lang:
            attributes["xml:lang"] = identity.lang
        query.add(NS_DISCO_INFO, "identity", attributes)
    for feature in features:
        query.add(NS_DISCO_INFO, "feature", {"var": feature})
    for form in forms:
        query.append(form.to_element())
    return query


def identities_in(query: Element) -> list[Identity]:
    """The identities of an answer, as often as they are there."""
    return [
        Identity(child.get("category", ""), child.get("type", ""), child.get("name", ""), child.get(XML_LANG, ""))
        for child in query
        if child.tag == f"{{{NS_DISCO_INFO}}}identity"
    ]


def features_in(query: Element) -> list[str]:
    """The features of an answer, as often as they are there."""
    return [child.get("var", "") for child in query if child.tag == f"{{{NS_DISCO_INFO}}}feature"]
