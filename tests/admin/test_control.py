"""The control socket over a real UNIX socket: who gets in, what is answered, what is refused (threats R11)."""

import contextlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from chatrix.admin.ask import ask
from chatrix.admin.control import (
    CONNECTIONS,
    LONGEST_LINE,
    SILENCE,
    Command,
    ControlSocket,
    _ControlFactory,
    prepare_state,
)
from chatrix.admin.errors import AdminError, NotRunning

NOBODY = 65534

WORDS = st.sampled_from(["command", "arguments", "text", "echo", "x"])
REQUESTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)
"""JSON that is a command now and then."""


def folder_for(case: TestCase | SynchronousTestCase) -> Path:
    """A folder of mode 0700 with a name short enough for a socket's address, gone after the test."""
    folder = Path(tempfile.mkdtemp(prefix="ctl"))
    case.addCleanup(shutil.rmtree, folder)
    return folder


async def echo(text: str) -> str:
    """A command with an argument."""
    return text


async def refuse() -> None:
    """A command that says no."""
    raise AdminError("not today")


async def fail() -> None:
    """A command with a mistake in it."""
    raise ZeroDivisionError("s3cret")


COMMANDS: dict[str, Command] = {"echo": echo, "refuse": refuse, "fail": fail}


class OverASocket(TestCase):
    """With the reactor, the kernel and `ask`."""

    def setUp(self) -> None:
        """A control socket that listens."""
        self.path = folder_for(self) / "control.sock"
        self.waiting: Deferred[str] = Deferred()
        self.control = ControlSocket(self.path, {**COMMANDS, "wait": self.wait}, reactor)
        self.control.startService()
        self.addCleanup(self.control.stopService)

    async def wait(self) -> str:
        """A command that takes as long as the test likes."""
        return await self.waiting

    async def ask(self, *arguments: Any, **named: Any) -> Any:
        """As chatrixctl does, beside the reactor."""
        return await deferToThread(ask, self.path, *arguments, **named)

    async def refusal(self, *arguments: Any, **named: Any) -> str:
        """What the server says against it."""
        return str(await self.assertFailure(Deferred.fromCoroutine(self.ask(*arguments, **named)), AdminError))

    async def test_result(self) -> None:
        """A command gets its arguments and its result comes back, whatever letters are in it."""
        self.assertEqual(await self.ask("echo", text="é\n\u2028"), "é\n\u2028")

    async def test_refusals(self) -> None:
        """Expected refusals come with their reason; a mistake of ours tells nothing but that the log has it."""
        self.assertEqual(await self.refusal("refuse"), "not today")
        self.assertEqual(await self.refusal("unheard"), "the server knows no command 'unheard'")
        self.assertIn("missing a required argument: 'text'", await self.refusal("echo"))
        self.assertIn("unexpected keyword argument", await self.refusal("echo", text="a", more="b"))
        self.assertEqual(await self.refusal("fail"), "the server failed to do it; its log says why")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_mode(self) -> None:
        """Nobody but the owner may open the socket or the lock, from its first moment and whatever the umask is."""
        await self.control.stopService()
        self.path.with_suffix(".lock").unlink()
        modes_before_chmod = []
        chmod = os.chmod

        def look_first(path: Any, mode: int) -> None:
            modes_before_chmod.append(stat.S_IMODE(os.lstat(path).st_mode))
            chmod(path, mode)

        self.patch(os, "chmod", look_first)
        self.addCleanup(os.umask, os.umask(0))
        self.control.startService()
        self.assertEqual(modes_before_chmod, [0o600])
        for path in (self.path, self.path.with_suffix(".lock")):
            self.assertEqual(stat.S_IMODE(path.lstat().st_mode), 0o600)
        self.assertTrue(stat.S_ISSOCK(self.path.lstat().st_mode))

    async def test_umask_is_put_back(self) -> None:
        """The narrow umask is for the one moment of binding."""
        umask = os.umask(0o022)
        os.umask(umask)
        self.assertNotEqual(umask, 0o177)

    async def test_second_server(self) -> None:
        """While one server is there, another one is refused, and the first goes on."""
        second = ControlSocket(self.path, COMMANDS, reactor)
        error = self.assertRaises(AdminError, second.startService)
        self.assertIn("another server is running", str(error))
        self.assertEqual(await self.ask("echo", text="here"), "here")

    async def test_gone_after_stop(self) -> None:
        """After stop there is no socket, and who asks is told that no server runs."""
        await self.control.stopService()
        self.assertFalse(self.path.exists())
        await self.assertFailure(Deferred.fromCoroutine(self.ask("echo", text="a")), NotRunning)
        self.control.startService()
        self.assertEqual(await self.ask("echo", text="again"), "again")

    async def test_socket_removed_by_somebody(self) -> None:
        """Whoever has cleared the folder away meanwhile does not keep the server from stopping, or from starting."""
        self.path.unlink()
        await self.control.stopService()
        self.control.startService()
        self.assertEqual(await self.ask("echo", text="again"), "again")

    async def test_stop_drops_connections(self) -> None:
        """A connected chatrixctl does not keep the server from stopping."""
        asking = deferToThread(ask, self.path, "wait")
        while not self.control._factory.connections:
            await deferToThread(lambda: None)
        await self.control.stopService()
        await self.assertFailure(asking, AdminError)
        self.waiting.callback("late")

    async def test_time_out(self) -> None:
        """A server that does not answer is not waited for for ever."""
        self.assertIn("no answer within 0.01 s", await self.refusal("wait", timeout=0.01))
        self.waiting.callback("late")

    async def test_other_user(self) -> None:
        """Another user is refused by the mode and, were the mode wrong, by its uid; the command is not run."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        self.assertIn("PermissionError", await self.as_nobody())
        self.path.parent.chmod(0o711)
        self.path.chmod(0o666)
        answer = await self.as_nobody()
        self.assertEqual(
            json.loads(answer), {"ok": False, "error": "only the server's own user and root may use this socket"}
        )

    async def as_nobody(self) -> str:
        """What the user nobody gets for a command."""
        program = (
            "import os, socket, sys\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX)\ntry: s.connect(sys.argv[1])\n"
            "except OSError as e: sys.exit(print(type(e).__name__))\n"
            """try: s.send(b'{"command": "echo", "arguments": {"text": "a"}}\\n')\n"""
            "except BrokenPipeError: pass\nprint(s.makefile().readline())"
        )

        def run() -> str:
            return subprocess.run(
                [sys.executable, "-c", program, str(self.path)], capture_output=True, text=True, check=True, timeout=60
            ).stdout

        return await deferToThread(run)


class Creation(TestCase):
    """What may be at the socket's place already."""

    def setUp(self) -> None:
        """A folder with nothing in it."""
        self.folder = folder_for(self)
        self.path = self.folder / "control.sock"
        self.control = ControlSocket(self.path, COMMANDS, reactor)

    def refused(self) -> str:
        """What startService says; nothing of ours may stay behind."""
        error = self.assertRaises(AdminError, self.control.startService)
        self.assertEqual(self.control._lock, -1)
        return str(error)

    def test_stale_socket_is_replaced(self) -> None:
        """What a killed server left does not stop the next one."""
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))
            left.listen()
        self.control.startService()
        self.addCleanup(self.control.stopService)
        self.assertTrue(stat.S_ISSOCK(self.path.lstat().st_mode))
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.connect(str(self.path))

    def test_live_socket_is_kept(self) -> None:
        """A socket on which somebody answers is not taken away."""
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(self.path))
            other.listen()
            self.assertIn("another server answers", self.refused())
            self.assertTrue(self.path.exists())

    def test_symlink(self) -> None:
        """A link is neither followed nor removed, dangling or not."""
        target = self.folder / "target"
        self.path.symlink_to(target)
        self.assertIn("is not a socket", self.refused())
        target.write_text("kept")
        self.assertIn("is not a socket", self.refused())
        self.assertEqual((target.read_text(), self.path.is_symlink()), ("kept", True))

    def test_symlink_for_the_lock(self) -> None:
        """Nor is a link at the lock's place."""
        target = self.folder / "target"
        (self.folder / "control.lock").symlink_to(target)
        self.refused()
        self.assertFalse(target.exists())

    def test_file(self) -> None:
        """A file that is no socket is not removed."""
        self.path.write_text("kept")
        self.assertIn("is not a socket", self.refused())
        self.assertEqual(self.path.read_text(), "kept")

    def test_long_path(self) -> None:
        """A path too long for a socket's address is said in a line."""
        long = self.folder / ("x" * 120) / "control.sock"
        error = self.assertRaises(AdminError, ControlSocket(long, COMMANDS, reactor).startService)
        self.assertIn(str(long), str(error))

    def test_state_is_private(self) -> None:
        """The state folder is made with mode 0700; one that others may write into is refused."""
        state = self.folder / "a" / "b"
        prepare_state(state)
        self.assertEqual(stat.S_IMODE(state.stat().st_mode), 0o700)
        state.chmod(0o770)
        self.assertIn("chmod go-w", str(self.assertRaises(AdminError, prepare_state, state)))
        (self.folder / "file").write_text("")
        self.assertRaises(AdminError, prepare_state, self.folder / "file")


