"""ejabberd from its Debian package, as that package configures it, less its shapers (ejabberd.yml)."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from bench.servers.server import (
    DOMAIN,
    PASSWORD,
    USER_PREFIX,
    Server,
    ServerFailed,
    fill,
    join,
    make_certificate,
    run_tool,
)

TEMPLATE = Path(__file__).with_name("ejabberd.yml")
LIBRARIES = Path("/usr/lib")
SCHEMA = Path("/usr/share/ejabberd/sql/lite.sql")

# One real registration, copied for the rest: they share a salt, which spares the load generator PBKDF2.
# `ok` is written last: without it something went wrong, whatever the exit status.
MAKE_ACCOUNTS = """
    {{ok, _}} = application:ensure_all_started(ejabberd),
    Host = <<"{domain}">>,
    Name = fun(I) -> iolist_to_binary(["{prefix}", integer_to_list(I)]) end,
    ok = ejabberd_auth:try_register(Name(0), Host, <<"{password}">>),
    [Account] = mnesia:dirty_read(passwd, {{Name(0), Host}}),
    [mnesia:dirty_write(setelement(2, Account, {{Name(I), Host}})) || I <- lists:seq(1, {last})],
    io:format("accounts: ~p ok~n", [mnesia:table_info(passwd, size)]),
    init:stop().
"""


class Ejabberd(Server):
    """Mnesia as storage; the archive, when asked for, in SQLite."""

    name = "ejabberd"
    offers = frozenset({"plain", "archive", "room"})

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("erl") is None or _library() is None:
            return "ejabberd is not installed (Debian packages: ejabberd erlang-p1-sqlite3)"
        return None

    @classmethod
    def version(cls) -> str:
        library = _library()
        return library.name.partition("-")[2] if library else "unknown"

    def configure(self) -> None:
        for name in ("mnesia", "logs"):
            (self.folder / name).mkdir()
        certificate, key = self.folder / "bench.crt", self.folder / "bench.key"
        make_certificate(certificate, key)
        join(self.folder / "bench.pem", certificate, key)
        words = {"DIR": str(self.folder), "PORT": str(self.port), "DOMAIN": DOMAIN, "MAM": "", "SQL": ""}
        if self.archive:
            database = self.folder / "ejabberd.sqlite"
            with closing(sqlite3.connect(database)) as connection:
                connection.executescript(SCHEMA.read_text())
            words["MAM"] = "  mod_mam: {default: always, db_type: sql, assume_mam_usage: true}"
            words["SQL"] = f'sql_type: sqlite\nsql_database: "{database}"'
        (self.folder / "ejabberd.yml").write_text(fill(TEMPLATE, words))
        make_accounts = MAKE_ACCOUNTS.format(
            domain=DOMAIN, prefix=USER_PREFIX, password=PASSWORD, last=self.accounts - 1
        )
        written = run_tool([*self.command(), "-eval", make_accounts], self.environment(), self.folder)
        if f"accounts: {self.accounts} ok" not in written:
            raise ServerFailed(f"ejabberd did not make its accounts:\n{written.strip()}")

    def command(self) -> list[str]:
        """What `ejabberdctl foreground` runs, without its change of user and without a node name (no cluster here)."""
        vm = ["erl", "-noinput", "+K", "true", "+P", "250000"]
        mnesia = ["-mnesia", "dir", f'"{self.folder / "mnesia"}"']
        return [*vm, *mnesia, "-ejabberd", "log_rotate_count", "0", "-s", "ejabberd"]

    def environment(self) -> dict[str, str]:
        library = _library()
        assert library is not None
        logs = self.folder / "logs"
        return {
            **super().environment(),
            "ERL_LIBS": str(library.parent),
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(logs / "ejabberd.log"),
            "ERL_MAX_PORTS": "65536",
            "ERL_MAX_ETS_TABLES": "2053",
            "ERL_CRASH_DUMP": str(logs / "crash"),
            "ERL_CRASH_DUMP_BYTES": "0",
        }


def _library() -> Path | None:
    """The folder ejabberd-VERSION of the Debian package."""
    return next(iter(sorted(LIBRARIES.glob("*/ejabberd-*"), reverse=True)), None)
