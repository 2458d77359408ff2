"""Apps with more and more checks, measured inside a gunicorn worker that has all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask, Response
from werkzeug.test import Client

from flask_health.model.check import Result
from flask_health.web import render

from ..measure import OURS, interleave
from . import bare, ours
from .measuring import Application, Samples, batch, measuring, nothing_remembered

NUMBERS = (0, 1, 10, 100)
TOLD = 20
"""Checks of the app whose JSON is measured."""

TOKEN = "benchmark"
JSON_PATH = "/health?format=json"
CREDENTIALS = {"Authorization": f"Bearer {TOKEN}"}
PATIENCE = 60.0
"""Seconds until every check of every app must have had its first result."""

NEW = f"{OURS}, new results"


def hot(rounds: int) -> Samples:
    """Probes whose verdict is remembered, of apps whose checks pass, and a bare callable."""
    _wait_for_results()
    apps = {f"{number} passing": app for number, app in _passing.items()}
    return interleave({name: batch(app, "/health") for name, app in _with_bare(apps)}, rounds)


def cold(rounds: int) -> Samples:
    """Probes that must ask the kernel each time, of apps whose checks pass or fail."""
    _wait_for_results()
    apps = {f"{number} passing": app for number, app in _passing.items()}
    apps |= {f"{number} failing": app for number, app in _failing.items()}
    batches = {name: batch(app, "/health") for name, app in _with_bare(apps)}
    with nothing_remembered():
        return interleave(batches, rounds)


def details(rounds: int) -> Samples:
    """The JSON for those who may see everything, and a Flask route that returns the same bytes.

    And once more as if every check had had a new result since it was last told.
    """
    _wait_for_results()
    told = batch(_told, JSON_PATH, CREDENTIALS)

    def told_anew(times: int) -> None:
        with _nothing_encoded():
            told(times)

    batches = {
        "flask route": batch(_same_bytes(), JSON_PATH, CREDENTIALS),
        OURS: told,
        NEW: told_anew,
    }
    return interleave(batches, rounds)


def _passes() -> tuple[float, str]:
    return 0.001, "s"


def _fails() -> None:
    raise ConnectionRefusedError("nobody listens")


def _app(number: int, check: Callable[[], object]) -> Flask:
    checks = {f"component-{n}": check for n in range(number)}
    return ours.app(checks=checks, HEALTH_TOKEN=TOKEN)


def _with_bare(apps: dict[str, Flask]) -> list[tuple[str, Application]]:
    return [("bare", bare.app), *apps.items()]


def _same_bytes() -> Flask:
    """A Flask app that returns the same body and the same headers."""
    answer = Client(_told).get(JSON_PATH, headers=CREDENTIALS)
    body, headers = answer.data, [(k, v) for k, v in answer.headers if k != "Content-Length"]
    flask = Flask("benchmark")

    @flask.route("/health")
    def health() -> Response:
        return Response(body, headers=headers)

    same = Client(flask).get(JSON_PATH)
    if (same.data, set(same.headers)) != (body, set(answer.headers)):
        raise RuntimeError(f"the route sends {same.headers!r}, the probe {answer.headers!r}")
    return flask


@contextmanager
def _nothing_encoded() -> Iterator[None]:
    """Every check is encoded anew each time."""
    keep = render.Encoder._checks
    render.Encoder._checks = _encode_anew  # type: ignore[method-assign]
    try:
        yield
    finally:
        render.Encoder._checks = keep  # type: ignore[method-assign]


def _encode_anew(self: render.Encoder, results: tuple[Result, ...]) -> str:
    return ", ".join(map(render._encode_check, results))


def _wait_for_results() -> None:
    """Until every app in this worker answers what its checks make of it."""
    deadline = time.monotonic() + PATIENCE
    expected = [(app, "pass") for app in (*_passing.values(), _told)]
    expected += [(app, "fail") for app in _failing.values()]
    for app, status in expected:
        while _status(app) != status:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {status!r} within {PATIENCE:g} s")
            time.sleep(0.05)


def _status(app: Flask) -> str:
    """`pass` or `fail` when all checks have run, else empty."""
    told = Client(app).get(JSON_PATH, headers=CREDENTIALS).get_json(force=True)
    ran = all("time" in check for checks in told["checks"].values() for check in checks)
    return str(told["status"]) if ran and told["gate"]["state"] == "open" else ""


_passing = {number: _app(number, _passes) for number in NUMBERS}
_failing = {number: _app(number, _fails) for number in NUMBERS if number}
_told = _app(TOLD, _passes)
app = measuring(_passing[0], {"hot": hot, "cold": cold, "details": details})
