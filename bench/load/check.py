"""Check ./xmppload against a toy server that writes legal but unusual XML.

One byte per segment, double quotes, spaces around "=", odd prefixes, CDATA, ">" inside attributes, a required
<session/>, unknown features, pings of its own. The load generator must come through with nothing lost.
"""

import asyncio
import base64
import json
import re
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("xmppload")
ARGUMENTS = ["chat", "--plain", "--mech", "PLAIN", "--pairs", "3", "--window", "2"]
TIMES = ["--duration", "1", "--warmup", "0.2", "--settle", "0.2", "--drain", "2"]

HEADER = (
    '<?xml version="1.0"?>\n<s:stream\n\txmlns:s = "http://etherx.jabber.org/streams" xmlns=\'jabber:client\' '
    'id = \'a>b\' version="1.0" from="bench.localhost" >\n '
)
MECHANISMS = (
    '<s:features ><x:odd xmlns:x="urn:odd" a="/>"/><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl" >'
    "<mechanism>X-ODD</mechanism><mechanism\n>PLAIN</mechanism ></mechanisms></s:features >"
)
BIND = (
    '<s:features><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"></bind>'
    '<session xmlns="urn:ietf:params:xml:ns:xmpp-session"/><sm xmlns="urn:xmpp:sm:3"/></s:features>'
)
BOUND = (
    '\n\n<iq id = "xl-bind" type="result"><b:bind xmlns:b="urn:ietf:params:xml:ns:xmpp-bind">'
    "<b:jid >{jid}</b:jid></b:bind></iq >"
)
ROSTER = (
    '<iq type="result" to="{jid}" id="xl-roster" ><query xmlns="jabber:iq:roster"/></iq>'
    '<iq type="get" from="bench.localhost" id="p\'1"><ping xmlns="urn:xmpp:ping"/></iq>'
    '<presence to="{jid}" from="{jid}" />'
)
MESSAGE = (
    '<message  type = "chat" from="{jid}"\n id="{id}"\t><x xmlns="urn:odd" y=">"/><body xml:lang="en" >{body}</body>'
    "<message xmlns='urn:nested'/></message\n>"
)
SENT = r"<message to='([^'@]*)@.*?id='([^']*)'.*?<body>(.*?)</body>.*?</message>|</stream:stream>"


class Client:
    """One stream of the load generator, as the toy server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = ""

    async def send(self, text: str) -> None:
        """Write byte by byte, letting the loop turn between bytes."""
        for byte in text.encode():
            self.writer.write(bytes([byte]))
            if len(text) < 200:
                await asyncio.sleep(0)

    async def until(self, pattern: str) -> re.Match[str]:
        """Read until the pattern is there, and drop all up to its end.

        Raises: EOFError when the stream ends first.
        """
        while True:
            if match := re.search(pattern, self.received, re.DOTALL):
                self.received = self.received[match.end() :]
                return match
            data = await self.reader.read(4096)
            if not data:
                raise EOFError
            self.received += data.decode()

    async def log_in(self) -> str:
        """From the first stream header to initial presence; returns the user name."""
        await self.until(r"<stream:stream[^>]*>")
        await self.send(HEADER + MECHANISMS)
        auth = await self.until(r"<auth [^>]*>([^<]*)</auth>")
        user = base64.b64decode(auth[1]).decode().split("\0")[1]
        await self.send('<success xmlns = "urn:ietf:params:xml:ns:xmpp-sasl" />')
        await self.until(r"<stream:stream[^>]*>")
        await self.send(HEADER + BIND)
        await self.until(r"<iq .*?xl-bind.*?</iq>")
        await self.send(BOUND.format(jid=f"{user}@bench.localhost/load"))
        await self.until(r"<iq .*?xl-sess.*?</iq>")
        await self.send('<iq type="result" id="xl-sess"/>')
        await self.until(r"<presence/>")
        await self.send(ROSTER.format(jid=f"{user}@bench.localhost/load"))
        return user


class ToyServer:
    """Passes messages between the clients that are logged in."""

    def __init__(self) -> None:
        self.online: dict[str, asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from beginning to end."""
        client = Client(reader, writer)
        try:
            user = await client.log_in()
            self.online[user] = writer
            count = 0
            while (sent := await client.until(SENT))[1]:
                count += 1
                body = f"<![CDATA[{sent[3]}</message>]]>" if count % 2 else sent[3]
                text = MESSAGE.format(jid=f"{user}@bench.localhost/load", id=sent[2], body=body)
                self.online[sent[1]].write(text.encode())
            writer.write(b"</s:stream>")
        except (EOFError, ConnectionError):
            pass
        writer.close()


async def main() -> int:
    """Run the load generator once; returns the exit status."""
    server = await asyncio.start_server(ToyServer().serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *ARGUMENTS, *TIMES, "--port", str(port), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    print(output.decode().strip())
    found = json.loads(output)
    wrong = found["lost"] or found["duplicated"] or found["reordered"] or found["delivered"] <= 20
    print("FAILED" if process.returncode or wrong else "ok")
    return 1 if process.returncode or wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
