"""Transcripts performed on Prosody: the runner and its client are not made to chatrix's measure."""

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, TestCase

from chatrix.testing.runner import perform
from chatrix.testing.stage import TCPStage
from chatrix.testing.transcript import parse
from tests.testing.prosody import RunningProsody

CONVERSATION = """
account romeo@localhost
account juliet@localhost
romeo is romeo@localhost/orchard
juliet is juliet@localhost/balcony
romeo connects
juliet connects
juliet sends:
    <presence/>
juliet ignores what came
romeo sends:
    <message id='1' type='chat' to='juliet@localhost'><body>But, soft!</body></message>
    <iq id='2' type='get' to='localhost'><query xmlns='jabber:iq:version'/></iq>
romeo receives:
    <iq id='2' type='result' from='localhost' to='romeo@localhost/orchard' ...>
        <query xmlns='jabber:iq:version'>...<name>Prosody</name></query>
    </iq>
juliet receives:
    <message id='1' type='chat' from='romeo@localhost/orchard' to='juliet@localhost' ...>
        <body>But, soft!</body>
    </message>
nobody receives anything
juliet disconnects
romeo sends raw:
    <message><body></message>
romeo gets stream error not-well-formed
romeo is disconnected
romeo opens a TLS connection
romeo sends raw:
    <stream:stream to='verona.example' version='1.0' xmlns='jabber:client' \\
        xmlns:stream='http://etherx.jabber.org/streams'>
romeo gets stream error host-unknown
"""


class OnProsody(TestCase):
    """One conversation with everything a transcript can do."""

    async def test_conversation(self) -> None:
        """Log in by STARTTLS and SCRAM, chat, prove silence, break a stream, use direct TLS."""
        if not RunningProsody.installed():
            raise SkipTest(
                "PROSODY IS MISSING, THE TRANSCRIPT RUNNER IS TESTED ON CHATRIX ONLY: apt-get install prosody"
            )
        prosody = RunningProsody(("localhost",))
        prosody.start()
        self.addCleanup(prosody.stop)

        async def add_account(jid: str, password: str) -> None:
            prosody.add_account(jid, password)

        authority = Path(prosody.authority).read_bytes()
        stage = TCPStage(reactor, reactor, prosody.port, prosody.tls_port, authority, add_account)
        await perform(parse(CONVERSATION), stage)
