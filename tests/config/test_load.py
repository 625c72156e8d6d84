"""A whole ini: what it becomes, and every kind of problem with its file, line and guess."""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from chatrix.config.load import Config, load, load_bytes
from chatrix.config.options import option, show_options
from chatrix.config.problems import ConfigError
from chatrix.config.sections import LimitOptions
from chatrix.config.values import DAY, Duration
from chatrix.xmpp.jid import JID

PIECES = [
    "[chatrix]", "[limits]", "[host a.example]", "[module roster]", "[host ", "[component x]", "[]", "\n", "\n  ",
    "state", "modules", "c2s", "depth", "certificate", "admins", "tcp:1", "a@b", "none", "1 d", "64", "x.pem", "roster",
    ";", " = ", "\x00", "é",
]  # fmt: skip
"""What an ini is made of, to be put together at random."""
HOST = "[host example.com]\ncertificate = a.pem\n"


@dataclass(frozen=True, kw_only=True)
class OfflineOptions:
    """Options as a module declares them."""

    messages: int = option(100, doc="Messages kept.", minimum=0, maximum=1000)
    keep_for: Duration = option(Duration(28 * DAY), doc="How long.", restart=False)
    token: str | None = option(None, doc="A secret.", secret=True)

    def __post_init__(self) -> None:
        if self.messages and not self.keep_for:
            raise ValueError("messages that are kept for no time")


def module_options(word: str) -> type | None:
    """A finder as the server has one: offline has options, roster has none, acme is broken."""
    if word == "acme.module":
        raise ImportError("No module named 'acme'")
    return {"offline": OfflineOptions, "roster": None}[word]


def read(text: str, finder: Callable[[str], type | None] | None = None) -> Config:
    """The Config of a text that stands in /etc/chatrix/x.ini."""
    return load_bytes(text.encode(), Path("/etc/chatrix/x.ini"), finder, lambda: ["offline", "roster"])


