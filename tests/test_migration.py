"""Moving from `before_first_request`: a test for each row of `docs/before_first_request.md`."""

from __future__ import annotations

import contextvars
import logging
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from flask import (
    Blueprint,
    Flask,
    Request,
    Response,
    abort,
    appcontext_pushed,
    appcontext_tearing_down,
    current_app,
    g,
    got_request_exception,
    has_request_context,
    request,
    request_started,
    session,
    url_for,
)
from support.local import DEADLINE, Blocked, call, make_app, worker_gate
from werkzeug.debug import DebuggedApplication
from werkzeug.local import LocalProxy
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_health import HealthCheck
from flask_health.workers import setup as setup_room

PAGE = Path(__file__).resolve().parent.parent / "docs" / "before_first_request.md"
T = TypeVar("T", bound=Callable[..., Any])
ROWS: dict[str, str] = {}


def row(*names: str) -> Callable[[T], T]:
    """Say which rows of the page a test proves."""

    def note(test: T) -> T:
        ROWS.update(dict.fromkeys(names, test.__name__))
        return test

    return note


def rows_of_page() -> list[str]:
    """The first cells of all tables of the page."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [line.split("|")[1].strip() for line in lines]
    return [cell for cell in cells if cell not in ("what", "who") and set(cell) - {"-"}]


def fails(app: Flask, step: Callable[[], object], message: str) -> BaseException:
    """Assert that an app's setup fails with this message, and hand out the exception."""
    app.testing = True
    health = HealthCheck(app)
    health.setup(step, name="step")
    with pytest.raises(Exception, match=message) as caught:
        health.start(wait=True)
    return caught.value


def runs(app: Flask, step: Callable[[], object]) -> None:
    """Assert that an app's setup works."""
    app.testing = True
    health = HealthCheck(app)
    health.setup(step, name="step")
    health.start(wait=True)


# What is different


@row("`request`")
def test_a_step_has_no_request() -> None:
    """It has the app's configuration, and may make a request up."""
    fails(make_app(), lambda: request.host, "Working outside of request context")
    app = make_app(TENANT="blue")
    seen: list[object] = []

    def step() -> None:
        seen.append(current_app.config["TENANT"])
        seen.append(has_request_context())
        with current_app.test_request_context("/work", base_url="https://made.example"):
            seen.append(request.host)

    runs(app, step)
    assert seen == ["blue", False, "made.example"]


@row("`session`", "`current_user`")
def test_a_step_has_no_visitor() -> None:
    """What comes from the visitor's cookie is only there in requests."""
    current_user = LocalProxy(lambda: session["user"])
    for step in (lambda: session.get("user"), lambda: str(current_user)):
        fails(make_app(SECRET_KEY="key"), step, "Working outside of request context")
    app = make_app(SECRET_KEY="key")
    app.before_request(lambda: session.update(user="ann"))
    app.add_url_rule("/user", "user", lambda: str(current_user))
    runs(app, lambda: None)
    assert app.test_client().get("/user").text == "ann"


@row("`g`")
def test_what_a_step_puts_into_g_is_gone() -> None:
    """What it puts into `app.extensions` stays."""
    app = make_app()
    seen: list[object] = []

    def step() -> None:
        g.index = "made"
        seen.append(g.index)
        current_app.extensions["index"] = "kept"

    app.add_url_rule("/g", "g", lambda: str(getattr(g, "index", "gone")))
    app.add_url_rule("/kept", "kept", lambda: current_app.extensions["index"])
    runs(app, step)
    assert seen == ["made"]
    assert app.test_client().get("/g").text == "gone"
    assert app.test_client().get("/kept").text == "kept"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setup is tried again without a pause."""
    monkeypatch.setattr(setup_room, "backoff", lambda attempt: 0.0)


@row("exception")
@pytest.mark.usefixtures("at_once")
def test_an_exception_is_not_the_first_visitors(caplog: pytest.LogCaptureFixture) -> None:
    """503 and no 500; no error handler or signal of Flask hears of it; tried again by itself."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    heard: list[object] = []

    @app.errorhandler(Exception)
    def handle(error: Exception) -> tuple[str, int]:
        heard.append(error)
        return "handled", 500

    blocked, calls = Blocked(), []
    health = HealthCheck(app)

    @health.setup
    def load() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise LookupError("no model")
        blocked()

    with got_request_exception.connected_to(lambda *sent, **more: heard.append(sent), app):
        assert call(app, "/work").code == 503
        assert blocked.begun.wait(DEADLINE)
        assert call(app, "/work").code == 503
        blocked.go.set()
        assert health.gate.wait(DEADLINE)
        assert call(app, "/work").code == 200
    assert len(calls) == 3
    assert not heard
    logged = [r for r in caplog.records if r.name == "flask_health" and r.levelno == logging.ERROR]
    assert [record.getMessage().count("Traceback") for record in logged] == [1, 0]


