"""Apps whose checks take their time or ask a `benchmarks.dependency`, ours and the peers'."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask
from werkzeug.test import create_environ

from ..measure import OURS
from . import ours, peers

PATHS = {OURS: "/health", **peers.PATHS}

OBSERVED = "BENCHMARK_OBSERVED"
"""The file in which each worker writes down what its probe answers, whenever that changes."""

PERIOD = 0.005
"""Seconds between two looks of a worker at its own probe."""


def sleeping(name: str, number: int, seconds: float, **options: Any) -> Flask:
    """Checks that pass after some time; `options` are those of our checks."""

    def sleep() -> bool:
        time.sleep(seconds)
        return True

    return _app(name, {f"component-{n}": sleep for n in range(number)}, options)


def asking(name: str, port: int, number: int = 1, **options: Any) -> Flask:
    """Checks that ask the dependency on that port, and wait for as long as it takes."""
    names = [f"component-{n}" for n in range(number)]
    return _app(name, {name: partial(ask, port, name) for name in names}, options)


def observed(port: int, **options: Any) -> Flask:
    """Ours, with one check, and a thread in each worker that watches the worker's own probe."""
    flask: Flask

    def setup() -> None:
        threading.Thread(target=_observe, args=(flask,), daemon=True).start()

    flask = ours.app(setup, {"component-0": partial(ask, port, "component-0")}, options)
    return flask


def ask(port: int, name: str) -> bool:
    """True when the dependency answers `ok`; raises OSError when it refuses or hangs up."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{name}\n".encode())
        if connection.recv(16) != b"ok\n":
            raise ConnectionError("no answer")
    return True


def _app(name: str, checks: dict[str, Callable[[], bool]], options: dict[str, Any]) -> Flask:
    if name == OURS:
        return ours.app(checks=checks, options=options)
    flask = peers.app(name, *checks.values())
    flask.add_url_rule("/search", "search", lambda: "found")
    return flask


def _observe(flask: Flask) -> None:
    """Probes as a server does: a line with the pid, the time and the code for each change."""
    environ = create_environ("/health", headers={"User-Agent": "kube-probe/1.30"})
    last = ""

    def start(status: str, *headers: Any) -> Any:
        nonlocal last
        code = status[:3]
        if code != last:
            last = code
            line = f"{os.getpid()} {time.monotonic()!r} {code}\n".encode()
            os.write(file, line)  # One write to a file opened to append: lines stay whole.

    file = os.open(os.environ[OBSERVED], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        flask.wsgi_app(environ, start)
        time.sleep(PERIOD)
