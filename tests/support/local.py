"""Apps in this process: bare WSGI calls, steps that wait to be let go, siblings without one."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flask import Flask

from flask_health.workers.gate import Gate, GateOptions
from flask_health.workers.presence import Presence, appear
from flask_health.workers.registering import make_step
from flask_health.workers.server import Server
from flask_health.workers.statedir import candidates
from flask_health.workers.steps import Step

DEADLINE = 10.0
"""Seconds after which a test stops to wait for something that should be there at once."""


def make_app(name: str = "local", /, **config: object) -> Flask:
    """Return an app of one view, `/work`, with this configuration."""
    app = Flask(name)
    app.config.update(config)
    app.add_url_rule("/work", "work", lambda: "done")
    return app


class Answer(NamedTuple):
    """What a WSGI app answered, to the letter."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def word(self) -> tuple[int, str]:
        """The code and the body as text."""
        return self.code, self.body.decode()


def environ(path: str = "/health", method: str = "GET", **more: Any) -> dict[str, Any]:
    """Return the least that PEP 3333 allows a server to send: no query, no `Accept`."""
    least = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    return least | more


def call(app: Any, path: str = "/health", method: str = "GET", **more: Any) -> Answer:
    """Call a WSGI app with the least environment, `more` added to it."""
    return call_with(app, environ(path, method, **more))


def call_with(app: Any, given: dict[str, Any]) -> Answer:
    """Call a WSGI app with this environment."""
    said: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        said.append((status, headers))

    chunks: Iterable[bytes] = app(given, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close:
            close()
    status, headers = said[-1]
    names = [name for name, _ in headers]
    assert len(names) == len(set(names)), f"a header came twice: {names}"
    return Answer(int(status.split()[0]), dict(headers), body)


class Blocked:
    """A setup step that has begun when `begun` is set, and goes on once `go` is set.

    It then returns, or raises `error`.
    """

    __name__ = "blocked"

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.error: BaseException | None = None
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(DEADLINE), "nobody let the step go"
        if self.error:
            raise self.error


class Background:
    """A call in a thread of its own; its result is waited for with a deadline."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        self.ended.set()

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        assert self.ended.wait(DEADLINE), "the call did not return"
        self._thread.join(DEADLINE)
        if self._error:
            raise self._error
        return self._result


def sibling(
    base: os.PathLike[str] | str, boot: str, age: int, workers: int = 2, master: int | None = None
) -> Presence:
    """Return the presence of another worker of that boot: real files, real locks, no process."""
    server = Server("worker", "", master or os.getppid(), workers, age)
    presence, problems = appear(server, boot, [os.fspath(base)])
    assert presence, problems
    return presence


class NoChecks:
    """Stands where a gate has what runs the checks of an app."""

    run_in_fleet: Any = None
    pace: float | None = None
    any: bool = False

    def prepare(self, presence: Presence | None) -> None:
        """There is nothing to prepare."""

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def look(self) -> None:
        """Nobody need be told."""

    def notes(self) -> list[str]:
        """Nothing is wrong."""
        return []


def worker_gate(
    base: os.PathLike[str] | str,
    *functions: Callable[[], object],
    age: int = 1,
    workers: int = 2,
    scope: str = "worker",
    **options: Any,
) -> Gate:
    """Return the gate of a worker that lives in this process; `leave()` it at the end."""
    steps: list[Step] = [make_step(f, None, scope, None, 0, False) for f in functions]
    return Gate(
        Server("worker", "", os.getppid(), workers, age),
        0,
        GateOptions("local", os.fspath(base), **options),
        steps=lambda: steps,
        call=lambda step: step.function(),
        testing=lambda: False,
        checks=NoChecks(),
    )


def boot_of(gate: Gate) -> str:
    """Return the identity under which the siblings of a gate meet."""
    return gate.server.boot(gate.options.app_name, gate._ordinal)


def bases(base: os.PathLike[str] | str) -> list[str]:
    """Return where a worker configured with this state directory looks for its siblings."""
    return candidates(os.fspath(base), None)
