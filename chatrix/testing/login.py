"""The client's way in: stream header, STARTTLS, SASL, resource binding (RFC 6120 sections 4 to 7)."""

import base64

from lxml import etree

from chatrix.testing.client import Client
from chatrix.testing.matching import NS_CLIENT, NS_STREAM, as_text
from chatrix.testing.scram import HASHES, ScramClient

NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"


class LoginFailed(Exception):
    """The server did not let the client in; the text says at which step."""


async def log_in(client: Client) -> None:
    """Take a fresh connection to a bound resource. Raises: LoginFailed, ConnectionClosed, TimedOut, ScramFailed."""
    features = await open_stream(client)
    if features.find(f"{{{NS_TLS}}}starttls") is not None and client.encrypt is not None:
        client.send(f"<starttls xmlns='{NS_TLS}'/>")
        await _take(client, f"{{{NS_TLS}}}proceed")
        client.start_tls()
        features = await open_stream(client)
    await _authenticate(client, features)
    features = await open_stream(client)
    await _bind(client, features)


async def open_stream(client: Client) -> etree._Element:
    """Send a stream header; return the features. Raises: LoginFailed, ConnectionClosed, TimedOut."""
    client.expect_new_stream()
    client.send(
        f"<?xml version='1.0'?><stream:stream to='{client.domain}' version='1.0' "
        f"xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'>"
    )
    await _take(client, f"{{{NS_STREAM}}}stream")
    return await _take(client, f"{{{NS_STREAM}}}features")


async def _authenticate(client: Client, features: etree._Element) -> None:
    offered = [mechanism.text or "" for mechanism in features.iter(f"{{{NS_SASL}}}mechanism")]
    mechanism = next((name for name in HASHES if name in offered), "PLAIN" if "PLAIN" in offered else "")
    if not mechanism:
        raise LoginFailed(f"{client.name}: no mechanism fits; the server offers {offered}")
    username = client.jid.partition("@")[0]
    if mechanism == "PLAIN":
        client.send(_sasl("auth", f"\0{username}\0{client.password}".encode(), mechanism))
        await _take(client, f"{{{NS_SASL}}}success")
        return
    scram = ScramClient(mechanism, username, client.password)
    client.send(_sasl("auth", scram.first(), mechanism))
    challenge = await _take(client, f"{{{NS_SASL}}}challenge")
    client.send(_sasl("response", scram.final(base64.b64decode(challenge.text or ""))))
    success = await _take(client, f"{{{NS_SASL}}}success")
    scram.check(base64.b64decode(success.text or ""))


async def _bind(client: Client, features: etree._Element) -> None:
    if features.find(f"{{{NS_BIND}}}bind") is None:
        raise LoginFailed(f"{client.name}: resource binding is not offered in {as_text(features)}")
    resource = client.jid.partition("/")[2]
    wish = f"<resource>{resource}</resource>" if resource else ""
    client.send(f"<iq type='set' id='bind'><bind xmlns='{NS_BIND}'>{wish}</bind></iq>")
    result = await _take(client, f"{{{NS_CLIENT}}}iq")
    jid = result.findtext(f"{{{NS_BIND}}}bind/{{{NS_BIND}}}jid")
    if not jid:
        raise LoginFailed(f"{client.name}: no resource was bound: {as_text(result)}")
    if resource and jid != client.jid:
        raise LoginFailed(f"{client.name}: bound {jid} instead of {client.jid}")
    client.jid, client.bound = jid, True


async def _take(client: Client, tag: str) -> etree._Element:
    element = await client.next()
    if element.tag != tag:
        raise LoginFailed(f"{client.name}: expected <{etree.QName(tag).localname}/>, got {as_text(element)}")
    return element


def _sasl(name: str, data: bytes, mechanism: str = "") -> str:
    attribute = f" mechanism='{mechanism}'" if mechanism else ""
    return f"<{name} xmlns='{NS_SASL}'{attribute}>{base64.b64encode(data).decode() or '='}</{name}>"
