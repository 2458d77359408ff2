"""Measures inside a gunicorn worker, where the real markers of its real siblings are.

The worker that gets `/measure/<what>?<rounds>` answers with JSON: for each name, a list of
nanoseconds per call.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

from flask import Flask
from werkzeug.test import create_environ

from flask_health.workers import verdict

from ..measure import OURS, Batch, alternate, interleave, time_batch
from . import bare, ours, peers, slots

Application = Callable[..., Iterable[bytes]]
Samples = dict[str, list[float]]

REST = 0.1
"""Seconds: longer than any verdict is remembered."""


def batch(application: Application, path: str) -> Batch:
    """Calls an application as a server does: environ in, iterable out and closed."""
    environ = create_environ(path, headers={"User-Agent": "kube-probe/1.30", "Accept": "*/*"})

    def call(times: int) -> None:
        for _ in repeat(None, times):
            body = application(environ, _start_response)
            for _chunk in body:
                pass
            if hasattr(body, "close"):
                body.close()

    return call


def hot(rounds: int) -> Samples:
    """A probe whose verdict is cached, a bare callable, a Flask route and the peers."""
    others = {name: batch(peers.app(name), peers.CHEAPEST[name]) for name in peers.installed()}
    batches = {"bare": batch(bare.app, "/health"), OURS: batch(_served, "/health"), **others}
    return interleave(batches, rounds)


def cold(rounds: int) -> Samples:
    """A probe that must ask the kernel each time, and a bare callable."""
    remembered, verdict.REMEMBERED = verdict.REMEMBERED, -1.0
    time.sleep(max(0.0, remembered))  # What the last probe remembered is past.
    return interleave({"bare": batch(bare.app, "/health"), OURS: batch(_served, "/health")}, rounds)


def rested(rounds: int) -> Samples:
    """Single probes, each after a rest in which the processor has forgotten the way, too."""
    batches = {
        "bare": batch(bare.app, "/health"),
        OURS: batch(_served, "/health"),
        "flask route": batch(peers.app("flask route"), "/health"),
    }
    samples: Samples = {name: [] for name in batches}
    for number in range(rounds):
        for name in alternate(list(batches), number):
            time.sleep(REST)
            samples[name].append(time_batch(batches[name], 1))
    return samples


def business(rounds: int) -> Samples:
    """A business request to a bare callable, with and without the extension around it."""
    without = Flask("benchmark")
    without.wsgi_app = bare.app  # type: ignore[method-assign]
    batches = {"bare": batch(without, "/search"), OURS: batch(_bare_behind_ours, "/search")}
    return interleave(batches, rounds)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The extension's app, and beside it the measuring."""
    _, _, what = environ["PATH_INFO"].partition("/measure/")
    if what not in _MEASURES:
        return _served(environ, start_response)
    samples = _MEASURES[what](int(environ["QUERY_STRING"]))
    body = json.dumps(samples).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def _start_response(status: str, headers: list[tuple[str, str]]) -> None:
    pass


def _setup() -> None:
    """In the first worker of a server that shall never be ready, it does not end."""
    number = slots.take()
    if number == 0 and os.environ.get(slots.NEVER_READY):
        threading.Event().wait()
    slots.record_end(number)


_served = ours.app(_setup)
_bare_behind_ours = ours.over(bare.app)
_MEASURES = {"hot": hot, "cold": cold, "rested": rested, "business": business}
