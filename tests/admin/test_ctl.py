"""`chatrixctl` as an admin runs it: a process of its own, its output and its exit status."""

import contextlib
import io
import os
import pty
import select
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from chatrix.admin.accounts import become_owner
from chatrix.admin.ctl import main
from chatrix.admin.errors import AdminError
from tests.running import RunningServer

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
INI = """\
[chatrix]
state = var
modules = ping
c2s =
c2s tls =
[host localhost]
certificate = var/localhost.pem
admins = admin@localhost
[host example.com]
certificate = /etc/example.pem
"""


MODULES = "modules = disco roster presence subscription commands shared_roster"


class ChatrixCtl(SynchronousTestCase):
    """Without a server that runs."""

    def setUp(self) -> None:
        """An ini in a folder of its own, where nothing else is."""
        self.folder = Path(tempfile.mkdtemp(prefix="ctl"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.ini = self.folder / "x.ini"
        self.ini.write_text(INI)
        self.state = self.folder / "var"

    def say(self, *words: str, ini: bool = True) -> tuple[int, str, str]:
        """As `run_ctl`, in this process: for what opens no database."""
        printed, said = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            self.patch(sys, "stdin", io.StringIO())
            try:
                status = main(self.command(*words, ini=ini)[3:])
            except SystemExit as end:  # argparse's way
                status = int(str(end.code))
        return status, printed.getvalue(), said.getvalue()

    def run_ctl(self, *words: str, given: str | bytes = "", ini: bool = True) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        done = subprocess.run(
            self.command(*words, ini=ini),
            input=given.encode() if isinstance(given, str) else given,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            timeout=120,
            check=False,
        )
        self.assertNotIn(b"Traceback", done.stderr, done.stderr.decode())
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def command(self, *words: str, ini: bool = True) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "chatrix.admin.ctl", *(("-c", "x.ini") if ini else ()), *words]

    def test_check_config(self) -> None:
        """A good ini: exit status 0, what is in force with its defaults, and warnings about what is not there yet."""
        for run, words, ini in (
            (self.run_ctl, ("check-config",), True),
            (self.say, ("check-config", "x.ini"), False),
        ):
            status, printed, warned = run(*words, ini=ini)
            self.assertEqual(status, 0)
            self.assertIn(
                f"state = {self.state}\nmodules = ping\ndatabase = sqlite:{self.state}/chatrix.sqlite", printed
            )
            self.assertIn("[limits]\nstanza size before log in = 8 KiB\n", printed)
            self.assertIn("[host example.com]\ncertificate = /etc/example.pem\nregistration = closed\n", printed)
            self.assertIn("warning: certificate of localhost: ", warned)
        self.assertFalse(self.state.exists())

    def test_check_config_hides_secrets(self) -> None:
        """The output can be shown to others."""
        self.ini.write_text(INI.replace("modules", "database = postgresql://c:t0ps3cret@localhost/c\nmodules"))
        status, printed, warned = self.say("check-config")
        self.assertEqual(status, 0)
        self.assertIn("postgresql://c:(hidden)@localhost/c", printed)
        self.assertNotIn("t0ps3cret", printed + warned)

    def test_wrong_ini(self) -> None:
        """Exit status 2 and every problem with file, line and guess, for each command that reads the ini."""
        self.ini.write_text(INI.replace("modules = ping", "modules = pong").replace("admins", "amins"))
        expected = 'x.ini:3: unknown module "pong"; did you mean "ping"?\n'
        expected += 'x.ini:8: unknown option "amins" in [host localhost]; did you mean "admins"?\n'
        self.assertEqual(self.run_ctl("check-config"), (2, "", expected))
        for words in (("status",), ("reload",), ("user", "list"), ("first-run",), ("migrate",)):
            self.assertEqual(self.say(*words), (2, "", expected))
        self.assertFalse(self.state.exists())

    def test_wrong_usage(self) -> None:
        """Exit status 2 for a command line that means nothing."""
        for words, ini in (
            ((), True),
            (("usr",), True),
            (("user",), True),
            (("user", "add"), True),
            (("status",), False),
            (("check-config", "--loud"), True),
            (("user", "add", "a@localhost"), True),  # no terminal, and no --stdin
        ):
            status, printed, said = self.say(*words, ini=ini)
            self.assertEqual((status, printed), (2, ""), words)
            self.assertIn("chatrixctl", said)

    def test_missing_ini(self) -> None:
        """A file that is not there is a wrong ini."""
        self.ini.unlink()
        self.assertEqual(self.say("status"), (2, "", "x.ini: cannot be read: No such file or directory\n"))

    def test_no_server(self) -> None:
        """Exit status 1 and one line when nobody answers."""
        said = f"chatrixctl: the server is not running (nobody answers on {self.state}/control.sock)\n"
        for word in ("status", "reload"):
            self.assertEqual(self.say(word), (1, "", said))

    def test_first_run(self) -> None:
        """Certificate, database and admin are made once; the password is shown once; the second run changes nothing."""
        status, printed, _ = self.run_ctl("first-run")
        self.assertEqual(status, 0)
        self.assertIn("Made the account admin@localhost", printed)
        self.assertRegex(printed, r"\n    [a-z2-9]{4}(-[a-z2-9]{4}){3}\n")
        self.assertIn("Log in with any XMPP client as admin@localhost", printed)
        self.assertEqual(self.run_ctl("user", "list"), (0, "admin@localhost\n", ""))
        before = {path.name: path.read_bytes() for path in self.state.iterdir()}
        self.assertEqual(set(before), {"chatrix.sqlite", "localhost.pem"})
        for path in (self.state, *self.state.iterdir()):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)
        status, again, _ = self.run_ctl("first-run")
        self.assertEqual(status, 0)
        self.assertNotIn("Made", again)
        self.assertNotRegex(again, r"[a-z2-9]{4}(-[a-z2-9]{4}){3}")
        self.assertEqual({path.name: path.read_bytes() for path in self.state.iterdir()}, before)

    def test_first_run_keeps_what_is_there(self) -> None:
        """A certificate of the admin's own stays, and with an account on the host no other is made."""
        self.state.mkdir(mode=0o700)
        (self.state / "localhost.pem").write_text("mine")
        self.assertEqual(self.run_ctl("migrate"), (0, "the database is of this version now\n", ""))
        self.assertEqual(self.run_ctl("migrate"), (0, "there was nothing to do\n", ""))
        self.assertEqual(self.run_ctl("user", "add", "a@localhost", "--stdin", given="pw\n")[0], 0)
        status, printed, _ = self.run_ctl("first-run")
        self.assertEqual(status, 0)
        self.assertNotIn("Made", printed)
        self.assertEqual((self.state / "localhost.pem").read_text(), "mine")
        self.assertEqual(self.run_ctl("user", "list"), (0, "a@localhost\n", ""))

    def test_first_run_into_a_folder_of_everybody(self) -> None:
        """Where others can write, nothing is put."""
        self.state.mkdir()
        self.state.chmod(0o777)
        status, _, said = self.run_ctl("first-run")
        self.assertEqual((status, list(self.state.iterdir())), (1, []))
        self.assertIn("chmod go-w", said)

    def test_users(self) -> None:
        """Accounts are added, listed by host, changed and deleted, with one line about each."""
        self.run_ctl("migrate")
        add = ("user", "add", "--stdin")
        self.assertEqual(self.run_ctl(*add, "Juliet@Example.com", given="pw"), (0, "added juliet@example.com\n", ""))
        self.assertEqual(self.run_ctl(*add, "nurse@localhost", given="pw\r\n"), (0, "added nurse@localhost\n", ""))
        both = (0, "nurse@localhost\njuliet@example.com\n", "")
        self.assertEqual(self.run_ctl("user", "list"), both)
        self.assertEqual(self.run_ctl("user", "list", "Example.com"), (0, "juliet@example.com\n", ""))
        changed = self.run_ctl("user", "password", "juliet@example.com", "--stdin", given="other\n")
        self.assertEqual(changed, (0, "juliet@example.com has a new password\n", ""))
        self.assertEqual(self.run_ctl("user", "delete", "juliet@example.com"), (0, "deleted juliet@example.com\n", ""))
        self.assertEqual(self.run_ctl("user", "list"), (0, "nurse@localhost\n", ""))

    def test_tiers(self) -> None:
        """An account gets a tier of the ini, and loses it; it is disabled and enabled."""
        self.ini.write_text(INI + "[tier sponsor]\nsessions = 20\n")
        self.run_ctl("migrate")
        self.run_ctl("user", "add", "--stdin", "juliet@example.com", given="pw")
        of_juliet = "juliet@example.com"
        for words, line in (
            (("tier", of_juliet, "sponsor"), f"{of_juliet} has the tier sponsor\n"),
            (("tier", of_juliet, "none"), f"{of_juliet} has no tier\n"),
            (("disable", of_juliet), f"{of_juliet} is disabled\n"),
            (("enable", of_juliet), f"{of_juliet} is enabled\n"),
        ):
            self.assertEqual(self.run_ctl("user", *words), (0, line, ""))
        for words, complaint in (
            (("tier", of_juliet, "sponsors"), 'x.ini has no section [tier sponsors]; did you mean "sponsor"?'),
            (("tier", "romeo@example.com", "sponsor"), "there is no account romeo@example.com"),
            (("disable", "romeo@example.com"), "there is no account romeo@example.com"),
        ):
            self.assertEqual(self.run_ctl("user", *words), (1, "", f"chatrixctl: {complaint}\n"))

    def test_groups(self) -> None:
        """Shared groups are made, filled, listed, emptied and deleted, with one line about each."""
        self.ini.write_text(INI.replace("modules = ping", MODULES))
        self.run_ctl("migrate")
        for jid in ("juliet@example.com", "romeo@example.com"):
            self.run_ctl("user", "add", "--stdin", jid, given="pw")
        for words, line in (
            (("add", "Example.com", "Star-crossed lovers"), "added the group Star-crossed lovers of example.com\n"),
            (
                ("join", "juliet@example.com", "Star-crossed lovers"),
                "juliet@example.com is in the group Star-crossed lovers now\n",
            ),
            (
                ("join", "juliet@example.com", "Star-crossed lovers"),
                "juliet@example.com was in the group Star-crossed lovers already\n",
            ),
            (("list",), "Star-crossed lovers (example.com)\n    juliet@example.com\n"),
            (("list", "localhost"), ""),
            (
                ("leave", "juliet@example.com", "Star-crossed lovers"),
                "juliet@example.com is not in the group Star-crossed lovers any more\n",
            ),
            (
                ("delete", "example.com", "Star-crossed lovers"),
                "deleted the group Star-crossed lovers of example.com\n",
            ),
        ):
            self.assertEqual(self.run_ctl("group", *words), (0, line, ""))
        self.run_ctl("group", "add", "example.com", "A")
        for words, complaint in (
            (("add", "example.com", "A"), "example.com has a group A already"),
            (("add", "example.com", " "), "' ' cannot be the name of a group"),
            (("delete", "localhost", "A"), "localhost has no group A"),
            (
                ("join", "nobody@example.com", "A"),
                "there is no account nobody@example.com, or example.com has no group A",
            ),
            (("leave", "juliet@example.com", "A"), "juliet@example.com is not in a group A"),
        ):
            self.assertEqual(self.run_ctl("group", *words), (1, "", f"chatrixctl: {complaint}\n"))

    def test_groups_without_their_module(self) -> None:
        """Whoever defines groups that nobody will see is told."""
        self.run_ctl("migrate")
        status, _, warned = self.run_ctl("group", "add", "example.com", "A")
        self.assertEqual((status, "shared_roster is not in modules" in warned), (0, True))

    def test_users_refused(self) -> None:
        """Exit status 1 and one line for what cannot be done."""
        self.assertIn("migrate", self.run_ctl("user", "list")[2])
        self.run_ctl("migrate")
        self.run_ctl("user", "add", "a@localhost", "--stdin", given="pw")
        for words, given, said in (
            (("add", "a@localhost", "--stdin"), b"pw", "a@localhost exists already"),
            (("password", "b@localhost", "--stdin"), b"pw", "there is no account b@localhost"),
            (("delete", "b@localhost"), b"", "there is no account b@localhost"),
            (("add", "b@localhost", "--stdin"), b"\xff\n", "is not UTF-8 text"),
        ):
            self.check_refusal(self.run_ctl("user", *words, given=given), said)
        for words, said in (
            (("add", "b@exampel.com"), 'did you mean "b@example.com"?'),
            (("add", "localhost"), "is not the address of an account"),
            (("delete", "b@localhost/r"), "is not the address of an account"),
            (("password", "@localhost"), "is not an address"),
            (("list", "b.example"), "b.example is not a host of x.ini"),
        ):
            self.check_refusal(self.say("user", *words), said)
        self.assertEqual(self.run_ctl("user", "list"), (0, "a@localhost\n", ""))

    def check_refusal(self, outcome: tuple[int, str, str], said: str) -> None:
        """Assert exit status 1, no output, and one line that says this."""
        status, printed, complaint = outcome
        self.assertEqual((status, printed), (1, ""), complaint)
        self.assertTrue(complaint.startswith("chatrixctl: ") and complaint.count("\n") == 1, complaint)
        self.assertIn(said, complaint)

    def test_passwords_refused(self) -> None:
        """What cannot be a password is refused before the database is touched."""
        self.check_refusal(self.run_ctl("user", "add", "b@localhost", "--stdin"), "this cannot be a password: ")
        self.assertFalse(self.state.exists())

    def test_many_users(self) -> None:
        """A list longer than a page is whole, in order, and may be cut off by its reader."""
        self.run_ctl("migrate")
        program = (
            "import sys; from pathlib import Path; from twisted.internet.task import react\n"
            "from twisted.internet.defer import ensureDeferred\n"
            "from chatrix.store.accounts import Accounts; from chatrix.store.database import open_database\n"
            "async def fill(reactor):\n"
            "    database = open_database('sqlite:chatrix.sqlite', sys.argv[1], reactor); await database.open()\n"
            "    for n in range(250): await Accounts(database).create(f'u{n:03}', 'localhost', ())\n"
            "    await database.close()\n"
            "react(lambda reactor: ensureDeferred(fill(reactor)))"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program, str(self.state)], check=True, env=environment, timeout=120)
        self.assertEqual(self.run_ctl("user", "list")[1].split(), [f"u{n:03}@localhost" for n in range(250)])
        with subprocess.Popen(
            self.command("user", "list"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=environment,
        ) as listing:
            assert listing.stdout is not None and listing.stderr is not None
            listing.stdout.close()
            self.assertEqual(listing.stderr.read(), b"")

    def test_prompt(self) -> None:
        """On a terminal the password is asked for twice, without echo, and the two must agree."""
        self.run_ctl("migrate")
        status, shown = self.on_a_terminal("user", "add", "a@localhost", typed=["pässword", "pässword"])
        self.assertEqual(status, 0, shown)
        self.assertIn("added a@localhost", shown)
        self.assertNotIn("ssword\r", shown)
        status, shown = self.on_a_terminal("user", "add", "b@localhost", typed=["one", "two"])
        self.assertEqual(status, 1)
        self.assertIn("the two passwords differ", shown)
        self.assertEqual(self.run_ctl("user", "list")[1], "a@localhost\n")

    def on_a_terminal(self, *words: str, typed: list[str]) -> tuple[int, str]:
        """Exit status, and all that the terminal has shown."""
        child, terminal = pty.fork()
        if child == 0:
            try:
                os.chdir(self.folder)
                os.execve(sys.executable, self.command(*words), {**os.environ, "PYTHONPATH": str(ROOT)})
            finally:
                os._exit(127)
        shown = b""
        while select.select([terminal], [], [], 60)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # Linux says so when the other end has gone
                break
            shown += piece
            if typed and shown.endswith(b": "):
                os.write(terminal, typed.pop(0).encode() + b"\n")
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()

    def test_root_acts_as_the_owner(self) -> None:
        """What root makes in another user's state belongs to that user, or the server could not use it."""
        self.give_state_to_nobody()
        child = os.fork()
        if child == 0:
            try:
                become_owner(self.state)
            except AdminError:
                pass  # the next test's subject
            finally:
                (self.state / "made").touch()
                os._exit(0)
        os.waitpid(child, 0)
        made = (self.state / "made").stat()
        self.assertEqual((made.st_uid, made.st_gid), (NOBODY, NOBODY))

    def test_first_run_by_root(self) -> None:
        """The owner of the state gets it all; or, where that user cannot read this program, the reason in a line."""
        self.give_state_to_nobody()
        status, _, said = self.run_ctl("first-run")
        if status != 0:
            self.assertRegex(said, r"chatrixctl: \S+/var belongs to nobody, who cannot read this program in \S+\n$")
            self.assertEqual(list(self.state.iterdir()), [])
            return
        owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in self.state.iterdir()}
        self.assertTrue({"chatrix.sqlite", "localhost.pem"} <= owners.keys())
        self.assertEqual(set(owners.values()), {(NOBODY, NOBODY)})

    def give_state_to_nobody(self) -> None:
        """Let the state belong to another user."""
        if os.geteuid() != 0:
            raise SkipTest("only root can act as another user")
        self.folder.chmod(0o711)
        self.state.mkdir(mode=0o700)
        os.chown(self.state, NOBODY, NOBODY)

    def test_options(self) -> None:
        """The page of options is printed without an ini."""
        self.assertEqual(self.say("options", ini=False), (0, (ROOT / "docs/options.md").read_text(), ""))


class WithAServer(TestCase):
    """While `twistd chatrix` runs."""

    timeout = 120

    async def test_server(self) -> None:
        """status and reload reach it; accounts change beside it; a second server on its state does not start."""
        server = RunningServer(modules="ping")
        await deferToThread(server.start, self)

        def control(*words: str, given: str = "") -> str:
            return server.control(*words, given=given)

        status = await deferToThread(control, "status")
        self.assertRegex(status, rf"process: +{server.program.pid}\n")
        self.assertRegex(status, r"hosts: +localhost\n")
        self.assertEqual(await deferToThread(control, "reload"), "nothing changed\n")
        text = server.ini.read_text()
        server.ini.write_text(text + "[limits]\ndepth = 99\n")
        self.assertEqual(await deferToThread(control, "reload"), "[limits] depth: 64 -> 99\n")
        added = await deferToThread(control, "user", "add", "a@localhost", "--stdin", given="pw")
        self.assertEqual(added, "added a@localhost\n")
        self.assertEqual(await deferToThread(control, "user", "delete", "a@localhost"), "deleted a@localhost\n")
