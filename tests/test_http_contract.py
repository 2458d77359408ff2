"""What a prober gets to see, row by row; the ids are those of the conformance list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
from flask import Flask, abort, redirect, session
from hypothesis import given, settings
from hypothesis import strategies as st
from support.local import DEADLINE, Answer, Blocked, call, call_with, environ, make_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

import flask_health
from flask_health import HealthCheck

PROBES = ("/health", "/health/live", "/health/ready", "/health/startup")
JSON = "application/health+json"
TEXT = "text/plain; charset=utf-8"


class Service(dict[str, Flask]):
    """An app in each state that a probe can meet: `ok`, `starting`, `failed`, `new`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked = Blocked()
        steps: dict[str, Callable[[], None]] = {
            "ok": self._works,
            "starting": self.blocked,
            "failed": self._fails,
            "new": self.blocked,
        }
        for state, step in steps.items():
            app = make_app(state, HEALTH_GATE_TIMEOUT=0)
            health = HealthCheck(app)
            health.setup(name="step", retries=0)(step)
            if state != "new":
                health.start()
            self[state] = app
        gates = {state: app.extensions["health"].gate for state, app in self.items()}
        assert gates["ok"].wait(DEADLINE)
        assert isinstance(gates["failed"].settle(DEADLINE), LookupError)

    def _works(self) -> None:
        """A step that works."""

    def _fails(self) -> None:
        raise LookupError("the password is hunter2")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """All four apps; nothing here changes their state."""
    made = Service()
    yield made
    made.blocked.go.set()


def expected(state: str, path: str) -> int:
    """The code of a probe in that state."""
    return 200 if state == "ok" or path == "/health/live" else 503


everywhere = pytest.mark.parametrize("path", PROBES)
in_any_state = pytest.mark.parametrize("state", ["ok", "starting", "failed"])


# Plain answers


@everywhere
@in_any_state
def test_a_plain_probe_is_two_words(service: Service, state: str, path: str) -> None:
    """`ok` with 200 or `not ready` with 503, as text, never cached, never sniffed (B01 B13 B15)."""
    answer = call(service[state], path)
    code = expected(state, path)
    word = b"ok" if code == 200 else b"not ready"
    headers = {
        "Content-Type": TEXT,
        "Content-Length": str(len(word)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if code == 503:
        headers["Retry-After"] = "5"
    assert answer == Answer(code, headers, word)


@everywhere
@in_any_state
@pytest.mark.parametrize("accept", [None, JSON])
def test_head_is_get_without_a_body(
    service: Service, state: str, path: str, accept: str | None
) -> None:
    """The same code and headers (B09)."""
    more = {"HTTP_ACCEPT": accept} if accept else {}
    get, head = (call(service[state], path, method, **more) for method in ("GET", "HEAD"))
    assert head == get._replace(body=b"")
    assert len(get.body) == int(get.headers["Content-Length"])


@everywhere
@in_any_state
@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"]
)
def test_other_methods_are_not_allowed(
    service: Service, state: str, path: str, method: str
) -> None:
    """405 that names what is allowed, in every state and with any body (B10)."""
    answer = call(service[state], path, method, CONTENT_LENGTH="7", CONTENT_TYPE="text/x")
    assert answer.code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Retry-After" not in answer.headers


def test_a_method_that_is_not_allowed_starts_nothing() -> None:
    """A mistaken POST is no first request (B10)."""
    app = make_app()
    health = HealthCheck(app, setup=Blocked())
    assert call(app, "/health", "POST").code == 405
    assert health.gate.state == "pending"


@everywhere
@in_any_state
@pytest.mark.parametrize(
    "more",
    [
        {"HTTP_IF_NONE_MATCH": "*"},
        {"HTTP_IF_MODIFIED_SINCE": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"HTTP_IF_MATCH": '"x"'},
        {"HTTP_RANGE": "bytes=0-0"},
        {"HTTP_EXPECT": "100-continue"},
        {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"},
        {"HTTP_COOKIE": "session=nonsense"},
        {"HTTP_AUTHORIZATION": "Bearer nonsense"},
        {"HTTP_HOST": ""},
        {"HTTP_HOST": "10.0.0.9:8000"},
        {"HTTP_HOST": "bad host\x7f"},
        {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "elsewhere"},
        {"wsgi.url_scheme": "https"},
        {"QUERY_STRING": "verbose&x=%ff&format=xml"},
        {"QUERY_STRING": "format=json"},
        {"QUERY_STRING": "\xff&;&=&&"},
        {"SERVER_PROTOCOL": "HTTP/1.0"},
        {"HTTP_USER_AGENT": "kube-probe/1.33"},
        {"CONTENT_LENGTH": "nonsense"},
    ],
    ids=str,
)
def test_nothing_in_a_request_changes_the_code(
    service: Service, state: str, path: str, more: dict[str, str]
) -> None:
    """No condition, range, cookie, host, scheme or query: never 204, 206, 304 or 401 (B03, B12)."""
    answer = call(service[state], path, **more)
    assert answer.code == expected(state, path)
    assert answer.body
    assert len(answer.body) == int(answer.headers["Content-Length"])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_request_is_answered(service: Service, data: st.DataObject) -> None:
    """Whatever anybody sends: the codes of an aggregate are 200, 503 and 405 only (B03)."""
    latin = st.text(st.characters(max_codepoint=255), max_size=40)
    accept = st.text("jsonaplicth+/*;q=.01, ", max_size=40) | latin
    state = data.draw(st.sampled_from(["ok", "starting", "failed"]))
    path = data.draw(st.sampled_from(PROBES)) + data.draw(st.sampled_from(["", "/"]))
    method = data.draw(st.sampled_from(["GET", "HEAD", "POST", ""]))
    more = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "HTTP_ACCEPT": accept.map("application/json;".__add__) | accept,
                "QUERY_STRING": latin | latin.map("format=json&".__add__),
                "HTTP_HOST": latin,
                "HTTP_AUTHORIZATION": latin | latin.map("Bearer ".__add__),
                "HTTP_COOKIE": latin,
            },
        )
    )
    answer = call(service[state], path, method, **more)
    wanted = expected(state, path.rstrip("/")) if method in ("GET", "HEAD") else 405
    assert answer.code == wanted