class Loading(TestCase):
    """What a good ini becomes."""

    def test_defaults(self) -> None:
        """A host and its certificate are enough."""
        config = read(HOST)
        self.assertEqual(config.chatrix.state, Path("/etc/chatrix/var"))
        self.assertEqual(config.chatrix.database, "sqlite:/etc/chatrix/var/chatrix.sqlite")
        self.assertEqual(config.chatrix.control_socket, Path("/etc/chatrix/var/control.sock"))
        self.assertEqual((config.chatrix.c2s, config.chatrix.c2s_tls), (("tcp:5222",), ("tcp:5223",)))
        self.assertEqual(config.limits, LimitOptions())
        self.assertEqual(config.hosts["example.com"].certificate, Path("/etc/chatrix/a.pem"))
        self.assertEqual(config.hosts["example.com"].admins, ())

    def test_everything_set(self) -> None:
        """Every section with options that are not the defaults."""
        config = read(
            "[chatrix]\nstate = /srv/x:y\nmodules = roster\ndatabase = postgresql://c@localhost/c\n"
            "c2s = tcp:1 unix:c.sock\nc2s tls =\n[limits]\nlog in time = 1 min\nc2s rate = none\n"
            "[host Example.COM]\ncertificate = /c\nadmins = Juliet@example.com\nmechanisms = scram-sha-256 PLAIN\n"
            "conflict = rename\n[host b.example]\ncertificate = /c\n"
        )
        self.assertEqual(config.chatrix.modules, ("roster",))
        self.assertEqual(config.chatrix.c2s, ("tcp:1", r"unix:/srv/x\:y/c.sock"))
        self.assertEqual(config.chatrix.c2s_tls, ())
        self.assertEqual((config.limits.log_in_time, config.limits.c2s_rate), (60, None))
        self.assertEqual(list(config.hosts), ["example.com", "b.example"])
        host = config.hosts["example.com"]
        self.assertEqual(host.admins, (JID.parse("juliet@example.com"),))
        self.assertEqual((host.mechanisms, host.conflict), (("SCRAM-SHA-256", "PLAIN"), "rename"))

    def test_tiers(self) -> None:
        """A tier says what it grants; of the rest it says nothing."""
        config = read(HOST + "[tier sponsor]\nsessions = 20\nstorage = 10 MiB\noffline messages = 0\n[tier Founder]\n")
        self.assertEqual(list(config.tiers), ["sponsor", "Founder"])
        sponsor = config.tiers["sponsor"]
        self.assertEqual(
            (sponsor.sessions, sponsor.storage, sponsor.offline_messages, sponsor.roster_items),
            (20, 10 * 1024 * 1024, 0, None),
        )
        self.assertEqual(read(HOST).tiers, {})

    def test_sqlite_files(self) -> None:
        """A relative file is inside state, also in SQLAlchemy's spelling; an absolute one stays."""
        for database, file in (
            ("sqlite:a.db", "/s/a.db"),
            ("sqlite:///a.db", "/s/a.db"),
            ("sqlite:/x/a.db", "/x/a.db"),
            ("sqlite:////x/a.db", "/x/a.db"),
        ):
            config = read(f"[chatrix]\nstate = /s\ndatabase = {database}\n{HOST}")
            self.assertEqual(config.chatrix.database, f"sqlite:{file}")

    def test_module_options(self) -> None:
        """Enabled modules get their options, typed, with a section or without; others get nothing."""
        config = read(f"[chatrix]\nmodules = roster offline\n[module offline]\nkeep for = 1 h\n{HOST}", module_options)
        self.assertEqual(config.modules, {"offline": OfflineOptions(keep_for=Duration(3600))})
        self.assertEqual(
            read(f"[chatrix]\nmodules = offline\n{HOST}", module_options).modules, {"offline": OfflineOptions()}
        )

    def test_module_options_without_a_finder(self) -> None:
        """Whoever cannot import modules gets the texts."""
        config = read(f"[chatrix]\nmodules = offline x\n[module offline]\nkeep  for = 1 h\n{HOST}")
        self.assertEqual(config.modules, {"offline": {"keep for": "1 h"}})

    def test_connection_ceiling(self) -> None:
        """Unless the ini says a number, the system's limit of open files does, and some are kept back."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertTrue(1 <= LimitOptions().connection_ceiling < files)
        self.assertEqual(LimitOptions(connections_in_all=7).connection_ceiling, 7)

    def test_equal_however_it_is_written(self) -> None:
        """Comments and order of options make no difference."""
        self.assertEqual(read(f"; x\n{HOST}[chatrix]\nstate = var\n"), read(HOST))

    def test_late_problems_have_a_line(self) -> None:
        """What is found after loading is said with the line of the option, the word in it, or the section."""
        config = read(f"[chatrix]\nmodules = roster\n  offline\n{HOST}")
        self.assertEqual(str(config.problem("chatrix", "modules", "m", word="offline")), "/etc/chatrix/x.ini:3: m")
        self.assertEqual(str(config.problem("host example.com", "admins", "m")), "/etc/chatrix/x.ini:4: m")
        guess = config.problem("limits", "depth", "m", suggestion="s")
        self.assertEqual(str(guess), '/etc/chatrix/x.ini: m; did you mean "s"?')

    def test_secrets_are_not_shown(self) -> None:
        """Neither a secret option nor the password in a database's address is shown."""
        self.assertEqual(show_options(OfflineOptions(token="t0ps3cret"))["token"], "(hidden)")
        for address in (
            "postgresql://c:t0ps3cret@db/c",
            "postgresql://c:a@t0ps3cret@db/c",
            "postgresql://c:/t0ps3cret@db/c",
            "postgresql:///c?password=t0ps3cret",
        ):
            shown = show_options(read(f"[chatrix]\ndatabase = {address}\n{HOST}").chatrix)["database"]
            self.assertNotIn("t0ps3cret", shown)
            self.assertIn("/c", shown)


