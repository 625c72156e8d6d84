"""However chatrix is installed (from source, editable, by a wheel), `twistd chatrix` and `chatrixctl` are there.

Each installation is real and goes into a virtual environment of its own; what chatrix depends on comes from the
environment that runs the tests, by a .pth file, so that nothing is fetched.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SkipTest, TestCase

from tests.imports import ROOT

TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
NOT_SOURCE = shutil.ignore_patterns(".*", "_trial_temp*", "build", "dist", "var", "*.egg-info", "__pycache__")


class Installed(TestCase):
    """Three ways to install, one result."""

    def setUp(self) -> None:
        if sysconfig.get_path("purelib") not in sys.path:
            raise SkipTest("the interpreter that runs the tests does not use its own site-packages")
        self.folder = Path(mkdtemp(prefix="chatrix-packaging-"))
        self.addCleanup(shutil.rmtree, self.folder)
        # pip builds inside the source, which somebody may be working on.
        self.source = self.folder / "source"
        shutil.copytree(ROOT, self.source, ignore=NOT_SOURCE)
        venv = self.folder / "venv"
        self.run_python(sys.executable, "-m", "venv", "--without-pip", str(venv))
        self.python = str(venv / "bin" / "python")
        purelib = self.run_python(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        (Path(purelib) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def test_source(self) -> None:
        """`pip install .`"""
        self.pip("install", str(self.source))
        self.assert_installed(self.folder / "venv")

    def test_editable(self) -> None:
        """`pip install -e .`, where a flat layout would lose the plugin."""
        self.pip("install", "--editable", str(self.source))
        self.assert_installed(self.source)

    def test_wheel(self) -> None:
        """A wheel: it holds every file of chatrix, and nothing that belongs to Twisted."""
        self.run_python(
            sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps", "--no-index",
            "--no-build-isolation", "--wheel-dir", str(self.folder), str(self.source),
        )  # fmt: skip
        (wheel,) = self.folder.glob("chatrix-*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        # Migrations, kept statements: what is no module is easily left out.
        files = {str(path.relative_to(ROOT)) for path in (ROOT / "chatrix").rglob("*") if path.is_file()}
        files = {name for name in files if "__pycache__" not in name}
        self.assertEqual(files - names, set())
        self.assertLessEqual({"chatrix/py.typed", "chatrix/store/database.py"}, names)
        self.assertTrue(any(name.startswith("chatrix/store/migrations/versions/") for name in names))
        self.assertEqual({name for name in names if name.startswith("twisted/")}, {"twisted/plugins/chatrix_plugin.py"})
        self.assertEqual({name.split("/")[0].split("-")[0] for name in names}, {"chatrix", "twisted"})
        self.pip("install", str(wheel))
        self.assert_installed(self.folder / "venv")

    def pip(self, *arguments: str) -> None:
        """Let the tests' own pip work on the new environment, without a network."""
        self.run_python(
            sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", self.python, *arguments,
            "--no-deps", "--no-index", "--no-build-isolation",
        )  # fmt: skip

    def assert_installed(self, place: Path) -> None:
        """Check that `twistd` lists chatrix, that `chatrixctl` answers, and that both use the files under `place`."""
        self.assertRegex(
            self.run_python(self.python, "-c", TWISTD, "--help"), r"(?m)^ +chatrix +A federated XMPP server"
        )
        self.assertIn("--config", self.run_python(self.python, "-c", TWISTD, "chatrix", "--help"))
        chatrixctl = str(self.folder / "venv" / "bin" / "chatrixctl")
        self.assertIn("check-config", self.run_python(chatrixctl, "--help"))
        where = self.run_python(self.python, "-c", "import chatrix; print(list(chatrix.__path__)[0])").strip()
        self.assertTrue(Path(where).is_relative_to(place), where)

    def run_python(self, *command: str) -> str:
        """Run a command outside the checkout, where Python would find chatrix in any case; return what it prints."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout
