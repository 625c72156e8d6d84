"""Prosody as somebody else's server: what our transcript runner does must make sense to it, too."""

import shutil
import tempfile
from pathlib import Path

from tests.running import NotRunning, Program, free_ports, write_certificate

_CONFIG = """
run_as_root = true
pidfile = "{folder}/pid"
data_path = "{folder}/data"
log = {{ info = "*console" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {tls_port} }}
modules_disabled = {{ "s2s", "http" }}
modules_enabled = {{ "disco", "roster", "saslauth", "tls", "ping", "version", "time", "offline" }}
authentication = "internal_hashed"
ssl = {{ certificate = "{folder}/server.pem", key = "{folder}/server.pem" }}
c2s_direct_tls_ssl = ssl
{hosts}
"""


class RunningProsody:
    """Prosody on free ports of 127.0.0.1, for `hosts`, below a temporary folder."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chatrix-prosody-"))
        self.port, self.tls_port = free_ports(2)
        self.authority, _ = write_certificate(self.folder, hosts)
        config = self.folder / "prosody.cfg.lua"
        config.write_text(
            _CONFIG.format(
                folder=self.folder,
                port=self.port,
                tls_port=self.tls_port,
                hosts="\n".join(f'VirtualHost "{host}"' for host in hosts),
            )
        )
        self._program = Program(["prosody", "-F", "--config", str(config)])

    @staticmethod
    def installed() -> bool:
        """Tell whether there is a Prosody to run."""
        return shutil.which("prosody") is not None

    def start(self) -> None:
        """Start and wait until it listens. Raises: NotRunning."""
        try:
            self._program.start((f"]:{self.port}", f"]:{self.tls_port}"))
        except NotRunning:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop, and forget everything."""
        self._program.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_account(self, jid: str, password: str) -> None:
        """Write the file in which Prosody looks the account up at its first log-in."""
        local, _, domain = jid.partition("@")
        accounts = self.folder / "data" / domain.replace(".", "%2e").replace("-", "%2d") / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{local}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