@row("`abort`")
def test_an_abort_answers_nobody() -> None:
    """It fails the setup; the app's error handlers are not asked."""
    app = make_app(HEALTH_GATE_TIMEOUT=5)
    handled: list[object] = []

    @app.errorhandler(404)
    def handle(error: Exception) -> tuple[str, int]:
        handled.append(error)
        return "mine", 404

    health = HealthCheck(app)
    health.setup(name="step", retries=0)(lambda: abort(404))
    assert call(app, "/work").code == 503
    assert health.gate.state == "failed"
    assert "404 Not Found" in health.report().reason
    assert not handled


@row("thread")
def test_a_step_has_a_thread_of_its_own() -> None:
    """Thread-locals, context variables and SQLite connections of a step are of no use in a view;
    what is made for sharing is.
    """
    local = threading.local()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    app = make_app(HEALTH_GATE=False, PROPAGATE_EXCEPTIONS=True)
    visited, made = threading.Event(), threading.Event()
    connections: dict[str, sqlite3.Connection] = {}

    def step() -> None:
        local.value = "set"
        variable.set("set")
        with (
            closing(sqlite3.connect(":memory:")) as own,
            closing(sqlite3.connect(":memory:", check_same_thread=False)) as shared,
        ):
            connections.update(own=own, shared=shared)
            made.set()
            visited.wait(DEADLINE)

    def ask(which: str) -> str:
        return str(connections[which].execute("select 1").fetchone())

    app.add_url_rule("/local", "local", lambda: getattr(local, "value", "unset") + variable.get())
    app.add_url_rule("/<which>", "ask", ask)
    health = HealthCheck(app, setup=step)
    health.start()
    assert made.wait(DEADLINE)
    client = app.test_client()
    try:
        assert client.get("/local").text == "unsetunset"
        with pytest.raises(sqlite3.ProgrammingError, match="same thread"):
            client.get("/own")
        assert client.get("/shared").text == "(1,)"
    finally:
        visited.set()
        assert health.gate.wait(DEADLINE)


@row("`url_for`")
def test_a_step_has_no_host_for_urls() -> None:
    """With `SERVER_NAME` it has one."""
    fails(make_app(), lambda: url_for("work"), "Unable to build URLs outside an active request")
    urls: list[str] = []
    runs(make_app(SERVER_NAME="www.example"), lambda: urls.append(url_for("work", _scheme="https")))
    assert urls == ["https://www.example/work"]


@row("order")
def test_steps_run_in_order_before_everything_else() -> None:
    """The constructor's step first, then as registered, and all before `before_request`."""
    app = make_app()
    seen: list[str] = []
    app.before_request(lambda: seen.append("before_request"))
    health = HealthCheck(app, setup=lambda: seen.append("constructor"))
    for name in ("second", "third"):
        health.setup(lambda name=name: seen.append(name), name=name)
    assert app.test_client().get("/work").text == "done"
    assert seen == ["constructor", "second", "third", "before_request"]


@row("per process")
@pytest.mark.parametrize(("scope", "calls"), [("worker", 2), ("server", 1)])
def test_a_server_step_runs_once_for_all_workers(tmp_path: Path, scope: str, calls: int) -> None:
    """Of two workers both run a worker's step, and one runs a server's step for both."""
    seen: list[str] = []

    def migrate() -> None:
        seen.append("ran")

    gates = [worker_gate(tmp_path, migrate, age=age, scope=scope) for age in (1, 2)]
    for gate in gates:
        gate.begin()
    try:
        for gate in gates:
            assert gate.event.wait(DEADLINE)
        assert len(seen) == calls
    finally:
        for gate in gates:
            gate.told_to_stop()
            gate.leave()