class _Handle:
    """Stands for the socket of a connection in memory."""


class Transport(StringTransport):
    """A transport in memory that has a handle to ask the uid of."""

    def getHandle(self) -> _Handle:
        """As a socket's transport has."""
        return _Handle()


class InMemory(SynchronousTestCase):
    """Lines, limits and time, with a clock of the test's."""

    def setUp(self) -> None:
        """A factory whose peers all have the server's own uid, unless a test says otherwise."""
        self.clock = MemoryReactorClock()
        self.waiting: Deferred[str] = Deferred()
        self.factory = _ControlFactory({**COMMANDS, "wait": self.wait}, self.clock)
        self.uid = os.geteuid()
        self.factory.uid_of = lambda connection: self.uid

    async def wait(self) -> str:
        """A command that takes as long as the test likes."""
        return await self.waiting

    def connect(self) -> tuple[Any, Transport]:
        """A fresh connection."""
        protocol, transport = self.factory.buildProtocol(None), Transport()
        protocol.makeConnection(transport)
        return protocol, transport

    def answers(self, transport: Transport) -> list[Any]:
        """The lines that were sent."""
        return [json.loads(line) for line in transport.value().splitlines()]

    def test_wrong_uid(self) -> None:
        """Another uid is told so and dropped, and what it has sent is not done."""
        self.uid = NOBODY if os.geteuid() != NOBODY else 1
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command": "echo", "arguments": {"text": "a"}}\n')
        self.assertEqual([answer["ok"] for answer in self.answers(transport)], [False])
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_root(self) -> None:
        """Root may ask a server that runs as somebody else."""
        self.uid = 0
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command": "echo", "arguments": {"text": "a"}}\n')
        self.assertEqual(self.answers(transport), [{"ok": True, "result": "a"}])

    def test_several_commands(self) -> None:
        """One connection may ask again."""
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command": "refuse"}\n{"command": "echo", "arguments": {"text": "a"}}\n')
        self.assertEqual([answer["ok"] for answer in self.answers(transport)], [False, True])

    def test_one_at_a_time(self) -> None:
        """A second command before the first answer ends the connection."""
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command": "wait"}\n{"command": "echo", "arguments": {"text": "a"}}\n')
        self.waiting.callback("done")
        self.assertEqual(self.answers(transport), [{"ok": False, "error": "one command at a time"}])

    def test_long_line(self) -> None:
        """A line without end is cut off, whether it comes at once or in pieces."""
        for piece in (LONGEST_LINE + 1, 1000):
            protocol, transport = self.connect()
            sent = 0
            while not transport.disconnecting and sent <= 2 * LONGEST_LINE:
                protocol.dataReceived(b"x" * piece)
                sent += piece
            self.assertLess(sent, LONGEST_LINE + 2 * piece)
            self.assertIn("at most", self.answers(transport)[0]["error"])

    def test_many_connections(self) -> None:
        """There is a bound, and a connection that ends makes room."""
        connected = [self.connect() for _ in range(CONNECTIONS)]
        self.assertTrue(self.connect()[1].disconnecting)
        connected[0][0].connectionLost(None)
        self.assertFalse(self.connect()[1].disconnecting)

    def test_silence(self) -> None:
        """Who asks nothing is dropped, who waits for an answer is not."""
        _, silent = self.connect()
        busy, waiting = self.connect()
        busy.dataReceived(b'{"command": "wait"}\n')
        self.clock.advance(SILENCE + 1)
        self.assertEqual((silent.disconnecting, waiting.disconnecting), (True, False))
        self.waiting.callback("done")
        self.assertEqual(self.answers(waiting), [{"ok": True, "result": "done"}])
        self.clock.advance(SILENCE + 1)
        self.assertTrue(waiting.disconnecting)

    @given(st.binary(max_size=100) | REQUESTS.map(lambda request: json.dumps(request).encode()))
    def test_any_line(self, line: bytes) -> None:
        """Any line gets one answer a line, and never the one for a mistake of ours."""
        protocol, transport = self.connect()
        protocol.dataReceived(line + b"\n")
        answers = self.answers(transport)
        self.assertEqual(len(answers), line.count(b"\n") + 1)
        for answer in answers:
            self.assertNotIn("log", answer.get("error", ""))
        protocol.connectionLost(None)


