"""The real servers that ready-made checks are tested against, on ports and in places of their own.

    with Redis() as server:
        server.kill(); server.start()
        with server.frozen(): ...

Each is started from the system's packages as a process of its own, and ended by its pid. A test
whose packages are not installed is skipped, with the command that installs them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import Any, ClassVar

import pytest

from .environment import accepts, free_port, says
from .processes import all_running, running, send, stopped
from .system import MEMCACHED, POSTGRESQL, RABBITMQ, REDIS, Need
from .waiting import eventually

SECRET = "s3cret-of-the-backend"
START_LIMIT = 240.0  # seconds; RabbitMQ takes 6, and 60 beside two busy processes on two cores


class Backend:
    """A server on a port of 127.0.0.1, in a directory of its own that goes with it."""

    need: ClassVar[Need]
    user = "nobody"
    """Who runs it when the tests run as root, which some servers refuse; empty: root."""

    def __init__(self) -> None:
        if not self.need.is_met:
            pytest.skip(f"not installed: {self.need.apt_get}")
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="backend-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._own(self.home)

    def __enter__(self: Any) -> Any:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.home)

    def command(self) -> list[str]:
        """What to run; in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What it runs with, besides PATH and HOME."""
        return {}

    def answers(self) -> bool:
        """Tell whether it serves by now."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._run(self.command(), self.environment())
        eventually(self._alive_and_answers, within=START_LIMIT, why=f"{type(self).__name__} starts")

    def kill(self) -> None:
        """End it and its children as if the power failed."""
        if self._process is None:
            return
        pids = self.pids()
        send(signal.SIGKILL, *pids)
        self._process.wait()
        eventually(lambda: not any(map(running, pids)), why="the processes end")
        # a process is a zombie as soon as its first thread has ended
        eventually(lambda: not accepts(self.port), why="its port is free")
        self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it and its children meanwhile: the kernel still accepts connections for them."""
        pids = self.pids()
        send(signal.SIGSTOP, *pids)
        try:
            eventually(lambda: all(map(stopped, pids)), why="every thread stops")
            yield
        finally:
            send(signal.SIGCONT, *pids)

    def pids(self) -> list[int]:
        """The process and all below it."""
        assert self._process is not None
        found = [self._process.pid]
        for process in all_running():  # oldest first: a child comes after its parent
            if process.ppid in found:
                found.append(process.pid)
        return found

    def log(self) -> str:
        """What it has written so far."""
        with suppress(FileNotFoundError):
            return (self.home / "log").read_text(errors="replace")
        return ""

    def _alive_and_answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"ended at start:\n{self.log()}"
        return self.answers()

    def _run(self, command: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._as_user(), *command],
                cwd=self.home,
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _as_user(self) -> list[str]:
        """What a command is run with: it ends with us, whatever ends us."""
        wrapper = ["setpriv", "--pdeathsig", "KILL"]
        if self.user and not os.geteuid():
            found = pwd.getpwnam(self.user)
            wrapper += [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups"]
        return wrapper

    def _own(self, path: Path) -> None:
        if self.user and not os.geteuid():
            found = pwd.getpwnam(self.user)
            os.chown(path, found.pw_uid, found.pw_gid)


class PostgreSQL(Backend):
    """A PostgreSQL with the database `postgres`; user and password are below."""

    need = POSTGRESQL
    user = "postgres"

    def __init__(self) -> None:
        super().__init__()
        self._bin = Path(sorted(glob(POSTGRESQL.files[0]))[-1]).parent
        password = self.home / "password"
        password.write_text(SECRET)
        self._own(password)
        options = "-D data -U health -A scram-sha-256 -E UTF8 --no-locale --no-sync"
        command = [str(self._bin / "initdb"), *options.split(), f"--pwfile={password}"]
        made = self._run(command, {})
        assert made.wait(START_LIMIT) == 0, f"initdb failed:\n{self.log()}"

    def url(self, driver: str) -> str:
        """The URL for SQLAlchemy."""
        return f"postgresql+{driver}://health:{SECRET}@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        settings = (
            "fsync=off",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.home}",
        )
        flags = [word for setting in settings for word in ("-c", setting)]
        data = str(self.home / "data")
        return [str(self._bin / "postgres"), "-D", data, "-p", str(self.port), *flags]

    def answers(self) -> bool:
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0


class Redis(Backend):
    """A Redis with a password, on its port and on the socket `path`."""

    need = REDIS
    program = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://:{SECRET}@127.0.0.1:{self.port}/0"

    @property
    def path(self) -> str:
        return str(self.home / "redis.sock")

    def command(self) -> list[str]:
        options = {"--bind": "127.0.0.1", "--port": str(self.port), "--unixsocket": self.path}
        options |= {"--requirepass": SECRET, "--save": "", "--appendonly": "no"}
        return [self.program, *(word for pair in options.items() for word in pair)]

    def answers(self) -> bool:
        return says(self.port, b"PING\r\n", b"-NOAUTH")


class RedisSentinel(Backend):
    """A Sentinel that watches a Redis under the name `main`."""

    need = REDIS

    def __init__(self, watched: Redis) -> None:
        super().__init__()
        config = self.home / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor main 127.0.0.1 {watched.port} 1\n"
            f"sentinel auth-pass main {SECRET}\n"
        )
        self._own(config)

    def command(self) -> list[str]:
        return ["redis-server", str(self.home / "sentinel.conf"), "--sentinel"]

    def answers(self) -> bool:
        return says(self.port, b"PING\r\n", b"+PONG")


class Memcached(Backend):
    """A memcached."""

    need = MEMCACHED

    def command(self) -> list[str]:
        return ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "8"]

    def answers(self) -> bool:
        return says(self.port, b"version\r\n", b"VERSION")


class RabbitMQ(Backend):
    """A RabbitMQ node, and the port mapper that it needs; the user is `guest`."""

    need = RABBITMQ

    def __init__(self) -> None:
        super().__init__()
        (self.home / "rabbitmq.conf").write_text(f"default_pass = {SECRET}\n")
        self._ports = {"epmd": free_port(), "distribution": free_port()}
        self._mapper = self._run(
            ["epmd", "-port", str(self._ports["epmd"]), "-address", "127.0.0.1"], {}
        )

    def start(self) -> None:
        # without a mapper the node would start one, which nobody ends
        eventually(lambda: accepts(self._ports["epmd"]), within=START_LIMIT, why="epmd starts")
        super().start()

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()
        finally:
            self._mapper.kill()
            self._mapper.wait()
        super().__exit__()

    @property
    def url(self) -> str:
        return f"amqp://guest:{SECRET}@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def environment(self) -> dict[str, str]:
        home = str(self.home)
        return {
            "ERL_EPMD_PORT": str(self._ports["epmd"]),
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq",
            "RABBITMQ_CONFIG_FILES": f"{home}/conf.d",
            "RABBITMQ_DIST_PORT": str(self._ports["distribution"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "RABBITMQ_LOG_BASE": f"{home}/logs",
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_NODENAME": f"health{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "RUNNING_UNDER_SYSTEMD": "1",  # no shell stays above it, which would end without it
        }

    def answers(self) -> bool:
        return says(self.port, b"AMQP\x00\x00\x09\x01", b"\x01")
