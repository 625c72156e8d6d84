"""The log-in of one stream, whatever the mechanism: what came in, what is needed, what goes out (RFC 6120 section 6.4).

Security: faces a stranger before anything is known of him. The account he names is looked up, never revealed: an
unknown one gets decoy keys and takes every step of a known one. Retries are counted.

The caller wraps payloads in XML and fetches what a step asks for; with SASL2 (XEP-0388) only the wrapping changes. It
reads no further while it fetches. On <auth/>, <response/> and <abort/>:

    try:
        if element.name == "auth":
            step = authentication.begin(element.get("mechanism", ""), element.text)
        elif element.name == "response":
            step = authentication.respond(element.text)
        else:
            authentication.abort()
        while isinstance(step, NeedKeys | NeedPasswordCheck):
            if isinstance(step, NeedKeys):
                step = authentication.keys_found(step, await accounts.scram_keys(step.account, step.hashes))
            else:
                step = authentication.password_checked(step, await in_thread(step.check))
    except SASLError as refusal:
        send(refusal.to_element())
        if authentication.exhausted:
            raise StreamError("policy-violation")
    else:
        if isinstance(step, Challenge):
            send(Element(NS_SASL, "challenge", text=step.text))
        else:
            send(Element(NS_SASL, "success", text=step.text))
            logged_in(step.account)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn

from chatrix.xmpp.errors import SASLError
from chatrix.xmpp.jid import JID
from chatrix.xmpp.sasl import plain
from chatrix.xmpp.sasl.identity import account_of, check_authzid
from chatrix.xmpp.sasl.keys import Decoys, Hash, ScramKeys, verify
from chatrix.xmpp.sasl.mechanisms import Offer
from chatrix.xmpp.sasl.payloads import decode, decode_initial, encode, encode_additional
from chatrix.xmpp.sasl.plain import PLAIN
from chatrix.xmpp.sasl.scram import ScramExchange

MAX_FAILURES: Final = 5
"""The first attempt and four retries: "at least 2 and no more than 5" (RFC 6120 section 6.4.5)."""


@dataclass(frozen=True, slots=True, eq=False)
class NeedKeys:
    """Look the account up, then call keys_found()."""

    account: JID
    hashes: tuple[Hash, ...]
    """Any one of them will do, the earlier the better."""


@dataclass(frozen=True, slots=True, eq=False)
class NeedPasswordCheck:
    """Run check() in a thread, then call password_checked()."""

    keys: ScramKeys = field(repr=False)
    password: str = field(repr=False)

    def check(self) -> bool:
        """Hash the password and compare. Blocking."""
        return verify(self.keys, self.password)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this and wait for the client's response."""

    data: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The content of <challenge/>."""
        return encode(self.data)


@dataclass(frozen=True, slots=True)
class Success:
    """The client is who it says."""

    account: JID
    """Bare."""
    additional_data: bytes | None = field(repr=False)
    """None is not the same as empty."""

    @property
    def text(self) -> str | None:
        """The content of <success/>."""
        return encode_additional(self.additional_data)


Step = NeedKeys | NeedPasswordCheck | Challenge | Success


class Authentication:
    """All the log-in attempts of one stream; forget it after Success."""

    __slots__ = ("_decoys", "_done", "_exchange", "_failures", "_host", "_max_failures", "_offer")

    def __init__(self, host: str, offer: Offer, decoys: Decoys, max_failures: int = MAX_FAILURES) -> None:
        self._host = host
        self._offer = offer
        self._decoys = decoys
        self._max_failures = max_failures
        self._failures = 0
        self._done = False
        self._exchange: _Exchange | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the client had all the tries it gets; the stream is to be closed."""
        return self._failures >= self._max_failures

    def begin(self, mechanism: str, initial: str | None) -> Step:
        """Start with a mechanism; `initial` is the content of <auth/>: no text, no initial response.

        An attempt that is still going on is discarded ("MUST discard the ongoing handshake"), and counts as failed.

        Raises: SASLError; the attempt is over then.
        """
        with self._counting_failures():
            if self._exchange is not None:
                self._failures += 1
            self._exchange = None
            if self._done or self.exhausted:
                raise SASLError("not-authorized")
            if mechanism == PLAIN and not self._offer.secured:
                raise SASLError("encryption-required")
            if mechanism not in self._offer.mechanisms:
                raise SASLError("invalid-mechanism")
            message = decode_initial(initial)
            exchange = self._exchange = _Exchange(mechanism, self._host, self._offer, self._decoys)
            # Every mechanism here begins with the client: without initial response, an empty challenge asks for it.
            return Challenge(b"") if message is None else exchange.first_message(message)

    def respond(self, text: str | None) -> Step:
        """Go on with the client's response, the content of <response/>.

        Raises: SASLError; the attempt is over then.
        """
        with self._counting_failures():
            if self._exchange is None:
                raise SASLError("malformed-request")
            return self._finished(self._exchange.respond(decode(text)))

    def abort(self) -> NoReturn:
        """Give up the attempt because the client says so.

        Raises: SASLError aborted, which is what the client must be told.
        """
        with self._counting_failures():
            raise SASLError("aborted")

    def keys_found(self, step: NeedKeys, keys: ScramKeys | None) -> Step:
        """Go on with the account's keys for one of the hashes asked for.

        None when there is no such account, or none with such keys.

        Raises: SASLError aborted when the client has begun anew since the step was made.
        """
        with self._counting_failures():
            return self._waiting_for(step).use_keys(step.account, keys)

    def password_checked(self, step: NeedPasswordCheck, right: bool) -> Step:
        """Go on with the result of the check.

        Raises: SASLError not-authorized; aborted when the client has begun anew since the step was made.
        """
        with self._counting_failures():
            return self._finished(self._waiting_for(step).use_check(right))

    def _waiting_for(self, step: NeedKeys | NeedPasswordCheck) -> "_Exchange":
        """Give the exchange that asked for the step: what was found for one name must never serve another."""
        if self._exchange is None or self._exchange.needs is not step:
            raise SASLError("aborted")
        return self._exchange

    def _finished(self, step: Step) -> Step:
        if isinstance(step, Success):
            self._done = True
            self._exchange = None
        return step

    @contextmanager
    def _counting_failures(self) -> Iterator[None]:
        try:
            yield
        except SASLError:
            self._exchange = None
            self._failures += 1
            raise


