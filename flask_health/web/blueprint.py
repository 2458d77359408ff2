"""The /health blueprint: the same answers, for `url_for`, for people who look for it, and for
callers that bypass `app.wsgi_app`.
"""

from __future__ import annotations

import collections.abc as cabc
import itertools

import flask
import werkzeug
from werkzeug.routing import PathConverter

from ..config import PROBES, Config
from .headers import TEXT, headers
from .probe import Probes

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
    view = _view(probes)
    taken = {*PROBES, "info", "metrics", "ui", "fleet", "other"}
    first = {probe: path for path, probe in reversed(list(ours.items()))}
    for path, probe in ours.items():
        canonical = path == first[probe]
        blueprint.add_url_rule(
            path,
            probe if canonical else _endpoint(path, taken),
            view,
            methods=METHODS,
            provide_automatic_options=False,
            strict_slashes=False,
        )
    # The single checks; everything else below the prefix is not found.
    blueprint.add_url_rule(
        f"{config.url_prefix}/<flask_health_anything:path>",
        "other",
        view,
        methods=METHODS,
        provide_automatic_options=False,
    )
    return blueprint


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
