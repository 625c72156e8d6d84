"""What a server that runs, here in memory, does on the commands of `chatrixctl`."""

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from chatrix.admin.commands import commands
from chatrix.admin.errors import AdminError
from chatrix.testing.client import Client, error_condition
from chatrix.testing.host import MemoryHost
from chatrix.testing.login import LoginFailed, log_in
from tests.certificates import leaf


class Commands(TestCase):
    """status, reload, account changed."""

    def setUp(self) -> Any:
        """A server with two accounts."""
        return Deferred.fromCoroutine(self.start())

    def tearDown(self) -> Any:
        """Stop it."""
        return Deferred.fromCoroutine(self.host.stop())

    async def start(self) -> None:
        """Start it, without a socket."""
        certificate = leaf("localhost")
        self.host = MemoryHost(
            "localhost", certificate.pem, certificate.authority_pem, Path(self.mktemp()), reactor, modules="ping"
        )
        await self.host.start()
        self.commands = commands(self.host.worker)
        for name in ("juliet", "romeo"):
            await self.host.add_account(f"{name}@localhost", "secret")

    async def client(self, jid: str) -> Client:
        """A client that is logged in."""
        client = Client(jid, jid, "secret", reactor)
        await self.host.connect(client)
        await log_in(client)
        return client

    async def refusal(self, command: str, **arguments: Any) -> str:
        """What the server says against a command."""
        error: AdminError = await self.assertFailure(
            Deferred.fromCoroutine(self.commands[command](**arguments)),  # type: ignore[arg-type]
            AdminError,
        )
        return str(error)

    async def test_status(self) -> None:
        """What runs and who is there."""
        before = await self.commands["status"]()
        client = await self.client("juliet@localhost/a")
        status = await self.commands["status"]()
        self.assertEqual((before["sessions"], status["sessions"]), (0, 1))
        self.assertEqual((status["hosts"], status["modules"]), (["localhost"], ["ping"]))
        self.assertEqual((status["state"], status["process"]), ("running", os.getpid()))
        await client.close()

    async def test_status_before_it_runs(self) -> None:
        """A server that has stopped, or has not started, still answers."""
        await self.host.stop()
        self.assertEqual((await self.commands["status"]())["state"], "starting or stopping")
        self.assertEqual(await self.commands["account changed"](account="juliet@localhost", change="deleted"), 0)

    async def test_reload(self) -> None:
        """The lines say what is different; a wrong ini changes nothing and says why."""
        self.assertEqual(await self.commands["reload"](), ["nothing changed"])
        good = self.host.ini.read_text()
        self.host.ini.write_text(good + "\n[limits]\ndepth = 70\n")
        self.assertEqual(await self.commands["reload"](), ["[limits] depth: 64 -> 70"])
        self.host.ini.write_text(good + "\n[limits]\ndpeth = 80\n")
        self.assertIn('unknown option "dpeth" in [limits]; did you mean "depth"?', await self.refusal("reload"))
        assert self.host.worker.server is not None
        self.assertEqual(self.host.worker.server.limits.depth, 70)

    async def test_account_changed(self) -> None:
        """Every session of the account ends, and no other; the count is the answer."""
        for change, name in (("password", "juliet"), ("deleted", "romeo")):
            ended = [await self.client(f"{name}@localhost/{resource}") for resource in "ab"]
            other = await self.client(f"{'romeo' if name == 'juliet' else 'juliet'}@localhost/other")
            answer = await self.commands["account changed"](account=f"{name}@localhost", change=change)
            self.assertEqual(answer, 2)
            for client in ended:
                self.assertEqual(error_condition(await client.next()), "not-authorized")
                await client.disconnected()
            self.assertEqual(len(await other.ping("localhost")), 0)
            await other.close()

    async def test_disabled(self) -> None:
        """A disabled account's sessions end; who knows the password is told why he cannot log in, others are not."""
        client = await self.client("juliet@localhost/a")
        server = self.host.worker.server
        assert server is not None
        await server.accounts.store.set_disabled("juliet", "localhost", True)
        self.assertEqual(await self.commands["account changed"](account="juliet@localhost", change="disabled"), 1)
        self.assertEqual(error_condition(await client.next()), "not-authorized")
        await client.disconnected()
        for password, condition in (("secret", "account-disabled"), ("wrong", "not-authorized")):
            refused = Client("juliet", "juliet@localhost/a", password, reactor)
            await self.host.connect(refused)
            error: LoginFailed = await self.assertFailure(
                Deferred.fromCoroutine(log_in(refused)),  # type: ignore[arg-type]
                LoginFailed,
            )
            self.assertIn(condition, str(error))
            # The stream is still good for another account.
            plain = b64encode(b"\0romeo\0secret").decode()
            refused.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
            self.assertIn("success", (await refused.next()).tag)
            refused.abort()
            await refused.disconnected()
        await server.accounts.store.set_disabled("juliet", "localhost", False)
        await (await self.client("juliet@localhost/b")).close()

    async def test_delete(self) -> None:
        """The server itself deletes an account, with its sessions."""
        client = await self.client("juliet@localhost/a")
        self.assertEqual(await self.commands["delete account"](account="juliet@localhost"), 1)
        self.assertEqual(error_condition(await client.next()), "not-authorized")
        await client.disconnected()
        self.assertIn("there is no account", await self.refusal("delete account", account="juliet@localhost"))
        self.assertIn("not an account", await self.refusal("delete account", account="@"))

    async def test_tier(self) -> None:
        """A tier given to an account holds at once, and its name is in the error."""
        server = self.host.worker.server
        assert server is not None
        self.host.ini.write_text(self.host.ini.read_text() + "[tier poor]\nsessions = 1\n")
        await self.commands["reload"]()
        await server.tiers.store.set("juliet@localhost", "poor")
        clients = [await self.client("juliet@localhost/a"), await self.client("juliet@localhost/b")]
        self.assertEqual(await self.commands["account changed"](account="juliet@localhost", change="tier"), 0)
        error: LoginFailed = await self.assertFailure(
            Deferred.fromCoroutine(self.client("juliet@localhost/c")),  # type: ignore[arg-type]
            LoginFailed,
        )
        self.assertIn("an account has at most 1 (tier poor) sessions", str(error))
        for client in (*clients, await self.client("romeo@localhost/a")):
            await client.close()

    async def test_groups(self) -> None:
        """Without the module that has them, groups are nobody's business."""
        await self.commands["groups changed"]()

    async def test_groups_with_their_module(self) -> None:
        """Members that are connected are told of a group that was changed in the database."""
        certificate = leaf("localhost")
        folder = Path(self.mktemp())
        host = MemoryHost("localhost", certificate.pem, certificate.authority_pem, folder, reactor)
        await host.start()
        try:
            for name in ("juliet", "romeo"):
                await host.add_account(f"{name}@localhost", "secret")
            client = Client("juliet", "juliet@localhost/a", "secret", reactor)
            await host.connect(client)
            await log_in(client)
            client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
            await client.next()
            assert host.worker.server is not None
            store = host.worker.server.rosters.shared.store
            await store.add("localhost", "Verona")
            for name in ("juliet", "romeo"):
                await store.join("localhost", "Verona", f"{name}@localhost")
            await commands(host.worker)["groups changed"]()
            push = await client.next()
            (item,) = push.iter("{jabber:iq:roster}item")
            self.assertEqual((item.get("jid"), item.get("subscription")), ("romeo@localhost", "both"))
            await client.close()
        finally:
            await host.stop()

    async def test_nobody_there(self) -> None:
        """An account without sessions, and what is no account or no change."""
        self.assertEqual(await self.commands["account changed"](account="juliet@localhost", change="password"), 0)
        self.assertIn("not an account", await self.refusal("account changed", account="@", change="password"))
        self.assertIn("no such change", await self.refusal("account changed", account="a@localhost", change="x"))