@row("without requests")
def test_a_step_runs_without_requests() -> None:
    """A probe starts it where nothing else did; a script does it by hand; an import never does."""
    blocked = Blocked()
    app = make_app()
    health = HealthCheck(app, setup=blocked)
    with app.app_context():
        assert not blocked.begun.is_set()
        assert health.gate.state == "pending"
    assert call(app, "/health/live").code == 200
    assert blocked.begun.wait(DEADLINE)
    blocked.go.set()
    assert health.gate.wait(DEADLINE)
    by_hand = Blocked()
    by_hand.go.set()
    app = make_app()
    HealthCheck(app, setup=by_hand).start(wait=True)
    assert by_hand.calls == 1


@row("Flask's signals")
def test_a_step_has_the_signals_of_an_app_context() -> None:
    """A context is pushed and torn down for each step; signals of requests are not sent."""
    app = make_app()
    seen: list[str] = []
    app.teardown_appcontext(lambda error: seen.append("teardown"))
    health = HealthCheck(app)
    for name in ("first", "second"):
        health.setup(lambda name=name: seen.append(name), name=name)

    def note(what: str) -> Callable[..., None]:
        return lambda *sent, **more: seen.append(what)

    with (
        appcontext_pushed.connected_to(note("pushed"), app),
        appcontext_tearing_down.connected_to(note("tearing down"), app),
        request_started.connected_to(note("request"), app),
    ):
        health.start(wait=True)
        assert seen == [
            *("pushed", "first", "teardown", "tearing down"),
            *("pushed", "second", "teardown", "tearing down"),
        ]
        assert app.test_client().get("/work").text == "done"
    assert "request" in seen


@row("the process's signals")
def test_a_step_is_never_in_the_main_thread() -> None:
    """Python handles signals there only."""
    error = fails(
        make_app(),
        lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
        "signal only works in main thread",
    )
    assert isinstance(error, ValueError)


@row("blueprints")
@pytest.mark.parametrize("first", ["blueprint", "extension"])
def test_a_blueprint_registers_its_step(first: str) -> None:
    """When it is registered with an app, before or after the extension is."""
    app, health, seen = make_app(), HealthCheck(), []
    blueprint = Blueprint("shop", __name__)

    def load() -> None:
        seen.append("loaded")

    @blueprint.record_once
    def register(state: object) -> None:
        health.setup(load)

    if first == "blueprint":
        app.register_blueprint(blueprint)
        health.init_app(app)
    else:
        health.init_app(app)
        app.register_blueprint(blueprint)
    assert call(app, "/work").code == 200
    assert seen == ["loaded"]


# What sees the gate's answers


class Recorder:
    """A middleware that notes what passes through it: path and code."""

    def __init__(self, app: Any, seen: list[tuple[str, int]]) -> None:
        self._app = app
        self._seen = seen

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def note(status: str, headers: Any, *rest: Any) -> Any:
            self._seen.append((environ["PATH_INFO"], int(status.split(maxsplit=1)[0])))
            return start_response(status, headers, *rest)

        chunks: Iterable[bytes] = self._app(environ, note)
        return chunks


EARLY = [("/health", 503), ("/health/live", 200), ("/work", 503)]
LATER = [("/health", 200), ("/health/live", 200), ("/work", 200)]


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    """A step that waits, at most until the test ends."""
    step = Blocked()
    yield step
    step.go.set()


def visit(app: Any, health: HealthCheck, blocked: Blocked) -> None:
    """Probe and visit an app before and after its setup has finished."""
    for path, code in EARLY:
        assert call(app, path).code == code
    blocked.go.set()
    assert health.gate.wait(DEADLINE)
    for path, code in LATER:
        assert call(app, path).code == code


@row("a middleware put on before `init_app`", "a middleware put on after `init_app`")
def test_a_middleware_sees_what_is_inside_of_it(blocked: Blocked) -> None:
    """Put on before: the app's own answers. Put on after: all of them."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    inside: list[tuple[str, int]] = []
    outside: list[tuple[str, int]] = []
    health = HealthCheck(setup=blocked)
    app.wsgi_app = Recorder(app.wsgi_app, inside)  # type: ignore[method-assign]
    health.init_app(app)
    app.wsgi_app = Recorder(app.wsgi_app, outside)  # type: ignore[method-assign]
    visit(app, health, blocked)
    assert inside == [("/work", 200)]
    assert outside == EARLY + LATER


@row("the server's access log", "what patches `Flask.__call__`, as some error trackers do")
def test_what_is_outside_of_the_app_sees_everything(
    blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server calls the app, and a patched class is called by it."""
    seen: list[tuple[str, int]] = []
    original = Flask.__call__

    def patched(self: Flask, environ: Any, start_response: Any) -> Any:
        return Recorder(lambda *given: original(self, *given), seen)(environ, start_response)

    monkeypatch.setattr(Flask, "__call__", patched)
    logged: list[tuple[str, int]] = []
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    health = HealthCheck(app, setup=blocked)
    visit(Recorder(app, logged), health, blocked)
    assert seen == logged == EARLY + LATER