class _Exchange:
    """One attempt: SCRAM when `scram` is there, otherwise PLAIN."""

    __slots__ = ("_account", "_decoys", "_hashes", "_host", "_known", "_password", "_scram", "_started", "needs")

    def __init__(self, mechanism: str, host: str, offer: Offer, decoys: Decoys) -> None:
        self._host = host
        self._decoys = decoys
        self._scram = None if mechanism == PLAIN else ScramExchange(mechanism, offer.bindings, offer.advertised)
        self._hashes = offer.hashes if self._scram is None else (self._scram.hash,)
        self._started = False
        self._account: JID | None = None
        self._known = False
        self._password = ""
        self.needs: NeedKeys | NeedPasswordCheck | None = None
        """The step whose answer is awaited from the caller."""

    def first_message(self, message: bytes) -> Step:
        """Read whom the client wants to be."""
        self._started = True
        if self._scram is not None:
            authcid, authzid = self._scram.client_first(message)
        else:
            authzid, authcid, self._password = plain.parse(message)
        self._account = account_of(authcid, self._host)
        check_authzid(authzid, self._account)
        if self._account is None:
            return self._go_on(self._decoys.keys(authcid, self._hashes[0]))
        self.needs = NeedKeys(self._account, self._hashes)
        return self.needs

    def use_keys(self, account: JID, keys: ScramKeys | None) -> Step:
        """Go on with real keys, or with a decoy."""
        self._known = keys is not None
        return self._go_on(keys or self._decoys.keys(account.local, self._hashes[0]))

    def _go_on(self, keys: ScramKeys) -> Step:
        self.needs = None
        if self._scram is not None:
            return Challenge(self._scram.server_first(keys, self._known))
        self.needs = NeedPasswordCheck(keys, self._password)
        return self.needs

    def use_check(self, right: bool) -> Step:
        """Judge a password check."""
        if self._account is None or not right & self._known:
            raise SASLError("not-authorized")
        return Success(self._account, None)

    def respond(self, data: bytes) -> Step:
        """Read the first message, when it was not in the request, or the last."""
        if not self._started:
            return self.first_message(data)
        if self.needs is not None or self._scram is None:
            raise SASLError("malformed-request")
        additional_data = self._scram.client_final(data)
        if self._account is None:
            raise SASLError("not-authorized")
        return Success(self._account, additional_data)
