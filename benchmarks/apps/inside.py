"""The plain probe and its peers, measured inside a gunicorn worker."""

from __future__ import annotations

import os
import threading
import time

from flask import Flask

from ..measure import OURS, alternate, interleave, time_batch
from . import bare, counters, ours, peers, slots
from .measuring import Samples, batch, measuring, nothing_remembered

REST = 0.1
"""Seconds: longer than any verdict is remembered."""


def hot(rounds: int) -> Samples:
    """A probe whose verdict is cached, a bare callable, a Flask route and the peers."""
    others = {name: batch(peers.app(name), peers.CHEAPEST[name]) for name in peers.installed()}
    batches = {"bare": batch(bare.app, "/health"), OURS: batch(_served, "/health"), **others}
    return interleave(batches, rounds)


def cold(rounds: int) -> Samples:
    """A probe that must ask the kernel each time, and a bare callable."""
    batches = {"bare": batch(bare.app, "/health"), OURS: batch(_served, "/health")}
    with nothing_remembered():
        return interleave(batches, rounds)


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
    """A business request to a bare callable, and to a Flask route, with and without the extension
    around it; and to the route with others that watch it.
    """
    without = Flask("benchmark")
    without.wsgi_app = bare.app  # type: ignore[method-assign]
    apps = {
        "bare": without,
        OURS: _bare_behind_ours,
        "flask route": counters.route(),
        f"{OURS}, flask route": _route_behind_ours,
        **{name: counters.route(counters.watcher(name)) for name in counters.installed()},
    }
    return interleave({name: batch(app, "/search") for name, app in apps.items()}, rounds)


def _setup() -> None:
    """In the first worker of a server that shall never be ready, it does not end."""
    number = slots.take()
    if number == 0 and os.environ.get(slots.NEVER_READY):
        threading.Event().wait()
    slots.record_end(number)


_served = ours.app(_setup)
_bare_behind_ours = ours.over(bare.app)
_route_behind_ours = ours.app()
app = measuring(_served, {"hot": hot, "cold": cold, "rested": rested, "business": business})
