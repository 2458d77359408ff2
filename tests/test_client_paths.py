"""Which paths are ours, and how we live with the app's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, url_for
from flask.views import MethodView
from support.local import call, make_app

from flask_health import ConfigError, HealthCheck

OK = (200, "ok")


def said(app: Flask, path: str, method: str = "GET") -> tuple[int, str]:
    """What an app answers, as text."""
    return call(app, path, method).word


# Slashes, prefixes, aliases


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/health/startup"])
def test_a_trailing_slash_answers_the_same(path: str) -> None:
    """No redirect, the same bytes."""
    app = make_app()
    HealthCheck(app)
    assert call(app, path + "/") == call(app, path)


@pytest.mark.parametrize("prefix", ["/up", "/_internal/health", "/health.d", "/gesundheit-prüfung"])
def test_the_prefix_moves_everything(prefix: str) -> None:
    """Four probes there, nothing at `/health`; also where the prefix is not ASCII."""
    app = make_app(HEALTH_URL_PREFIX=prefix)
    HealthCheck(app)
    client = app.test_client()
    for path in ("", "/live", "/ready", "/startup", "/live/"):
        answer = client.get(prefix + path)
        assert (answer.status_code, answer.text) == OK
    assert client.get(f"{prefix}/nope").text == "not found"
    assert client.get("/health").status_code == 404


def test_the_fast_path_knows_prefixes_that_are_not_ascii() -> None:
    """No hook of the app runs for them either."""
    app = make_app(HEALTH_URL_PREFIX="/größe", HEALTH_ALIASES={"/bereit-für": "ready"})
    HealthCheck(app)
    app.before_request(lambda: ("stopped", 418))
    for path in ("/größe", "/größe/live", "/bereit-für"):
        assert app.test_client().get(path).status_code == 200


def test_aliases_answer_beside_the_probes() -> None:
    """Also those that are named like the probes themselves, or like one another."""
    aliases = {
        "/livez": "live",
        "/readyz/": "ready",
        "/live": "live",
        "/ready": "ready",
        "/startup": "startup",
        "/unknown": "live",
        "/a/b": "ready",
        "/a_b": "live",
        "/a.b": "startup",
        "/static": "ready",
        "/healthcheck": "health",
        "/health/liveness": "live",
    }
    app = make_app(HEALTH_ALIASES=aliases)
    HealthCheck(app)
    for path in aliases:
        for variant in (path.rstrip("/"), path.rstrip("/") + "/"):
            assert said(app, variant) == OK, variant
        assert call(app, path, "POST").code == 405
    assert said(app, "/health/ready") == OK


def test_an_alias_answers_for_its_probe() -> None:
    """While setup has failed `/livez` is 200 and `/readyz` is 503."""
    app = make_app(TESTING=True, HEALTH_ALIASES={"/livez": "live", "/readyz": "ready"})
    health = HealthCheck(app, setup=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        health.start(wait=True)
    assert said(app, "/livez") == OK
    assert said(app, "/readyz") == (503, "not ready")


# The app's own rules


@pytest.mark.parametrize("wired", ["before", "after"])
@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/health/records", "/health/records"),
        ("/health/records/<int:number>", "/health/records/7"),
        ("/health/<name>", "/health/nope"),
        ("/health/<int:number>", "/health/12"),
        ("/health/<path:rest>", "/health/a/b/c"),
        ("/health/records/", "/health/records/"),
    ],
)
def test_the_users_rules_below_the_prefix_win(rule: str, path: str, wired: str) -> None:
    """A service that is about health keeps its pages; the probes keep theirs."""
    app = make_app()
    if wired == "before":
        HealthCheck(app)
    app.add_url_rule(rule, "own", lambda **values: "own")
    if wired == "after":
        HealthCheck(app)
    assert said(app, path) == (200, "own")
    assert said(app, "/health/ready") == OK
    assert said(app, "/health") == OK


@pytest.mark.parametrize("wired", ["before", "after"])
@pytest.mark.parametrize(
    "rule",
    [
        "/<path:rest>",
        "/<name>/<rest>",
        "/<name>/redy",
        "/<path:a>/<b>",
        "/<string(length=6):a>/<path:rest>",
    ],
)
def test_a_typo_never_falls_into_a_catch_all(rule: str, wired: str) -> None:
    """A single-page app answers 200 to everything: not to `/health/redy` (B06, B07)."""
    app = Flask("spa", static_folder=None)
    if wired == "before":
        HealthCheck(app)
    app.add_url_rule(rule, "page", lambda **values: "page")
    if wired == "after":
        HealthCheck(app)
    for path in ("/health/redy", "/health/ready/database", "/health/live.json", "/health/a/b"):
        answer = call(app, path)
        assert answer.word == (404, "not found")
        assert answer.headers["Cache-Control"] == "no-store"
        assert call(app, path, "HEAD")._replace(body=answer.body) == answer
        assert call(app, path, "POST").code == 404
    for path in ("/health", "/health/", "/health/ready", "/health/ready/"):
        assert said(app, path) == OK
    if "<path:rest>" in rule:
        assert said(app, "/other/page" if "length" not in rule else "/abcdef/page") == (200, "page")


def test_a_static_folder_at_the_root_hides_nothing() -> None:
    """`static_url_path=""` is a catch-all of Flask's own."""
    app = Flask("spa", static_url_path="")
    HealthCheck(app)
    assert said(app, "/health/ready") == OK
    assert said(app, "/health/redy") == (404, "not found")


