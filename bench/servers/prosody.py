"""Prosody from its Debian package, as that package configures it, less its rate limits (prosody.cfg.lua)."""

import hashlib
import hmac
import re
import shutil
import subprocess
from pathlib import Path

from bench.servers.server import DOMAIN, ITERATIONS, PASSWORD, USER_PREFIX, Server, fill, make_certificate

TEMPLATE = Path(__file__).with_name("prosody.cfg.lua")
SALT = "5f0c4f1e-7e65-4f0b-9f39-0d8b7b8f6a11"


class Prosody(Server):
    """Files as storage; the archive, when asked for, in SQLite."""

    name = "Prosody"
    offers = frozenset({"plain", "archive", "room"})

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("prosody") is None:
            return "Prosody is not installed (Debian packages: prosody lua-dbi-sqlite3)"
        return None

    @classmethod
    def version(cls) -> str:
        written = subprocess.run(
            ["prosodyctl", "about"], capture_output=True, text=True, check=False, timeout=60
        ).stdout
        found = re.search(r"^Prosody (\d\S*)", written, re.MULTILINE)
        return found[1] if found else "unknown"

    def configure(self) -> None:
        make_certificate(self.folder / "bench.crt", self.folder / "bench.key")
        words = {
            "DIR": str(self.folder),
            "PORT": str(self.port),
            "DOMAIN": DOMAIN,
            "MAM_MODULE": '"mam";' if self.archive else "",
            "STORAGE": '{ archive = "sql" }' if self.archive else '"internal"',
        }
        (self.folder / "prosody.cfg.lua").write_text(fill(TEMPLATE, words))
        accounts = self.folder / "data" / _file_name(DOMAIN) / "accounts"
        accounts.mkdir(parents=True)
        text = _account()
        for number in range(self.accounts):
            (accounts / f"{_file_name(USER_PREFIX)}{number}.dat").write_text(text)

    def command(self) -> list[str]:
        return ["prosody", "-F", "--config", str(self.folder / "prosody.cfg.lua")]


def _account() -> str:
    """One account as Prosody's `internal_hashed` keeps it; one salt for all spares the load generator PBKDF2."""
    salted = hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), SALT.encode(), ITERATIONS)
    stored_key = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest()
    server_key = hmac.digest(salted, b"Server Key", "sha1").hex()
    return (
        f'return {{\n\t["iteration_count"] = {ITERATIONS};\n\t["salt"] = "{SALT}";\n'
        f'\t["server_key"] = "{server_key}";\n\t["stored_key"] = "{stored_key}";\n}};\n'
    )


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in text)
