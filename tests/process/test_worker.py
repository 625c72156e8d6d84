"""The worker: it starts whole or not at all, reloads or stays as it was, and takes its leave."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from chatrix.config.problems import ConfigError
from chatrix.process.worker import CannotStart, Worker, load_config
from chatrix.server.background import in_background
from chatrix.store.database import DatabaseError, DatabaseTooNew
from chatrix.testing.client import Client, error_condition, is_stream_error
from chatrix.testing.host import MemoryHost
from chatrix.testing.login import log_in, open_stream
from chatrix.xmpp.jid import JID
from tests.certificates import Leaf, leaf
from tests.inmemory import quiet, stanza


class WorkerCase(TestCase):
    """A worker on pipes instead of ports."""

    timeout = 20

    def host(self, options: str = "", sections: str = "") -> MemoryHost:
        """A server for localhost."""
        certificate = leaf("localhost")
        return MemoryHost(
            "localhost",
            certificate.pem,
            certificate.authority_pem,
            Path(self.mktemp()),
            reactor,
            options=options,
            sections=sections,
        )

    async def started(self, options: str = "", sections: str = "") -> MemoryHost:
        """One that runs until the end of the test."""
        host = self.host(options, sections)
        await host.start()
        self.addCleanup(host.stop)
        return host

    async def client(self, host: MemoryHost, jid: str = "juliet@localhost/b") -> Client:
        """A client that is connected, of an account that exists."""
        client = Client(jid, jid, "secret", reactor)
        await host.connect(client)
        return client

    def write(self, path: Path, certificate: Leaf) -> None:
        """Put a certificate with its key there."""
        path.touch(mode=0o600)
        path.write_bytes(certificate.pem)

    async def nothing_runs(self, worker: Worker) -> None:
        """There must be no port, server or database; the reactor is trial's business."""
        self.assertEqual({}, worker.reactor.factories)
        self.assertIsNone(worker.server)
        self.assertIsNone(worker._database)


class Starting(WorkerCase):
    """`startService`."""

    async def refused(self, host: MemoryHost, kind: type[Exception]) -> str:
        """What `ready` says."""
        host.worker.startService()
        with self.assertRaises(kind) as caught:
            await host.worker.ready
        await self.nothing_runs(host.worker)
        await host.worker.stopService()
        return str(caught.exception)

    async def test_ready(self) -> None:
        """When it is ready it listens, and brought the tables to this version by itself."""
        host = self.host()
        host.worker.startService()
        await host.worker.ready
        self.addCleanup(host.stop)
        self.assertEqual({5222, 5223}, set(host.worker.reactor.factories))
        await host.add_account("juliet@localhost", "secret")
        client = await self.client(host)
        await log_in(client)
        await client.close()

    async def test_port_taken(self) -> None:
        """When the second port is taken the first is closed again, and the message names endpoint and purpose."""
        host = self.host()
        listen = host.worker.reactor.listenTCP

        def refuse(port: int, *arguments: Any, **named: Any) -> Any:
            if port == 5223:
                raise OSError("address already in use")
            return listen(port, *arguments, **named)

        host.worker.reactor.listenTCP = refuse
        message = await self.refused(host, CannotStart)
        for part in ("tcp:5223", "direct TLS", "already in use"):
            self.assertIn(part, message)

    async def test_certificates(self) -> None:
        """Without a usable certificate nothing starts; the message names host and file."""

        def missing(path: Path) -> None:
            path.unlink()

        def garbage(path: Path) -> None:
            path.write_bytes(b"no certificate")

        def other_key(path: Path) -> None:
            path.write_bytes(leaf("localhost", serial=1).key_pem + leaf("localhost", serial=2).chain_pem)

        spoil: Callable[[Path], None]
        for spoil in (missing, garbage, other_key):
            host = self.host()
            spoil(host.ini.parent / "host.pem")
            message = await self.refused(host, CannotStart)
            self.assertIn("localhost", message)
            self.assertIn("host.pem", message)

    async def test_newer_database(self) -> None:
        """Tables of a newer version are not touched."""
        host = self.host()
        await host.start()
        await host.stop()
        with sqlite3.connect(host.ini.parent / "chatrix.sqlite") as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'of tomorrow'")
        connection.close()
        again = Worker(host.worker.config, host.worker.reactor)
        again.startService()
        with self.assertRaises(DatabaseTooNew):
            await again.ready
        await self.nothing_runs(again)
        await again.stopService()

    async def test_no_database(self) -> None:
        """A file that is no database is an error, and stays as it is."""
        host = self.host()
        (host.ini.parent / "chatrix.sqlite").write_bytes(b"something else" * 100)
        await self.refused(host, DatabaseError)
        self.assertEqual(b"something else" * 100, (host.ini.parent / "chatrix.sqlite").read_bytes())

    async def test_bad_secret(self) -> None:
        """A damaged secret stops the start with its name."""
        host = self.host()
        (host.ini.parent / "secret").write_bytes(b"short")
        self.assertIn("secret", await self.refused(host, ValueError))

    async def test_stopped_at_once(self) -> None:
        """A stop in the middle of the start leaves nothing that runs."""
        host = self.host()
        host.worker.startService()
        await host.worker.stopService()
        await self.nothing_runs(host.worker)
        self.assertTrue(host.worker.ready.called)


