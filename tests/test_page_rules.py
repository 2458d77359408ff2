"""Who gets the status page, and what a browser is told to do with it."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from flask import Flask, Request, abort, url_for
from support.local import Answer, call, make_app
from support.pages import attributes, look

from flask_health import HealthCheck

TOKEN = "s3cret"
UI = "/health/ui"


def wired(**config: object) -> Flask:
    """An app that is wired with this configuration."""
    app = make_app(**config)
    HealthCheck(app)
    return app


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    """The header in which a browser sends a password."""
    sent = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"HTTP_AUTHORIZATION": f"Basic {sent}"}


def policy(answer: Answer) -> dict[str, str]:
    """The directives of a page's Content-Security-Policy."""
    told = answer.headers["Content-Security-Policy"].split("; ")
    return dict(line.split(" ", 1) for line in told)


@pytest.mark.parametrize("given", [{}, basic("wrong"), {"HTTP_AUTHORIZATION": "Bearer wrong"}])
def test_strangers_are_asked_for_the_password(given: dict[str, str]) -> None:
    """Here, and for no probe: 401 with a challenge that names nothing, and not the page."""
    answer = call(wired(HEALTH_TOKEN=TOKEN, HEALTH_SERVICE="shop"), UI, **given)
    assert answer.code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="health", charset="UTF-8"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert b"shop" not in answer.body
    assert b"<" not in answer.body


@pytest.mark.parametrize("given", [basic(TOKEN), {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}])
def test_the_token_is_the_password(given: dict[str, str]) -> None:
    """With any user name, or as a bearer token."""
    assert call(wired(HEALTH_TOKEN=TOKEN), UI, **given).code == 200


def test_where_nobody_sees_details_there_is_no_page() -> None:
    """404 as for any unknown path, and no challenge that nothing can meet."""
    answer = call(wired(HEALTH_DETAILS="never", HEALTH_TOKEN=TOKEN), UI, **basic(TOKEN))
    assert answer.code == 404
    assert "WWW-Authenticate" not in answer.headers


def test_debug_mode_and_authorize_open_it_too() -> None:
    """The rule is that of all details."""
    app = make_app()
    health = HealthCheck(app)
    assert call(app, UI).code == 401
    app.debug = True
    assert call(app, UI).code == 200

    @health.authorize
    def is_admin(request: Request) -> bool:
        return request.headers.get("X-Admin") == "yes"

    assert call(app, UI).code == 401
    assert call(app, UI, HTTP_X_ADMIN="yes").code == 200


def test_the_script_is_refused_without_a_challenge() -> None:
    """A browser would ask for a password in the middle of reading."""
    app = wired(HEALTH_TOKEN=TOKEN)
    answer = call(app, UI, QUERY_STRING="part")
    assert answer.code == 403
    assert "WWW-Authenticate" not in answer.headers
    assert call(app, UI, QUERY_STRING="part", **basic(TOKEN)).code == 200


@pytest.mark.parametrize("path", [UI, f"{UI}/"])
def test_head_and_other_methods(path: str) -> None:
    """HEAD tells of the page without it; whatever else is asked for is not allowed."""
    app = wired(HEALTH_DETAILS="always")
    full, head = call(app, path), call(app, path, "HEAD")
    assert (head.code, head.body) == (200, b"")
    assert head.headers.keys() == full.headers.keys()
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = call(app, path, method)
        assert (answer.code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_no_code_of_the_app_runs() -> None:
    """No hook, no error handler, no template filter of the app's has a say in it."""
    app = wired(HEALTH_DETAILS="always")
    app.before_request(lambda: abort(500))
    app.after_request(lambda response: abort(500))
    app.jinja_env.globals.clear()
    app.jinja_env.autoescape = False
    assert call(app, UI).code == 200
    assert call(app, UI, HTTP_HOST="[not a host").code == 200


def test_only_our_own_script_and_stylesheet_are_allowed() -> None:
    """By their hashes: nothing inline, nothing loaded, no frame around it, no form."""
    answer = call(wired(HEALTH_DETAILS="always"), UI)
    told = policy(answer)
    page = answer.body.decode()
    for what, tag in (("script-src", "script"), ("style-src", "style")):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert told.pop(what) == f"'sha256-{digest}'"
    assert told == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_what_a_browser_may_do_with_it() -> None:
    """Keep no copy, guess no type, send no referrer; and there is nothing that it could keep."""
    headers = call(wired(HEALTH_DETAILS="always"), UI).headers
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in headers


def test_nothing_in_it_leads_out() -> None:
    """It refers to itself and to data, and no attribute is code or style."""
    document = look(wired(HEALTH_DETAILS="always"))
    for name, value in attributes(document.root):
        assert not name.startswith("on"), name
        assert name not in ("style", "src", "srcset"), name
        if name == "href":
            assert value.startswith(("#", "data:image/svg+xml,")), value


def test_it_has_a_place_of_its_own() -> None:
    """Below the prefix, also for `url_for`; a rule of the app there is an error."""
    app = wired(HEALTH_URL_PREFIX="/-/status", HEALTH_DETAILS="always")
    assert call(app, "/-/status/ui").code == 200
    with app.test_request_context():
        assert url_for("health.ui") == "/-/status/ui"
    with pytest.raises(ValueError, match="'/-/status/ui' would never be reached"):
        app.add_url_rule("/-/status/ui", "mine", lambda: "mine")


def test_it_is_imported_when_it_is_first_asked_for() -> None:
    """An app whose page nobody looks at has no teller of pages."""
    app = wired(HEALTH_DETAILS="always")
    teller = app.extensions["health.state"].teller()
    call(app, "/health", QUERY_STRING="format=json")
    assert "_page" not in vars(teller)
    call(app, UI)
    assert "_page" in vars(teller)