class View(MethodView):
    """A class-based view."""

    def get(self) -> str:
        """Answers."""
        return "own"


def by_route(app: Flask, rule: str) -> None:
    app.route(rule, methods=["POST"])(lambda: "own")


def by_get(app: Flask, rule: str) -> None:
    app.get(rule)(lambda: "own")


def by_add(app: Flask, rule: str) -> None:
    app.add_url_rule(rule, view_func=View.as_view("own"))


def by_keyword(app: Flask, rule: str) -> None:
    app.add_url_rule(rule=rule, endpoint="own", view_func=lambda: "own")


def by_blueprint(app: Flask, rule: str) -> None:
    own = Blueprint("own", __name__)
    own.add_url_rule(rule, "page", lambda: "own")
    app.register_blueprint(own)


def by_prefix(app: Flask, rule: str) -> None:
    own = Blueprint("own", __name__, url_prefix=rule.rsplit("/", 1)[0] or None)
    own.add_url_rule("/" + rule.rsplit("/", 1)[1], "page", lambda: "own")
    app.register_blueprint(own)


def by_nesting(app: Flask, rule: str) -> None:
    outer, inner = Blueprint("outer", __name__), Blueprint("inner", __name__)
    inner.add_url_rule(rule, "page", lambda: "own")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


WAYS = [by_route, by_get, by_add, by_keyword, by_blueprint, by_prefix, by_nesting]


@pytest.mark.parametrize("first", ["check", "alias"])
def test_an_alias_cannot_be_the_path_of_a_check(first: str) -> None:
    """Whichever comes last is refused, and nothing is half wired."""
    app = Flask("local")
    app.config["HEALTH_ALIASES"] = {"/health/ready/database": "live"}
    health = HealthCheck()
    if first == "alias":
        health.init_app(app)
        with pytest.raises(ValueError, match="'/health/ready/database' would never be reached"):
            health.add_check("database", lambda: None)
        assert app.test_client().get("/health/ready/database").data == b"ok"
        return
    health.add_check("database", lambda: None)
    with pytest.raises(ConfigError, match="not '/health/ready/database': the check 'database'"):
        health.init_app(app)
    assert "health" not in app.extensions and "health" not in app.blueprints


CONFIG: dict[str, Any] = {"HEALTH_ALIASES": {"/readyz": "ready"}}


@pytest.mark.parametrize("add", WAYS)
@pytest.mark.parametrize(
    "rule", ["/health", "/health/", "/health/live", "/health/ready/", "/readyz"]
)
def test_a_later_rule_for_a_path_of_ours_is_refused(
    add: Callable[[Flask, str], None], rule: str
) -> None:
    """At the line that adds it, with what to do: it would never be reached."""
    app = make_app(**CONFIG)
    HealthCheck(app)
    with pytest.raises(ValueError, match=r"would never be reached.*HEALTH_URL_PREFIX") as caught:
        add(app, rule)
    assert f"'{rule}'" in str(caught.value)
    assert said(app, rule) == OK