@pytest.mark.parametrize("path", [*PROBES, "/health/nope", "/work"])
@in_any_state
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("accept", ["*/*", "application/json"])
@pytest.mark.filterwarnings("ignore::wsgiref.validate.WSGIWarning")
def test_the_answers_are_valid_wsgi(
    service: Service, state: str, path: str, method: str, accept: str
) -> None:
    """`wsgiref.validate` has nothing to say, about us and about the app behind us."""
    given = environ(path, method, HTTP_ACCEPT=accept, QUERY_STRING="")
    assert call_with(validator(service[state]), given).code in (200, 404, 405, 503)


# Formats


@everywhere
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("text/plain", TEXT),
        ("text/*", TEXT),
        # What browsers send.
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", TEXT),
        ("application/json", JSON),
        ("application/health+json", JSON),
        ("application/health+json, */*;q=0.1", JSON),
        ("application/json;q=0.9, text/plain;q=0.5", JSON),
        ("application/json;q=0.5, text/plain;q=0.9", TEXT),
        ("text/plain, application/json", TEXT),
        ("application/json, text/plain, */*", TEXT),  # axios: it likes both alike
        ("application/json;q=0", TEXT),
        ("application/vnd.api+json", TEXT),
        ("application/problem+json", TEXT),
        ("image/png", TEXT),
        ("application/*, text/plain;q=0.1", TEXT),
        # Not well-formed: an answer all the same.
        ("json", TEXT),
        ("application/json;q=high", None),
        (",,application/json;;;q=,", None),
        ("application/json; q=0.5; q=0.6; =", None),
        ("\xff\xfeapplication/json", None),
    ],
)
def test_the_format_is_what_accept_prefers(
    service: Service, path: str, accept: str | None, content_type: str | None
) -> None:
    """JSON only where it is preferred to text (B22); of an ill header any format will do."""
    more = {} if accept is None else {"HTTP_ACCEPT": accept}
    for state in ("ok", "starting"):
        answer = call(service[state], path, **more)
        assert answer.code == expected(state, path)
        assert answer.headers["Content-Type"] == content_type or content_type is None
        assert answer.body


@everywhere
def test_the_format_can_be_asked_for(service: Service, path: str) -> None:
    """`?format=json` asks for JSON whatever `Accept` says; another value for nothing."""
    for query, content_type in [
        ("format=json", JSON),
        ("x=1&format=json", JSON),
        ("format=text", TEXT),
        ("format=", TEXT),
        ("format", TEXT),
        ("xformat=json", TEXT),
    ]:
        answer = call(service["ok"], path, QUERY_STRING=query, HTTP_ACCEPT="text/html")
        assert answer.headers["Content-Type"] == content_type, query


