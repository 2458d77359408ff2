"""Apps whose requests keep a worker busy, ours and the peers', each with its health endpoint."""

from __future__ import annotations

import time

from flask import Flask

from ..measure import OURS
from . import ours, peers

SECONDS = 3.0


def app(name: str) -> Flask:
    """`/sleep` waits, as for a database, and `/compute` computes, each for `SECONDS`."""
    flask = ours.app() if name == OURS else peers.app(name)
    flask.add_url_rule("/sleep", "sleep", _sleep)
    flask.add_url_rule("/compute", "compute", _compute)
    return flask


def _sleep() -> str:
    time.sleep(SECONDS)
    return "slept"


def _compute() -> str:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        sum(range(1000))
    return "computed"