@row(
    "`before_request`, `after_request`, `teardown_request`, error handlers, Flask's signals",
)
def test_flasks_hooks_see_the_apps_own_requests(blocked: Blocked) -> None:
    """Neither probes nor refusals."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    seen: list[str] = []
    app.before_request(lambda: seen.append(f"before {request.path}"))
    app.teardown_request(lambda error: seen.append(f"teardown {request.path}"))

    @app.after_request
    def after(response: Response) -> Response:
        seen.append(f"after {request.path}")
        return response

    @app.errorhandler(503)
    def handle(error: Exception) -> tuple[str, int]:
        seen.append("error")
        return "", 503

    health = HealthCheck(app, setup=blocked)
    started = request_started.connected_to(lambda *a, **b: seen.append("signal"), app)
    with started:
        visit(app, health, blocked)
    assert seen == ["signal", "before /work", "after /work", "teardown /work"]


@row("`ProxyFix`")
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_proxy_fix_may_be_anywhere(where: str, blocked: Blocked) -> None:
    """The probes answer the same; `authorize` sees the client's address if it is outside."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    health = HealthCheck(setup=blocked)
    addresses: list[str | None] = []

    @health.authorize
    def may_see(request: Request) -> bool:
        addresses.append(request.remote_addr)
        return False

    if where == "outside":
        health.init_app(app)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    if where == "inside":
        health.init_app(app)
    visit(app, health, blocked)
    more = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}
    assert call(app, HTTP_ACCEPT="application/json", **more).code == 200
    assert addresses == ["203.0.113.7" if where == "outside" else "10.0.0.1"]


@row("`DispatcherMiddleware` on `app.wsgi_app`")
def test_a_dispatcher_decides_what_is_gated(blocked: Blocked) -> None:
    """Put on before, mounted apps wait behind the gate; put on after, they are outside of it and
    may even hide the probes.
    """
    other = make_app("other")
    inside, outside = make_app(HEALTH_GATE_TIMEOUT=0), make_app(HEALTH_GATE_TIMEOUT=0)
    mounts: dict[str, Any] = {"/other": other, "/health": other}
    inside.wsgi_app = DispatcherMiddleware(inside.wsgi_app, mounts)  # type: ignore[method-assign]
    health = HealthCheck(inside, setup=blocked)
    assert call(inside, "/other/work").code == 503
    assert call(inside, "/health").word == (503, "not ready")
    blocked.go.set()
    assert health.gate.wait(DEADLINE)
    assert call(inside, "/other/work").code == 200
    assert call(inside, "/health").word == (200, "ok")
    waiting = Blocked()
    HealthCheck(outside, setup=waiting)
    outside.wsgi_app = DispatcherMiddleware(outside.wsgi_app, mounts)  # type: ignore[method-assign]
    assert call(outside, "/other/work").code == 200
    assert call(outside, "/health").code == 404
    assert call(outside, "/work").code == 503
    waiting.go.set()


@row("`DebuggedApplication`")
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_debugger_shows_the_setups_exception_if_it_is_outside(where: str) -> None:
    """As a page with the traceback; inside it never sees it."""
    app = make_app(PROPAGATE_EXCEPTIONS=True)
    health = HealthCheck()

    def fail() -> None:
        raise LookupError("no model")

    health.setup(fail, retries=0)
    if where == "outside":
        health.init_app(app)
    app.wsgi_app = DebuggedApplication(app.wsgi_app)  # type: ignore[method-assign]
    if where == "inside":
        health.init_app(app)
        with pytest.raises(LookupError, match="no model"):
            call(app, "/work")
    else:
        answer = call(app, "/work")
        assert answer.code == 500
        assert b"LookupError" in answer.body
    assert call(app, "/health").word == (503, "not ready")


def test_every_row_of_the_page_has_a_test() -> None:
    """And every test is of a row."""
    assert sorted(rows_of_page()) == sorted(ROWS)
    for name in set(ROWS.values()):
        assert callable(globals()[name])
