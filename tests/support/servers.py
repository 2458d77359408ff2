"""Real servers of every kind for a test: started by their own commands, watched, always ended."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from support import processes, statedir
from support.environment import environment, free_port
from support.probing import Load, Prober, Seen, get
from support.stage import Stage
from support.waiting import eventually

UWSGI = "uwsgi --http-socket 127.0.0.1:{port} --need-app --die-on-term --module {app}"

COMMANDS = {
    "uwsgi": f"{UWSGI} --master -p 2",
    "uwsgi lazy-apps": f"{UWSGI} --master -p 2 --lazy-apps",
    "uwsgi without master": f"{UWSGI} -p 2",
    "granian": "granian --interface wsgi --workers 2 --port {port} {app}",
    "granian respawning": "granian --interface wsgi --workers 2 --respawn-failed-workers "
    "--port {port} {app}",
    "hypercorn": "hypercorn -w 2 -b 127.0.0.1:{port} {app}",
    "uvicorn": "uvicorn --interface wsgi --workers 2 --port {port} {app}",
    "uvicorn alone": "uvicorn --interface wsgi --port {port} {app}",
    "hypercorn alone": "hypercorn -w 0 -b 127.0.0.1:{port} {app}",
    "waitress": "waitress-serve --listen 127.0.0.1:{port} {app}",
    "flask run": "flask --app {app} run -p {port}",
    "flask run --debug": "flask --app {app} run -p {port} --debug",
}
"""How each server is started with two workers, or with as many as it can have."""

OF_ONE = ["flask run", "flask run --debug", "waitress", "uvicorn alone", "hypercorn alone"]
OF_TWO = [name for name in COMMANDS if name not in OF_ONE]

INSTALL = {
    "uwsgi": "pip install pyuwsgi, or: apt-get install --no-install-recommends build-essential "
    "python3-dev and pip install uwsgi"
}
"""What adds a program, where it is not `pip install` and its name."""


def command(kind: str, app: str = "served:app") -> list[str]:
    """Return the command line of a server; skips the test when it is not installed.

    It still contains `{port}`.
    """
    name, *args = COMMANDS[kind].replace("{app}", app).split()
    return [program(name), *args]


def program(name: str) -> str:
    """Return the path of a console script beside this interpreter; skips the test without it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if not found or (name == "uvicorn" and not importlib.util.find_spec("a2wsgi")):
        pytest.skip(f"needs {name}: {INSTALL.get(name, f'pip install {name} a2wsgi')}")
    return found


class Served:
    """A server and everything that it starts, in a session of its own.

    `command` is its command line, with `{port}` where its port belongs. `env` is added to the
    environment. As a context manager it ends with the block and leaves no process behind.
    """

    def __init__(
        self,
        home: Path,
        command: Sequence[str],
        *,
        env: Mapping[str, object] | None = None,
        stage: Stage | None = None,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o777)
        self.home = home
        self.state = home / "state"
        self.state.mkdir(exist_ok=True)
        self.state.chmod(0o777)
        self.stage = stage or Stage(home / "stage")
        self.port = free_port()
        self.command = [part.replace("{port}", str(self.port)) for part in command]
        self._env = {k: str(v) for k, v in (env or {}).items()}
        self._logfile = home / "log"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the server gets as its environment."""
        ours = {
            "FLASK_HEALTH_STATE_DIR": str(self.state),
            "FLASK_HEALTH_DRAIN_DELAY": "0",
            "STAGE": str(self.stage.root),
        }
        return environment(self.home, **(ours | self._env))

    def __enter__(self) -> Served:
        with self._logfile.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *exc: object) -> None:
        processes.send(signal.SIGTERM, self.pid)
        try:
            self.wait(within=8.0)
            processes.send(signal.SIGTERM, *self._left())
            eventually(self._left, lambda left: not left, within=8.0)
        except (AssertionError, subprocess.TimeoutExpired):
            processes.send(signal.SIGKILL, *self._left())
            eventually(self._left, lambda left: not left)
        self.wait()
        print(f"--- log of {' '.join(self.command)}\n{self.log()}")

    @property
    def pid(self) -> int:
        """The process that the command line started."""
        assert self._popen, "not started"
        return self._popen.pid

    def _left(self) -> list[int]:
        return processes.in_session(self.pid)

    def wait(self, within: float = 20.0) -> int:
        """Wait until the process that was started has ended; returns its exit status."""
        assert self._popen, "not started"
        return self._popen.wait(within)

    def stop(self) -> None:
        """TERM the process that was started, and wait until all others have ended by that."""
        processes.send(signal.SIGTERM, self.pid)
        self.wait()
        eventually(self._left, lambda left: not left, why="the server has ended")

    def kill(self, pid: int) -> None:
        """Kill -9 a process and wait until it is gone."""
        processes.send(signal.SIGKILL, pid)
        if pid == self.pid:
            self.wait()
        eventually(lambda: processes.running(pid), lambda runs: not runs)

    def log(self) -> str:
        """Return everything that the server and the app have logged."""
        return self._logfile.read_text(errors="replace") if self._logfile.exists() else ""

    def get(self, path: str = "/health", **options: Any) -> Seen:
        """Send one request, see `probing.get`."""
        return get(self.port, path, **options)

    def answers(self, code: int | str, path: str = "/health", within: float = 20.0) -> Seen:
        """Wait until `path` is answered with `code`."""
        return eventually(
            lambda: self.get(path), lambda seen: seen.code == code, within=within, why=path
        )

    def prober(self, path: str = "/health", **options: Any) -> Prober:
        """Return a prober of this server."""
        return Prober(self.port, path, **options)

    def load(self, **options: Any) -> Load:
        """Return a load of business requests on this server."""
        return Load(self.port, **options)

    def has_started(self, number: int) -> list[int]:
        """Wait until that many setups have started; returns their processes, oldest first."""
        return eventually(
            lambda: self.stage.pids("started"),
            lambda pids: len(pids) == number,
            why=f"{number} setups",
        )

    def has_markers(self, number: int, state: str = "ready") -> list[statedir.Marker]:
        """Wait until exactly this many held markers are in that state."""
        return eventually(
            lambda: [m for m in statedir.markers(self.state, state) if m.held],
            lambda found: len(found) == number,
            why=f"{number} {state}",
        )


Start = Callable[..., Served]
"""The fixture `start`: takes a kind of COMMANDS or a command line, and what Served takes then."""
