"""The /health blueprint: the same answers, for `url_for`, for people who look for it, and for
callers that bypass `app.wsgi_app`.
"""

from __future__ import annotations

import collections.abc as cabc
import itertools
import typing as t

import flask
import werkzeug
from werkzeug.routing import PathConverter

from ..config import Config
from .headers import TEXT, headers
from .probe import Probes

if t.TYPE_CHECKING:
    from flask.blueprints import BlueprintSetupState

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Anything(PathConverter):
    """Matches any path, after every rule of the app: its own paths below our prefix win."""

    regex = ".*?"  # Two slashes as well: else such a path would be redirected.
    part_isolating = False
    weight = 10_000


def make_blueprint(
    app: flask.Flask,
    name: str,
    config: Config,
    ours: cabc.Mapping[str, str],
    probes: Probes,
) -> flask.Blueprint:
    """The blueprint of an app.

    :param ours: the paths of the probes, each with the name of its probe.
    """
    app.url_map.converters.setdefault("flask_health_anything", Anything)
    blueprint = flask.Blueprint(name, __name__)
    endpoints = _endpoints(ours)
    if not config.fleet_url:
        del endpoints[f"{config.url_prefix}/fleet"]  # Nothing is found there then.
    view = _view(probes)

    def add_rules(setup: BlueprintSetupState) -> None:
        options: dict[str, t.Any] = {"methods": METHODS, "provide_automatic_options": False}
        for path, endpoint in endpoints.items():
            setup.add_url_rule(path, endpoint, view, strict_slashes=False, **options)
        # The single checks; everything else below the prefix is not found.
        rule = f"{config.url_prefix}/<flask_health_anything:path>"
        setup.add_url_rule(rule, "other", view, **options)

    blueprint.record(add_rules)
    return blueprint


def _endpoints(ours: cabc.Mapping[str, str]) -> dict[str, str]:
    """The endpoint of each path: the name of its probe, for aliases one of their own."""
    first = {probe: path for path, probe in reversed(list(ours.items()))}
    taken = {*first, "other"}
    return {
        path: probe if path == first[probe] else _endpoint(path, taken)
        for path, probe in ours.items()
    }


def _endpoint(path: str, taken: set[str]) -> str:
    """A name for the endpoint of an alias that no other has: that of its path, or with a number."""
    stem = path.strip("/").replace("/", "_").replace(".", "_")
    numbered = (f"{stem}_{number}" for number in itertools.count(2))
    name = next(n for n in itertools.chain([stem], numbered) if n not in taken)
    taken.add(name)
    return name


def _view(probes: Probes) -> cabc.Callable[..., werkzeug.Response]:
    """What answers at every rule: as the probes do."""

    def view(path: str = "") -> werkzeug.Response:
        environ = flask.request.environ
        answer = probes.routes.get(environ["PATH_INFO"])
        if answer:
            return flask.Response.from_app(answer, environ)
        body = b"not found"
        return flask.Response(body, 404, headers(TEXT, len(body)))

    return view
