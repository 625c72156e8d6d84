"""What a stream offers for logging in: SASL mechanisms and channel-binding types (RFC 6120 section 6.4.1, XEP-0440)."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatrix.xmpp.element import Element
from chatrix.xmpp.namespaces import NS_SASL, NS_SASL_CHANNEL_BINDING
from chatrix.xmpp.sasl import scram
from chatrix.xmpp.sasl.channel_binding import NO_CHANNEL_BINDINGS, ChannelBindings
from chatrix.xmpp.sasl.keys import HASHES, Hash
from chatrix.xmpp.sasl.plain import PLAIN


@dataclass(frozen=True, slots=True)
class Offer:
    """The mechanisms of one stream, in order of preference, and what they can be bound to. Made by `offer()`."""

    mechanisms: tuple[str, ...]
    bindings: ChannelBindings
    hashes: tuple[Hash, ...]
    """The hashes that PLAIN passwords may be checked against, in order of preference."""
    secured: bool

    @property
    def advertised(self) -> scram.Advertised:
        """What the features say, as XEP-0474 hashes it."""
        return scram.Advertised(self.mechanisms, self.bindings.types)

    def mechanisms_element(self) -> Element:
        """Build <mechanisms/>."""
        element = Element(NS_SASL, "mechanisms")
        for mechanism in self.mechanisms:
            element.add(NS_SASL, "mechanism", text=mechanism)
        return element

    def channel_binding_element(self) -> Element | None:
        """Build <sasl-channel-binding/>; None when nothing can be bound to: it must not be empty."""
        if not self.bindings:
            return None
        element = Element(NS_SASL_CHANNEL_BINDING, "sasl-channel-binding")
        for type_ in self.bindings.types:
            element.add(NS_SASL_CHANNEL_BINDING, "channel-binding", {"type": type_})
        return element


def offer(
    secured: bool,
    bindings: ChannelBindings = NO_CHANNEL_BINDINGS,
    hashes: Sequence[Hash] = HASHES,
    only: Sequence[str] = (),
) -> Offer:
    """Choose what to offer on a stream.

    `secured` is TLS; `hashes` are those the host stores keys for; `only`, when not empty, the mechanisms it allows.
    -PLUS mechanisms and channel-binding types appear together or not at all, as clients take one without the other
    for an attack (XEP-0440 section 3).
    """
    stored = tuple(name for name in HASHES if name in hashes)
    if not (secured and stored):
        bindings = NO_CHANNEL_BINDINGS
    mechanisms = [
        mechanism
        for mechanism, hash_name in scram.MECHANISMS.items()
        if hash_name in stored and (bindings or not mechanism.endswith(scram.PLUS))
    ]
    if secured and stored:
        mechanisms.append(PLAIN)
    if only:
        mechanisms = [mechanism for mechanism in mechanisms if mechanism in only]
        if not any(mechanism.endswith(scram.PLUS) for mechanism in mechanisms):
            bindings = NO_CHANNEL_BINDINGS
    return Offer(tuple(mechanisms), bindings, stored, secured)