@everywhere
@in_any_state
def test_json_has_the_word_of_the_draft(service: Service, state: str, path: str) -> None:
    """`pass` with 200, `fail` with 503; nobody unknown is told more (H01, C13)."""
    answer = call(service[state], path, HTTP_ACCEPT=JSON)
    code = expected(state, path)
    assert answer.code == code
    assert answer.headers["Content-Type"] == JSON
    assert json.loads(answer.body) == {"status": "pass" if code == 200 else "fail"}
    assert ("Retry-After" in answer.headers) is (code == 503)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_503_asks_to_come_again(service: Service) -> None:
    """`Retry-After` is there while not ready, and only then (B18)."""
    for state in ("ok", "starting", "failed"):
        for path in PROBES:
            for accept in ("*/*", JSON):
                answer = call(service[state], path, HTTP_ACCEPT=accept)
                assert ("Retry-After" in answer.headers) is (answer.code == 503)


def test_health_and_ready_agree(service: Service) -> None:
    """One state, one function: the same code and body at any moment (F11)."""
    for state in ("ok", "starting", "failed"):
        for more in ({}, {"HTTP_ACCEPT": JSON}):
            assert call(service[state], "/health", **more) == call(
                service[state], "/health/ready", **more
            )


# Callers are not trusted


def test_a_bare_environ_is_enough(service: Service) -> None:
    """PEP 3333 allows a server to leave out the query, the path and all headers."""
    app = service["ok"]
    bare = environ()
    assert "QUERY_STRING" not in bare
    assert "HTTP_ACCEPT" not in bare
    assert call_with(app, bare).code == 200
    pathless = environ()
    del pathless["PATH_INFO"]
    assert call_with(app, pathless).code == 404


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/healthy",
        "/healt",
        "/health%2flive",
        "/health/live\x00",
        "/health/\xff\xfe",
        "/HEALTH",
        "/health\n",
        "/./health",
        "/health/../health",
    ],
)
def test_other_paths_are_not_probes(service: Service, path: str) -> None:
    """Only the exact paths are ours; the rest is the app's, which knows none of these."""
    assert call(service["ok"], path).code == 404


