"""A real gunicorn for a test: started by its console script, watched, always ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support import processes, statedir
from support.environment import environment, free_port
from support.probing import Address, Load, Prober, Seen, get
from support.stage import Stage
from support.waiting import eventually


class Gunicorn:
    """A gunicorn master and everything it forks, in a session of its own.

    `app` is a module of `tests/apps`. `args` are gunicorn's options, `env` is added
    to the environment, `config` is the text of a configuration file, `bind` a unix
    socket (default: a free port). `state` is the base of the state directory,
    `wrapper` a command that runs gunicorn, e.g. `unshare`, in its own place or, with
    `--fork`, as its child. As a context manager it
    waits until gunicorn listens, and at the end leaves no process behind; with
    `tidy` it also asserts that a server which still ran then ended by itself.
    """

    def __init__(
        self,
        home: Path,
        app: str = "served:app",
        *args: str,
        workers: int = 3,
        env: Mapping[str, object] | None = None,
        config: str = "",
        bind: str = "",
        state: Path | None = None,
        stage: Stage | None = None,
        wrapper: Sequence[str] = (),
        tidy: bool = True,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o777)
        self.home = home
        self.tidy = tidy
        self.state = state or home / "state"
        if state is None:
            self.state.mkdir(exist_ok=True)
            self.state.chmod(0o777)
        self.stage = stage or Stage(home / "stage")
        self.address: Address = str(home / bind) if bind else free_port()
        self._config = home / "gunicorn.conf.py"
        self._config.write_text(config)
        self._pidfile = home / "pid"
        self._logfile = home / "log"
        self._wrapper = list(wrapper)
        self._args = [app, "-w", str(workers), *args]
        self._env = {k: str(v) for k, v in (env or {}).items()}
        self._popen: subprocess.Popen[bytes] | None = None
        self._logged = 0  # length of the log when the server was started last
        self.pid = 0

    @property
    def command(self) -> list[str]:
        """The command line, for this server or for a second look at its configuration."""
        beside = str(Path(sys.executable).parent)
        script = shutil.which("gunicorn", path=os.pathsep.join([beside, os.environ["PATH"]]))
        assert script, "gunicorn is not installed beside this interpreter"
        host = "127.0.0.1" if isinstance(self.address, int) else "unix"
        fixed = ["-c", str(self._config), "-p", str(self._pidfile)]
        limits = ["--graceful-timeout", "8", "-b", f"{host}:{self.address}"]
        return [*self._wrapper, script, *fixed, *limits, *self._args]

    @property
    def environment(self) -> dict[str, str]:
        """What the server gets as its environment."""
        ours = {
            "FLASK_HEALTH_STATE_DIR": str(self.state),
            "FLASK_HEALTH_DRAIN_DELAY": "0",
            "STAGE": str(self.stage.root),
        }
        return environment(self.home, **(ours | self._env))

    def start(self) -> Gunicorn:
        """Start the master, again if it was killed; returns before it listens."""
        self._logged = len(self.log())
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
        self.pid = self._popen.pid
        if "--fork" in self._wrapper:
            self.pid = eventually(lambda: processes.children(self.session), why="wrapped")[0]
        return self

    @property
    def session(self) -> int:
        """The session id that all processes of this server share."""
        assert self._popen, "not started"
        return self._popen.pid

    def __enter__(self) -> Gunicorn:
        self.start()
        try:
            return self.listening()
        except BaseException:
            self._end()
            raise

    def __exit__(self, kind: object, *exc: object) -> None:
        ran = processes.running(self.pid)
        ended, left = self._end()
        if kind is None and ran and self.tidy:
            assert ended, f"still running after TERM: {left}\n{self.log()}"

    def listening(self) -> Gunicorn:
        """Wait until gunicorn says that it listens."""

        def listens() -> bool:
            assert self.exit_code() is None, f"gunicorn ended\n{self.log()}"
            return "Listening at" in self.log()[self._logged :]

        eventually(listens, why="gunicorn listens")
        return self

    def exit_code(self) -> int | None:
        """Return the exit status of the master that was started, None while it runs."""
        assert self._popen, "not started"
        return self._popen.poll()

    def wait(self, within: float = 20.0) -> int:
        """Wait until the master that was started has ended; returns its exit status."""
        assert self._popen, "not started"
        return self._popen.wait(within)

    def log(self) -> str:
        """Return everything that gunicorn and its workers have logged."""
        return self._logfile.read_text(errors="replace") if self._logfile.exists() else ""

    # processes

    def signal(self, number: signal.Signals, *pids: int) -> None:
        """Send a signal to these processes, to the master if none is named."""
        processes.send(number, *(pids or (self.pid,)))

    def new_master(self) -> int:
        """Wait for the master that USR2 starts and return its process id."""
        path = Path(f"{self._pidfile}.2")
        text = eventually(lambda: path.read_text().strip() if path.exists() else "", why="USR2")
        return int(text)

    def workers(self, master: int = 0) -> list[int]:
        """Return the worker processes, oldest first, of `master` or of this server."""
        path = Path(f"{self._pidfile}.2")
        new = path.read_text().strip() if path.exists() else ""
        return [pid for pid in processes.children(master or self.pid) if str(pid) != new]

    def has_workers(self, number: int) -> list[int]:
        """Wait until the server has exactly this many workers."""
        return eventually(self.workers, lambda w: len(w) == number, why=f"{number} workers")

    def kill(self, *pids: int) -> None:
        """Kill -9 these processes, or everything; wait until they and their locks are gone."""
        if not pids:
            # Frozen first: a worker that saw its master die alone would leave in good order.
            self.signal(signal.SIGSTOP, *processes.in_session(self.session))
        victims = pids or tuple(processes.in_session(self.session))
        self.signal(signal.SIGKILL, *victims)
        if self.session in victims and self._popen:
            self._popen.wait(10)
        eventually(lambda: [p for p in victims if processes.running(p)], lambda left: not left)
        # A process with threads looks dead before the last of them has closed its files.
        eventually(lambda: [m for m in self.markers() if m.pid in victims], lambda left: not left)

    def replaced(self) -> int:
        """Kill -9 the oldest worker; return its replacement once that one's setup has begun."""
        known = self.stage.pids("started")
        self.kill(self.workers()[0])
        return eventually(lambda: [p for p in self.stage.pids("started") if p not in known])[0]

    def stop(self) -> int:
        """TERM the master and return its exit status; AssertionError if it does not end."""
        ended, left = self._end()
        assert ended, f"still running after TERM: {left}\n{self.log()}"
        return self.wait()

    def _end(self) -> tuple[bool, list[int]]:
        """End all processes: by TERM, which makes it (True, []), else by KILL."""
        members = processes.in_session(self.session)
        masters = [pid for pid in members if processes.children(pid)]
        processes.send(signal.SIGTERM, *(masters or members))
        try:
            eventually(self._left, lambda left: not left, within=12.0)
            return True, []
        except AssertionError:
            left = self._left()
            processes.send(signal.SIGKILL, *left)
            eventually(self._left, lambda left: not left)
            return False, left
        finally:
            self.wait()

    def _left(self) -> list[int]:
        return processes.in_session(self.session)

    # what it answers and shows

    def get(self, path: str = "/health", **options: Any) -> Seen:
        """Send one request, see `probing.get`."""
        return get(self.address, path, **options)

    def answers(self, code: int, path: str = "/health", within: float = 20.0) -> Seen:
        """Wait until `path` is answered with `code`."""
        return eventually(
            lambda: self.get(path), lambda seen: seen.code == code, within=within, why=path
        )

    def all_answer(self, workers: int) -> None:
        """Wait until so many workers have answered: a worker that is told to stop before it has
        entered its accept loop ends at once.
        """
        with self.load(every=0.0) as load:
            eventually(load.pids, lambda pids: len(pids) == workers, why=f"{workers} answer")

    def prober(self, path: str = "/health", **options: Any) -> Prober:
        """Return a prober of this server."""
        return Prober(self.address, path, **options)

    def load(self, **options: Any) -> Load:
        """Return a load of business requests on this server."""
        return Load(self.address, **options)

    def markers(self, state: str = "*") -> list[statedir.Marker]:
        """Return the markers in the server's state directory whose lock is held."""
        return [m for m in statedir.markers(self.state, state) if m.held]

    def has_markers(self, number: int, state: str = "ready") -> list[statedir.Marker]:
        """Wait until exactly this many held markers are in that state."""
        return eventually(
            lambda: self.markers(state), lambda found: len(found) == number, why=f"{number} {state}"
        )


Serve = Callable[..., Gunicorn]
"""The fixture `serve`: takes what Gunicorn takes after `home`."""
