"""Our extension on a Flask app with one business route, as a user writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask

Application = Callable[..., Iterable[bytes]]


def app(
    setup: Callable[[], object] | None = None,
    checks: Mapping[str, Callable[[], object]] | None = None,
    options: Mapping[str, Any] | None = None,
    **config: Any,
) -> Flask:
    """The app; `config` is Flask configuration. It stops without a drain delay, to save time.

    :param checks: by name; each is registered with the same `options`.
    """
    from flask_health import HealthCheck

    flask = Flask("benchmark")
    flask.config.from_mapping({"HEALTH_DRAIN_DELAY": 0.0, **config})
    health = HealthCheck(flask, setup=setup)
    for name, check in (checks or {}).items():
        health.add_check(name, check, **(options or {}))

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