class Problems(TestCase):
    """What is said against a bad ini."""

    def check(self, text: str, *expected: str, finder: Callable[[str], type | None] | None = None) -> None:
        """Assert that exactly these problems are found, each named from its line on."""
        error = self.assertRaises(ConfigError, read, text, finder)
        self.assertEqual(str(error).replace("/etc/chatrix/x.ini:", "").split("\n"), list(expected))
        self.assertEqual(len(error.problems), len(expected))

    def test_unknown_option(self) -> None:
        """The form of the message, in full."""
        error = self.assertRaises(ConfigError, read, f"[chatrix]\nmodles = roster\n{HOST}")
        self.assertEqual(
            str(error), '/etc/chatrix/x.ini:2: unknown option "modles" in [chatrix]; did you mean "modules"?'
        )
        (problem,) = error.problems
        self.assertEqual((problem.file, problem.line, problem.suggestion), ("/etc/chatrix/x.ini", 2, "modules"))

    def test_unlike_anything(self) -> None:
        """No guess is made where none is close."""
        self.check(f"{HOST}zzz = 1\n", '3: unknown option "zzz" in [host example.com]')

    def test_sections(self) -> None:
        """Unknown, nameless, named without need, repeated and not yet supported sections."""
        self.check(
            f"{HOST}[limit]\n[hst a.b]\n[chatrix x]\n[host]\n[module]\n[what]\n[limits]\n[limits]\n[host EXAMPLE.com]\n"
            "[service muc.example.com]\ntype = muc\n[component irc.example.com]\n[host a@b/c]\n",
            '3: unknown section "[limit]"; did you mean "[limits]"?',
            '4: unknown section "[hst a.b]"; did you mean "[host a.b]"?',
            '5: [chatrix x] has a name too many; did you mean "[chatrix]"?',
            "6: [host] needs a domain, as in [host DOMAIN]",
            "7: [module] needs a word, as in [module WORD]",
            '8: unknown section "[what]"',
            "10: [limits] was already opened in line 9",
            "11: [host EXAMPLE.com] was already opened in line 1",
            "12: [service muc.example.com]: services are not supported by this version",
            "14: [component irc.example.com]: components are not supported by this version",
            '15: "a@b/c" is not a domain; did you mean "[host b]"?',
        )

    def test_bad_domain(self) -> None:
        """A host that no address can have."""
        error = self.assertRaises(ConfigError, read, "[host @]\ncertificate = a\n")
        self.assertIn('x.ini:1: "@" is not a domain', str(error))

    def test_bad_tiers(self) -> None:
        """A tier has one name, known options, and not the name that stands for no tier."""
        self.check(
            f"{HOST}[tier]\n[tier none]\n[tier x]\nsesions = 3\nroster items = 0\n[tier x]\n",
            "3: [tier] needs a name, as in [tier NAME]",
            '4: "none" cannot be the name of a tier',
            '6: unknown option "sesions" in [tier x]; did you mean "sessions"?',
            '7: roster items in [tier x]: "0" is too little; at least 1',
            "8: [tier x] was already opened in line 5",
        )

    def test_foreign_admins(self) -> None:
        """An admin is an account of the host: another host's, or a subdomain's, is not."""
        self.check(
            "[host a.example]\ncertificate = /c\nadmins = x@a.example\n  x@b.example\n[host b.example]\n"
            "certificate = /c\nadmins = x@c.b.example\n",
            '4: admins in [host a.example]: "x@b.example" is no account of this host',
            '7: admins in [host b.example]: "x@c.b.example" is no account of this host',
        )

    def test_nobody_to_serve(self) -> None:
        """An ini without a host is a mistake, an empty one too."""
        error = self.assertRaises(ConfigError, read, "")
        self.assertEqual(str(error), "/etc/chatrix/x.ini: there is no [host DOMAIN] section, so nobody could log in")

    def test_values(self) -> None:
        """Wrong types, values out of bounds, choices that do not exist or do not work yet, each in its line."""
        self.check(
            "[chatrix]\ndatabase = mysql:x\nc2s = tcp:5222\n  ssl:5223\n  5222\nmodules = disco, roster\n"
            "[limits]\nstanza size = 1\ndepth = 1\ndepth = 70\nc2s rate = fast\nban time = 1 year\nlog in time = 2 h\n"
            "[host a.example]\ncertificate =\nregistration = open\nadmins = a.example\n"
            "mechanisms = PLAIN SCRAM-SHA-26\nconflict = replaced\n",
            '2: database in [chatrix]: is neither "sqlite:FILE" nor "postgresql://USER@HOST/DATABASE"',
            '4: c2s in [chatrix]: "ssl:5223": TLS is made by chatrix itself, so write "tcp:5223"',
            '5: c2s in [chatrix]: "5222" is a port alone; did you mean "tcp:5222"?',
            "6: modules in [chatrix]: several values are separated by spaces, without commas",
            '8: stanza size in [limits]: "1" has no unit; write for example "256 KiB"',
            '9: depth in [limits]: "1" is too little; at least 8',
            '10: option "depth" in [limits] was already set in line 9',
            '11: c2s rate in [limits]: "fast" is not a rate, such as "64 KiB/s"',
            '12: ban time in [limits]: "year" is not a unit here; there are d, h, min, s, ms',
            '13: log in time in [limits]: "2 h" is too much; at most 1 h',
            "15: certificate in [host a.example]: needs a value",
            '16: registration in [host a.example]: "open" is not supported by this version; only "closed" is',
            '17: admins in [host a.example]: "a.example" is not the address of an account, such as juliet@example.com',
            '18: mechanisms in [host a.example]: "SCRAM-SHA-26" is not one of SCRAM-SHA-512-PLUS, SCRAM-SHA-256-PLUS, '
            'SCRAM-SHA-1-PLUS, SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN; did you mean "SCRAM-SHA-256"?',
            '19: conflict in [host a.example]: "replaced" is not one of replace, refuse, rename; did you mean '
            '"replace"?',
        )

    def test_options_of_later_versions(self) -> None:
        """Options of the design that do not exist yet are errors, not silence."""
        for name in ("s2s", "s2s tls", "components", "web", "web tls"):
            error = self.assertRaises(ConfigError, read, f"[chatrix]\n{name} = tcp:1\n{HOST}")
            self.assertIn(f'x.ini:2: unknown option "{name}" in [chatrix]', str(error))

    def test_missing_option(self) -> None:
        """What has no default must be there."""
        self.check("[host a.example]\n", '1: [host a.example] needs the option "certificate"')

    def test_bad_databases(self) -> None:
        """Each wrong address of a database; no message repeats a password."""
        for address, said in (
            ("sqlite", "is neither"),
            ("sqlite:", "the file is missing"),
            ("sqlite:///", "the file is missing"),
            ("postgresql:c", "is neither"),
            ("postgresql://c@localhost", "the name of the database is missing"),
            ("postgresql://c:s3cret/x@localhost:1/c", "written as %XX"),
            ("postgresql://c@localhost:0/c", "0 is not a port"),
            ("postgresql://c@localhost:99999/c", "written as %XX"),
        ):
            error = self.assertRaises(ConfigError, read, f"[chatrix]\ndatabase = {address}\n{HOST}")
            self.assertIn(said, str(error), address)
            self.assertNotIn("s3cret", str(error))

    def test_one_endpoint_for_both_doors(self) -> None:
        """STARTTLS and direct TLS cannot share a port."""
        self.check(f"[chatrix]\nc2s = tcp:5223\n{HOST}", '2: "tcp:5223" is both in "c2s" and in "c2s tls"')

    def test_options_against_each_other(self) -> None:
        """What two options say together is checked as well."""
        self.check(
            f"{HOST}[limits]\nstanza size = 10 KiB\nstanza size before log in = 20 KiB\n",
            "3: [limits]: stanza size is below stanza size before log-in",
        )

    def test_modules(self) -> None:
        """Unknown and broken modules, options for a module that is not enabled or has none, and wrong options."""
        self.check(
            f"[chatrix]\nmodules = rooster\n offline\n acme.module\n roster\n{HOST}"
            "[module offline]\nmesages = 5\nkeep for = 1\nmessages = 1001\n[module roster]\nx = 1\n[module ofline]\n",
            '2: unknown module "rooster"; did you mean "roster"?',
            "4: module \"acme.module\" cannot be loaded: ImportError: No module named 'acme'",
            '9: unknown option "mesages" in [module offline]; did you mean "messages"?',
            '10: keep for in [module offline]: "1" has no unit; write for example "30 s"',
            '11: messages in [module offline]: "1001" is too much; at most 1000',
            "13: [module roster] has no options",
            '14: [module ofline]: "ofline" is not in modules of [chatrix]; did you mean "offline"?',
            finder=module_options,
        )

    def test_module_that_objects(self) -> None:
        """What the dataclass of a module finds is a problem of its section."""
        self.check(
            f"[chatrix]\nmodules = offline\n{HOST}[module offline]\nkeep for = 0 s\n",
            "5: [module offline]: messages that are kept for no time",
            finder=module_options,
        )

    def test_missing_file(self) -> None:
        """A file that is not there is a problem like others."""
        error = self.assertRaises(ConfigError, load, Path("/nonexistent/x.ini"))
        self.assertEqual(str(error), "/nonexistent/x.ini: cannot be read: No such file or directory")

    @given(st.text(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
    def test_any_text(self, text: str) -> None:
        """Any text is a Config or a ConfigError with at least one problem."""
        try:
            config = load_bytes(text.encode("utf-8", "surrogatepass"), Path("/x.ini"), module_options)
        except ConfigError as error:
            self.assertTrue(error.problems)
            self.assertTrue(all("\n" not in str(problem) for problem in error.problems))
        else:
            self.assertTrue(config.hosts)
