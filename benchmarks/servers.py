"""Servers to measure: started on a free port of 127.0.0.1, stopped with all they started."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from .prober import probe

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Server:
    """A running server: its port on 127.0.0.1 and the pid of its first process."""

    port: int
    pid: int


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def gunicorn(
    app: str,
    *,
    workers: int = 1,
    worker_class: str = "sync",
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """gunicorn serving `benchmarks.apps.<app>`; yields at once, before it listens."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", f"benchmarks.apps.{app}"]
    command += ["--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--timeout", "120"]
    command += ["--worker-class", worker_class, "--graceful-timeout", "2", "--log-level", "warning"]
    with running([*command, *options], port, environ) as server:
        yield server


@contextmanager
def running(
    command: Sequence[str], port: int, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Any server that `command` starts on `port`."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**python_environ(), **(environ or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield Server(port, process.pid)
        except BaseException:
            _show(log)
            raise
        finally:
            _stop(process)


def python_environ() -> dict[str, str]:
    """The environment for a Python that finds this checkout and keeps its compiled modules.

    An installed package is compiled; without this, every process would compile a checkout anew.
    """
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": _compiled()}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def wait_for(server: Server, path: str, status: int = 200, timeout: float = 60.0) -> None:
    """Wait until `path` has answered `status`; raises TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if probe(server.port, path).status == status:
            return
        time.sleep(0.02)
    raise TimeoutError(f"port {server.port}: {path!r} did not answer {status} in {timeout:g} s")


def children(pid: int) -> list[int]:
    """The pids of the child processes of `pid`, oldest first."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@cache
def _compiled() -> str:
    """A directory for compiled modules that goes when this process ends."""
    directory = tempfile.mkdtemp(prefix="benchmarks-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _stop(process: subprocess.Popen[bytes]) -> None:
    """TERM, then KILL to whatever is left of the server's own session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _show(log: IO[bytes]) -> None:
    log.seek(0)
    tail = log.read()[-4000:].decode(errors="replace")
    if tail:
        print(tail, file=sys.stderr)