@pytest.mark.parametrize("add", WAYS)
@pytest.mark.parametrize(
    "rule", ["/health", "/health/", "/health/live", "/health/ready/", "/readyz"]
)
def test_an_earlier_rule_for_a_path_of_ours_is_refused(
    add: Callable[[Flask, str], None], rule: str
) -> None:
    """By `init_app`, which leaves the app as it was."""
    app = make_app(**CONFIG)
    add(app, rule)
    wsgi_app = app.wsgi_app
    with pytest.raises(ValueError, match="would never be reached"):
        HealthCheck(app)
    assert app.wsgi_app == wsgi_app
    assert "health" not in app.blueprints
    assert "health" not in app.extensions


@pytest.mark.parametrize("add", WAYS)
@pytest.mark.parametrize("rule", ["/health/ready/database", "/health/startup/database/"])
@pytest.mark.parametrize("first", ["rule", "check", "app"])
def test_a_rule_for_the_path_of_a_check_is_refused(
    add: Callable[[Flask, str], None], rule: str, first: str
) -> None:
    """Whether rule, check or extension comes last: at that line, with what to do."""
    app, health = make_app(), HealthCheck()

    def check() -> None:
        health.add_check("database", lambda: None, probes=("ready", "startup"))

    last: dict[str, list[Callable[[], object]]] = {
        "rule": [lambda: health.init_app(app), lambda: add(app, rule), check],
        "check": [lambda: health.init_app(app), check, lambda: add(app, rule)],
        "app": [check, lambda: add(app, rule), lambda: health.init_app(app)],
    }
    *before, refused = last[first]
    for step in before:
        step()
    with pytest.raises(ValueError, match="would never be reached.*rename the check") as caught:
        refused()
    assert f"'{rule}'" in str(caught.value)


def test_a_check_that_is_refused_for_its_path_is_not_registered() -> None:
    """Under another name it is welcome, and the app's rule is served."""
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    app.add_url_rule("/health/ready/database", "own", lambda: "own")
    with pytest.raises(ValueError, match="would never be reached"):
        health.add_check("database", lambda: None)
    health.add_check("db", lambda: None)
    health.start(wait=True)
    assert [result.name for result in health.report().results] == ["db"]
    assert said(app, "/health/ready/database") == (200, "own")


def test_a_rule_beside_the_path_of_a_check_is_served() -> None:
    """Another probe's path, and a pattern that matches the check's path among others."""
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    app.add_url_rule("/health/live/database", "beside", lambda: "own")
    app.add_url_rule("/health/ready/<name>", "pattern", lambda name: f"own {name}")
    health.add_check("database", lambda: None)
    health.start(wait=True)
    assert said(app, "/health/live/database") == (200, "own")
    assert said(app, "/health/ready/other") == (200, "own other")
    assert call(app, "/health/ready/database").body.startswith(b"[+]database ok")


def test_a_moved_prefix_frees_the_paths() -> None:
    """What the error says to do works."""
    app = make_app(HEALTH_URL_PREFIX="/up")
    HealthCheck(app)
    app.add_url_rule("/health", "own", lambda: "own")
    assert said(app, "/health") == (200, "own")
    assert said(app, "/up") == OK


def test_rules_are_added_as_before() -> None:
    """The app's own `add_url_rule` keeps its arguments, its name and its documentation."""
    app = make_app()
    HealthCheck(app)
    app.add_url_rule("/a/<int:number>", "a", lambda number: str(number + 1), methods=["GET"])
    app.add_url_rule("/b", endpoint="b", view_func=lambda: "b", strict_slashes=False)
    assert said(app, "/a/1") == (200, "2")
    assert said(app, "/b/") == (200, "b")
    assert app.add_url_rule.__name__ == "add_url_rule"
    assert app.add_url_rule.__doc__ == Flask.add_url_rule.__doc__


def test_a_blueprint_of_the_user_may_have_our_prefix() -> None:
    """Its pages live beside the probes."""
    app = make_app()
    HealthCheck(app)
    own = Blueprint("own", __name__, url_prefix="/health")
    own.add_url_rule("/records", "records", lambda: url_for(".records"))
    app.register_blueprint(own)
    assert said(app, "/health/records") == (200, "/health/records")


def test_the_app_may_have_converters_and_a_host_of_its_own() -> None:
    """A host-matching app accepts the blueprint; `url_for` works where hosts are not matched."""
    app = Flask("matched", host_matching=True, static_folder=None)
    HealthCheck(app)
    app.add_url_rule("/work", "work", lambda: "done", host="www.example")
    assert call(app, "/health", HTTP_HOST="other.example").word == OK
    assert call(app, "/work", HTTP_HOST="www.example").word == (200, "done")
