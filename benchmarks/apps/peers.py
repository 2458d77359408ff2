"""The peers, each mounted as its documentation says, with checks that tell whether all is well.

They are imported by name, when asked for: the benchmark runs with those that are installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flask import Flask

Check = Callable[[], bool]

PATHS = {
    "flask route": "/health",
    "flask-healthz": "/healthz/live",
    "py-healthcheck": "/healthcheck",
    "dockerflow": "/__heartbeat__",
    "healthpy": "/health",
}
"""The name here -> the path of its health endpoint."""

CHEAPEST = {**PATHS, "dockerflow": "/__lbheartbeat__"}
"""The same, with the endpoint that does the least where there are several."""

NEEDS = {"healthpy": ("flask_restx",), "dockerflow": ("sqlalchemy",)}
"""What a peer's Flask part imports without asking pip for it."""

MODULES = {
    "flask route": "flask",
    "flask-healthz": "flask_healthz",
    "py-healthcheck": "healthcheck",
    "dockerflow": "dockerflow.flask",
    "healthpy": "healthpy.flask_restx",
}


def installed() -> list[str]:
    """The names that can be mounted here."""
    return [name for name in MODULES if all(find_spec(module) for module in _modules(name))]


def app(name: str, *checks: Check) -> Flask:
    """A Flask app whose health endpoint is the peer's and fails while one of the checks is false.

    Without checks it has one that does nothing.
    """
    flask = Flask("benchmark")
    _MOUNT[name](flask, checks or (_nothing,))
    return flask


def _nothing() -> bool:
    return True


def _flask_route(flask: Flask, checks: Sequence[Check]) -> None:
    @flask.route("/health")
    def health() -> tuple[str, int]:
        return ("ok", 200) if all(check() for check in checks) else ("not ready", 503)


def _flask_healthz(flask: Flask, checks: Sequence[Check]) -> None:
    module = _load("flask-healthz")

    def live() -> None:
        if not all(check() for check in checks):
            raise module.HealthError("not ready")

    flask.config["HEALTHZ"] = {"live": live}
    module.Healthz(flask)


def _py_healthcheck(flask: Flask, checks: Sequence[Check]) -> None:
    """Without its caches of 27 s and 9 s, which would keep a ready server red for longer."""
    health = _load("py-healthcheck").HealthCheck(success_ttl=None, failed_ttl=None)
    for check in checks:
        health.add_check(lambda check=check: (check(), "checked"))
    flask.add_url_rule("/healthcheck", "healthcheck", view_func=health.run)


def _dockerflow(flask: Flask, checks: Sequence[Check]) -> None:
    _load("dockerflow").Dockerflow(flask)
    module = import_module("dockerflow.checks")

    def tell(check: Check) -> list[Any]:
        return [] if check() else [module.Error("not ready", id="benchmark.E001")]

    for number, check in enumerate(checks):
        module.register(partial(tell, check), name=f"check-{number}")


def _healthpy(flask: Flask, checks: Sequence[Check]) -> None:
    module = _load("healthpy")

    async def live() -> tuple[str, dict[str, Any]]:
        return ("pass" if all(check() for check in checks) else "fail"), {}

    api = import_module("flask_restx").Api(flask, doc=False)
    module.add_health_endpoint(api, live, release_id="1.0.0")


def _modules(name: str) -> list[str]:
    return [MODULES[name].split(".")[0], *NEEDS.get(name, ())]


def _load(name: str) -> Any:
    return import_module(MODULES[name])


_MOUNT = {
    "flask route": _flask_route,
    "flask-healthz": _flask_healthz,
    "py-healthcheck": _py_healthcheck,
    "dockerflow": _dockerflow,
    "healthpy": _healthpy,
}
