"""Others that watch the business requests of a Flask app, each as its documentation says."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flask import Flask

MODULES = {
    "prometheus-flask-exporter": ("prometheus_flask_exporter", "PrometheusMetrics"),
    "dockerflow": ("dockerflow.flask", "Dockerflow"),
}
"""The name here -> the module, and what takes an app in it."""


def installed() -> list[str]:
    """The names that can be mounted here."""
    return [name for name, (module, _) in MODULES.items() if find_spec(module.split(".")[0])]


def route(watch: Callable[[Flask], object] | None = None) -> Flask:
    """A Flask app with one business route, watched or not."""
    flask = Flask("benchmark")
    if watch:
        watch(flask)

    @flask.route("/search")
    def search() -> str:
        return "found"

    return flask


def watcher(name: str) -> Callable[[Flask], object]:
    """What makes one of them watch an app."""
    module, made = MODULES[name]
    found: Callable[[Flask], Any] = getattr(import_module(module), made)
    return found
