"""`twistd chatrix` as a process: it starts or says why not, obeys signals, and ends in good order."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatrix.store.migrate import migrate
from tests.certificates import leaf
from tests.running import ROOT, RunningServer, twistd_command

WITHIN = 30
MODULES = "disco roster presence subscription ping offline"


class Refusing(SynchronousTestCase):
    """Whatever is wrong: exit status 1, a clear line on stderr, and nothing that listens."""

    def setUp(self) -> None:
        self.server = RunningServer(modules=MODULES)
        self.addCleanup(shutil.rmtree, self.server.folder, True)
        self.ini = self.server.ini
        self.state = self.server.folder / "var"
        self.state.mkdir()

    def refusal(self) -> str:
        """What is on stderr."""
        command = [*twistd_command(), "-n", f"--pidfile={self.server.folder}/pid", "chatrix", "-c", str(self.ini)]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=WITHIN)
        self.assertEqual(1, done.returncode, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr + done.stdout)
        for port in (self.server.port, self.server.tls_port):
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if port != getattr(self, "taken", 0):
                    listener.bind(("127.0.0.1", port))
        return done.stderr

    def test_port_taken(self) -> None:
        """Somebody else has the second port: the endpoint is named, and the first is not kept."""
        self.taken = self.server.tls_port
        with socket.create_server(("127.0.0.1", self.taken)):
            said = self.refusal()
        self.assertIn(f"chatrix: cannot listen on tcp:{self.taken}", said)
        self.assertIn("in use", said)

    def test_bad_certificate(self) -> None:
        """A certificate that is none: host and file are named."""
        (self.server.folder / "server.pem").write_text("no certificate")
        said = self.refusal()
        self.assertRegex(said, r"(?m)^chatrix: localhost: .*server\.pem")

    def test_newer_database(self) -> None:
        """Tables of a newer version are left alone."""
        migrate(self.server.database, str(self.state))
        with sqlite3.connect(self.state / "chatrix.sqlite") as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'of tomorrow'")
        connection.close()
        said = self.refusal()
        self.assertRegex(said, r"(?m)^chatrix: .*chatrix\.sqlite.*newer")

    def test_older_database(self) -> None:
        """Tables of an older version are left alone, until the admin migrates them."""
        migrate(self.server.database, str(self.state))
        with sqlite3.connect(self.state / "chatrix.sqlite") as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0001'")
            connection.execute("DROP TABLE blocked")
        connection.close()
        said = self.refusal()
        self.assertRegex(said, r"(?m)^chatrix: .*chatrix\.sqlite.*revision 0001.*migrate first")
        with sqlite3.connect(self.state / "chatrix.sqlite") as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'blocked'").fetchall()
        connection.close()
        self.assertEqual([], tables)

    def test_broken_ini(self) -> None:
        """A broken ini is told with file, line and what was meant, all problems at once."""
        text = self.ini.read_text().replace("modules = disco", "modules = dsico")
        self.ini.write_text(text + "\n[limits]\nroster itmes = 7\n")
        said = self.refusal()
        lines = text.splitlines()
        line = next(number for number, content in enumerate(lines, 1) if "dsico" in content)
        self.assertIn(f'{self.ini}:{line}: unknown module "dsico"; did you mean "disco"?', said)
        self.assertIn('did you mean "roster items"?', said)

    def test_no_ini(self) -> None:
        """A file that is not there is named."""
        self.ini.unlink()
        self.assertIn(str(self.ini), self.refusal())

    def test_module(self) -> None:
        """A module without the one that it needs: the line of the ini."""
        self.ini.write_text(self.ini.read_text().replace("modules = disco roster", "modules = disco"))
        self.assertRegex(self.refusal(), r"chatrix\.ini:\d+: module presence needs module roster")


class Running(SynchronousTestCase):
    """A server that runs."""

    def setUp(self) -> None:
        self.server = RunningServer(modules=MODULES, sections="[limits]\nroster items = 7\n")
        self.server.start(self)

    def certificate(self) -> bytes:
        """The certificate that a client is shown."""
        context = ssl.create_default_context(cafile=str(self.server.authority))
        with (
            socket.create_connection(("127.0.0.1", self.server.tls_port), WITHIN) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return secured.getpeercert(True) or b""

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        process = self.server.program._process
        assert process is not None
        process.send_signal(number)

    def test_hang_up(self) -> None:
        """SIGHUP: a broken ini changes nothing and the log says why; a good one brings limits and certificate."""
        old, new = self.certificate(), leaf("localhost", serial=1)
        good = self.server.ini.read_text()
        self.server.ini.write_text(good.replace("roster items", "roster itmes"))
        self.send(signal.SIGHUP)
        self.server.program.wait_for("did you mean", WITHIN)
        self.assertEqual(old, self.certificate())
        self.server.ini.write_text(good.replace("roster items = 7", "roster items = 8"))
        pem = self.server.folder / "fresh.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(new.pem)
        pem.replace(self.server.folder / "server.pem")
        self.send(signal.SIGHUP)
        self.server.program.wait_for("reload: ", WITHIN)
        said = [line for line in self.server.program.log if "reload: " in line]
        self.assertIn("roster items", said[0])
        self.assertEqual(new.der, self.certificate())
        self.assertNotEqual(old, new.der)

    def test_second_server(self) -> None:
        """A second server on the same state gives up, and the first one goes on."""
        command = [*twistd_command(), "-n", f"--pidfile={self.server.folder}/2", "chatrix", "-c", str(self.server.ini)]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=WITHIN)
        self.assertEqual(1, done.returncode)
        self.assertRegex(done.stderr, r"(?m)^chatrix: .*(running|control\.sock)")
        self.assertTrue(self.certificate())

    def test_terminate(self) -> None:
        """SIGTERM and Ctrl-C: everything is closed, in order; then twistd ends by the same signal, as is custom."""
        client = socket.create_connection(("127.0.0.1", self.server.port), WITHIN)
        self.addCleanup(client.close)
        client.sendall(
            b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
            b"xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        client.settimeout(WITHIN)
        received = client.recv(4096)
        status = self.end(signal.SIGTERM)
        while data := client.recv(4096):
            received += data
        self.assertIn(b"<system-shutdown", received)
        self.assertTrue(received.endswith(b"</stream:stream>"))
        self.assertIn(status, (0, -signal.SIGTERM))

    def test_interrupt(self) -> None:
        """Ctrl-C ends it like SIGTERM, and of its files only the state stays."""
        self.assertIn(self.end(signal.SIGINT), (0, -signal.SIGINT))
        left = {path.name for path in Path(self.server.folder, "var").iterdir()}
        self.assertEqual({"chatrix.sqlite", "secret", "control.lock"}, left)

    def end(self, number: signal.Signals) -> int:
        """End the process; its exit status."""
        process = self.server.program._process
        assert process is not None
        self.send(number)
        status = process.wait(WITHIN)
        self.server.program.wait_for("Server Shut Down", WITHIN)
        return status
