"""The deploy kit: which file is which manifest of the example.

`python -m support.kit`, in `tests/`, writes all of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from support.environment import environment

ROOT = Path(__file__).resolve().parent.parent.parent
KIT = ROOT / "deploy"
GUNICORN = "gunicorn -w 4 -b 0.0.0.0:8000 example_app:app"
ENVIRONMENT = {"FLASK_HEALTH_LISTEN": "0.0.0.0:9000"}
SERVERS = "--servers=10.0.0.11:8000,10.0.0.12:8000"


class File(NamedTuple):
    """A file of the kit, and what `flask health manifest` is given to print it."""

    name: str
    arguments: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it is."""
        return KIT / self.name

    @property
    def command(self) -> str:
        """The command that prints it, for people."""
        return f"flask --app example_app health manifest {' '.join(self.arguments)}"

    def render(self) -> str:
        """What the command prints."""
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            shutil.copy(ROOT / "example_app.py", home)
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "flask", "--app", "example_app", "health", "manifest"),
                    *self.arguments,
                    *("--gunicorn", GUNICORN),
                ],
                cwd=home,
                env=environment(home, **ENVIRONMENT),
                capture_output=True,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout


FILES = (
    File("kubernetes.yaml", ("kubernetes",)),
    File("Dockerfile", ("docker",)),
    File("compose.yaml", ("compose", "--replicas=1")),
    File("example-app.service", ("systemd",)),
    File("haproxy.cfg", ("haproxy", SERVERS)),
    File("nginx.conf", ("nginx", SERVERS)),
    File("prometheus.yml", ("prometheus", SERVERS)),
    File("aws-target-group.yaml", ("aws",)),
    File("consul.json", ("consul",)),
    File("consul-ttl.sh", ("consul-ttl",)),
    File("github-verify.yml", ("github",)),
    File("fleet/kubernetes.yaml", ("kubernetes", "--fleet", "--replicas=3")),
    File("fleet/compose.yaml", ("compose", "--fleet", "--replicas=3")),
)


if __name__ == "__main__":
    for file in FILES:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(file.render())
