"""Our extension on a Flask app with one business route, as a user writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

Application = Callable[..., Iterable[bytes]]


def app(setup: Callable[[], object] | None = None, **config: Any) -> Flask:
    """The app; `config` is Flask configuration. It stops without a drain delay, to save time."""
    from flask_health import HealthCheck

    flask = Flask("benchmark")
    flask.config.from_mapping({"HEALTH_DRAIN_DELAY": 0.0, **config})
    HealthCheck(flask, setup=setup)

    @flask.route("/search")
    def search() -> str:
        return "found"

    return flask


def over(application: Application) -> Flask:
    """The extension around a WSGI callable that stands for everything that a Flask app does."""
    from flask_health import HealthCheck

    flask = Flask("behind")
    flask.wsgi_app = application  # type: ignore[method-assign]
    HealthCheck(flask)
    return flask