class Stopping(WorkerCase):
    """`stopService`."""

    async def test_goodbye(self) -> None:
        """Everybody is told system-shutdown, whoever is logged in and whoever is not, and new ones find nobody."""
        host = await self.started()
        await host.add_account("juliet@localhost", "secret")
        bound, opening = await self.client(host), await self.client(host, "romeo@localhost/o")
        await log_in(bound)
        await open_stream(opening)
        stopping = Deferred.fromCoroutine(host.stop())
        for client in (bound, opening):
            element = await client.next()
            self.assertTrue(is_stream_error(element))
            self.assertEqual("system-shutdown", error_condition(element))
            await client.stream_closed()
            client.abort()
        await stopping
        await self.nothing_runs(host.worker)

    async def test_nothing_lost(self) -> None:
        """A message that was on its way to the disk gets there."""
        host = await self.started()
        for jid in ("juliet@localhost", "romeo@localhost"):
            await host.add_account(jid, "secret")
        juliet = await self.client(host)
        await log_in(juliet)
        server = host.worker.server
        assert server is not None
        session = server.directory.session(JID.parse(juliet.jid))
        assert session is not None
        session.received(stanza("<message to='romeo@localhost'><body>last words</body></message>"))
        juliet.abort()
        await host.stop()
        with sqlite3.connect(host.ini.parent / "chatrix.sqlite") as connection:
            rows = connection.execute("SELECT stanza FROM offline_messages").fetchall()
        connection.close()
        self.assertEqual(1, len(rows))
        self.assertIn(b"last words", rows[0][0])

    async def test_waits(self) -> None:
        """What runs in the background still has its database, and the end waits for it."""
        host = await self.started()
        server = host.worker.server
        assert server is not None
        gate: Deferred[None] = Deferred()
        found: list[bool] = []

        async def late() -> None:
            await gate
            found.append(await server.accounts.exists(JID.parse("juliet@localhost")))

        in_background(late(), "asking late")
        stopping = Deferred.fromCoroutine(host.stop())
        for _ in range(20):
            await deferLater(reactor, 0)
        self.assertFalse(stopping.called)
        gate.callback(None)
        await stopping
        self.assertEqual([False], found)
        await self.nothing_runs(host.worker)

    async def test_twice(self) -> None:
        """Stopping twice does no harm."""
        host = await self.started()
        await host.stop()
        await host.stop()