@pytest.mark.parametrize("path", ["//health", "/health//live", "//health//ready", "/health//"])
def test_a_double_slash_is_never_redirected(service: Service, path: str) -> None:
    """A prober that writes one slash too many gets an answer, not a 308 to follow."""
    assert call(service["ok"], path).code in (200, 404)
    assert call(service["starting"], path).code in (503, 404)


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_a_huge_request_is_answered(service: Service, size: int) -> None:
    """Length is no reason to fail."""
    more = {
        "QUERY_STRING": "x=1&" * size,
        "HTTP_ACCEPT": "application/json," * (size // 100),
        "HTTP_COOKIE": "a=b;" * size,
    }
    assert call(service["ok"], "/health", **more).code == 200
    assert call(service["starting"], "/health", **more).code == 503


def test_anonymous_bodies_are_small(service: Service) -> None:
    """Under 4 KiB whatever is asked for, and no name, path or reason in it."""
    place = os.path.dirname(flask_health.__file__).encode()
    for state in ("ok", "starting", "failed"):
        for path in (*PROBES, "/health/nope"):
            for query in ("", "format=json", "verbose", "exclude=step"):
                answer = call(service[state], path, QUERY_STRING=query)
                assert len(answer.body) < 4096
                for secret in (b"hunter2", b"step", b"LookupError", place):
                    assert secret not in answer.body
                    assert secret.decode() not in str(answer.headers)


# The app is not asked


class Guarded:
    """An app with everything that keeps visitors out; `asked` counts how often it was asked."""

    def __init__(self) -> None:
        self.app = make_app("guarded")
        self.app.secret_key = "key"
        self.asked = 0

    def probe(self, path: str = "/health/live", **more: Any) -> Answer:
        """Probe it."""
        return call(self.app, path, **more)


def raising() -> Any:
    raise ConnectionError("the database is down")


def needing_login() -> Any:
    if "user" not in session:
        abort(401)


def redirecting() -> Any:
    return redirect("https://secure.example/")


@everywhere
@pytest.mark.parametrize("before", [raising, needing_login, redirecting])
@pytest.mark.parametrize("wired", ["before", "after"])
def test_no_hook_of_the_app_runs(path: str, before: Callable[[], Any], wired: str) -> None:
    """Hooks that raise, need a login or redirect are not run, in any format (B21)."""
    guarded = Guarded()
    app = guarded.app

    def hook() -> Any:
        guarded.asked += 1
        return before()

    def after(response: Response) -> Response:
        guarded.asked += 1
        response.headers["X-After"] = "yes"
        return response

    def teardown(error: BaseException | None) -> None:
        guarded.asked += 1

    if wired == "before":
        HealthCheck(app)
    app.before_request(hook)
    app.after_request(after)
    app.teardown_request(teardown)
    app.teardown_appcontext(teardown)
    if wired == "after":
        HealthCheck(app)
    for more in ({}, {"HTTP_ACCEPT": JSON}, {"QUERY_STRING": "verbose"}):
        for method in ("GET", "HEAD", "POST"):
            answer = call(app, path, method, **more)
            assert answer.code == (405 if method == "POST" else 200)
            assert "X-After" not in answer.headers
    assert guarded.asked == 0
    assert call(app, "/work").code in (302, 401, 500)
    assert guarded.asked > 0


@everywhere
def test_no_cookie_is_set(path: str) -> None:
    """Not even by an app that touches its session at every request (B15)."""
    app = Guarded().app
    app.config["SESSION_REFRESH_EACH_REQUEST"] = True

    @app.before_request
    def touch() -> None:
        session.permanent = True
        session["seen"] = True

    HealthCheck(app)
    for more in ({}, {"HTTP_ACCEPT": JSON}):
        answer = call(app, path, **more)
        assert answer.code == 200
        assert not {"Set-Cookie", "Vary"} & set(answer.headers)
    assert "Set-Cookie" in call(app, "/work").headers


@everywhere
@pytest.mark.parametrize(
    "config",
    [
        {"TRUSTED_HOSTS": ["www.example"]},
        {"SERVER_NAME": "www.example"},
        {"SERVER_NAME": "www.example:443", "PREFERRED_URL_SCHEME": "https"},
        {"APPLICATION_ROOT": "/root"},
    ],
    ids=str,
)
@pytest.mark.parametrize("host", ["10.0.0.9:8000", "www.example", "", "[::1]:80", "bad host"])
def test_any_host_is_answered(path: str, config: dict[str, Any], host: str) -> None:
    """A kubelet probes the pod by its address, whatever names the app answers to (B19)."""
    app = make_app(**config)
    HealthCheck(app)
    for more in ({}, {"HTTP_ACCEPT": JSON}):
        assert call(app, path, HTTP_HOST=host, **more).code == 200


@everywhere
@pytest.mark.parametrize("matching", ["host_matching", "subdomain_matching"])
def test_any_host_is_answered_where_hosts_are_matched(path: str, matching: str) -> None:
    """Also where rules belong to hosts or subdomains (B19)."""
    options: dict[str, Any] = {matching: True, "static_folder": None}
    app = Flask("matched", **options)
    app.config["SERVER_NAME"] = "www.example"
    HealthCheck(app)
    place: dict[str, Any] = (
        {"host": "www.example"} if matching == "host_matching" else {"subdomain": "api"}
    )
    app.add_url_rule("/work", "work", lambda: "done", **place)
    for host in ("10.0.0.9", "www.example", "api.www.example"):
        assert call(app, path, HTTP_HOST=host).word == (200, "ok")


# Mounting


@everywhere
def test_a_mounted_app_answers_below_its_mount_point(path: str) -> None:
    """The dispatcher moves the mount point into `SCRIPT_NAME`; the rest of the path counts."""
    app, outer = make_app(), make_app("outer")
    HealthCheck(app)
    mounted = DispatcherMiddleware(outer, {"/api/v1": app})
    assert call(mounted, f"/api/v1{path}").word == (200, "ok")
    assert call(mounted, path).code == 404
    assert call(app, path, SCRIPT_NAME="/api/v1").word == (200, "ok")


@everywhere
@pytest.mark.parametrize("wired", ["before", "after"])
def test_a_proxy_changes_nothing(path: str, wired: str) -> None:
    """Behind ProxyFix, inside or outside of it, with any forwarded header."""
    app = make_app()
    if wired == "before":
        HealthCheck(app)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    if wired == "after":
        HealthCheck(app)
    forwarded = {
        "HTTP_X_FORWARDED_FOR": "203.0.113.7",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "www.example",
        "HTTP_X_FORWARDED_PREFIX": "/api",
    }
    assert call(app, path, **forwarded).word == (200, "ok")
    assert call(app, path).word == (200, "ok")