class Asking(TestCase):
    """What `ask` makes of a server that is not as it should be."""

    async def answered(self, answer: bytes) -> str:
        """The failure, when this is what a server answers before it closes."""
        path = folder_for(self) / "s"

        class Odd(Factory):
            noisy = False

        class Answering(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(answer)
                self.transport.loseConnection()

        port = reactor.listenUNIX(str(path), Odd.forProtocol(Answering))  # type: ignore[attr-defined]
        try:
            return str(await self.assertFailure(deferToThread(ask, path, "status"), AdminError))
        finally:
            await port.stopListening()

    async def test_odd_answers(self) -> None:
        """Nothing, half a line and no JSON are failures of one line."""
        for answer, said in (
            (b"", "broke off"),
            (b'{"ok": true', "broke off"),
            (b"hello\n", "cannot be understood"),
            (b"[]\n", "cannot be understood"),
            (b'{"ok": true}\n', "cannot be understood"),
            (b'{"ok": false, "error": "no"}\n', "no"),
        ):
            self.assertIn(said, await self.answered(answer))

    def test_no_server(self) -> None:
        """No socket, and a socket without a server, are the same to an admin."""
        path = folder_for(self) / "s"
        self.assertRaises(NotRunning, ask, path, "status")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        self.assertRaises(NotRunning, ask, path, "status")

    def test_not_a_socket(self) -> None:
        """A folder that may not be entered, or a path too long, is said in a line."""
        self.assertRaises(AdminError, ask, Path("/x" * 100), "status")