class Reloading(WorkerCase):
    """`reload`."""

    async def test_nothing(self) -> None:
        """When nothing changed it says so."""
        host = await self.started()
        self.assertEqual(["nothing changed"], host.worker.reload())

    async def test_broken(self) -> None:
        """A broken ini changes nothing, and the error has file and line."""
        host = await self.started(sections="[limits]\nroster items = 7\n")
        text = host.ini.read_text()
        before = host.worker.config
        for broken in (
            text.replace("roster items = 7", "roster itmes = 8"),
            text.replace("roster items = 7", "roster items = many"),
            text.replace("modules = ", "modules = nothing_like_this "),
            text + "\n[hots else.where]\n",
            "",
        ):
            host.ini.write_text(broken)
            with self.assertRaises(ConfigError) as caught:
                host.worker.reload()
            self.assertIn("chatrix.ini", str(caught.exception))
            self.assertIs(before, host.worker.config)
            assert host.worker.server is not None
            self.assertEqual(7, host.worker.server.limits.roster_items)
        host.ini.unlink()
        with self.assertRaises(ConfigError):
            host.worker.reload()
        self.assertIs(before, host.worker.config)

    async def test_limits(self) -> None:
        """New limits hold at once, and the answer names what changed."""
        host = await self.started(sections="[limits]\nroster items = 7\n")
        host.ini.write_text(host.ini.read_text().replace("roster items = 7", "roster items = 8"))
        (line,) = host.worker.reload()
        self.assertIn("roster items", line)
        assert host.worker.server is not None
        self.assertEqual(8, host.worker.server.limits.roster_items)
        self.assertEqual(["nothing changed"], host.worker.reload())

    async def test_hosts(self) -> None:
        """A new host can be logged in on; one that is gone takes its sessions along; the others stay."""
        host = await self.started()
        self.write(host.ini.parent / "other.pem", leaf("other.localhost"))
        text = host.ini.read_text()
        host.ini.write_text(text + "\n[host other.localhost]\ncertificate = other.pem\n")
        host.worker.reload()
        for jid in ("juliet@localhost", "romeo@other.localhost"):
            await host.add_account(jid, "secret")
        juliet, romeo = await self.client(host), await self.client(host, "romeo@other.localhost/o")
        await log_in(juliet)
        await log_in(romeo)
        host.ini.write_text(text)
        host.worker.reload()
        self.assertEqual("host-gone", error_condition(await romeo.next()))
        self.assertEqual([], await juliet.ping(""))
        for client in (juliet, romeo):
            client.abort()
            await client.gone

    async def test_host_without_certificate(self) -> None:
        """A new host without a certificate changes nothing: nobody could log in there."""
        host = await self.started()
        before = host.worker.config
        host.ini.write_text(host.ini.read_text() + "\n[host other.localhost]\ncertificate = other.pem\n")
        with self.assertRaises(ConfigError) as caught:
            host.worker.reload()
        self.assertRegex(str(caught.exception), r"chatrix\.ini:\d+: .*other\.pem")
        self.assertIs(before, host.worker.config)
        assert host.worker.server is not None
        self.assertEqual(["localhost"], list(host.worker.server.hosts))
        client = await self.client(host)
        await open_stream(client)
        client.abort()
        await client.gone

    async def test_certificate(self) -> None:
        """A new certificate is used from then on; a bad one is reported, and the old one stays in use."""
        host = await self.started()
        certificates = host.worker.certificates
        path = host.ini.parent / "host.pem"
        old, new = certificates.certificate("localhost"), leaf("localhost", serial=1)
        self.write(path, new)
        self.assertEqual(["nothing changed"], host.worker.reload())
        self.assertEqual(new.der, certificates.certificate("localhost").der)
        self.assertNotEqual(old.der, new.der)
        path.write_bytes(b"half a certif")
        (line,) = host.worker.reload()
        self.assertIn("host.pem", line)
        self.assertEqual(new.der, certificates.certificate("localhost").der)

    async def test_restart_needed(self) -> None:
        """What needs a restart is said to need one."""
        host = await self.started()
        host.ini.write_text(host.ini.read_text().replace("tcp:5223", "tcp:5224"))
        (line,) = host.worker.reload()
        self.assertIn("restart", line)
        self.assertEqual({5222, 5223}, set(host.worker.reactor.factories))

    def test_load_config(self) -> None:
        """The modules' options are typed when the ini is read."""
        host = self.host(sections="[module offline]\nmessages = 7\n")
        self.assertEqual(7, load_config(host.ini).modules["offline"].messages)

    async def test_in_between(self) -> None:
        """Before it is ready a reload reads the ini and changes nothing."""
        host = self.host()
        self.assertEqual(["nothing changed"], host.worker.reload())
        await quiet()
