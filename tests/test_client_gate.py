"""The gate in Flask's test client: what waits for setup, what does not, what a test is shown."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, current_app, has_request_context
from flask.cli import FlaskGroup
from support.local import DEADLINE, Background, Blocked, call, make_app
from support.waiting import eventually

from flask_health import HealthCheck
from flask_health.workers import setup as setup_room

PROBES = ("/health", "/health/live", "/health/ready", "/health/startup")
OK, NOT_READY = (200, "ok"), (503, "not ready")


class Unavailable(Exception):
    """What a step of these tests raises."""


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    """A step that waits, at most until the test ends."""
    step = Blocked()
    yield step
    step.go.set()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The attempts after which setup paused; it pauses for no time."""
    seen: list[int] = []

    def backoff(attempt: int) -> float:
        seen.append(attempt)
        return 0.0

    monkeypatch.setattr(setup_room, "backoff", backoff)
    return seen


def failing(times: int | None = None) -> Any:
    """A step that fails that many times, or always."""
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if times is None or len(calls) <= times:
            raise Unavailable(f"attempt {len(calls)}")

    step.calls = calls  # type: ignore[attr-defined]
    return step


# Probes


@pytest.mark.parametrize("path", PROBES)
def test_the_very_first_probe_is_ok_without_setup(path: str) -> None:
    """`HealthCheck(app)` alone: nothing has to happen first (A01, B01)."""
    app = make_app()
    HealthCheck(app)
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.text) == OK


def test_many_first_probes_are_ok_without_setup() -> None:
    """Also those that come while the first one is being answered."""
    app = make_app()
    health = HealthCheck(app)
    meanwhile: list[int] = []

    def steps() -> list[object]:
        if not meanwhile:
            meanwhile.append(0)
            meanwhile.append(call(app).code)
        return []

    health.gate._steps = steps  # type: ignore[assignment]
    assert call(app).code == 200
    assert meanwhile == [0, 200]


def test_a_probe_never_waits_for_setup(blocked: Blocked) -> None:
    """503 until setup is done, live 200 all the time; the first probe has started it (F01, F02)."""
    app = make_app()
    health = HealthCheck(app, setup=blocked)
    client = app.test_client()
    assert client.get("/health").status_code == 503
    assert blocked.begun.wait(DEADLINE)
    for path in PROBES:
        answer = client.get(path)
        expected = OK if path == "/health/live" else NOT_READY
        assert (answer.status_code, answer.text) == expected
    blocked.go.set()
    assert health.gate.wait(DEADLINE)
    for path in PROBES:
        answer = client.get(path)
        assert (answer.status_code, answer.text) == OK
    assert blocked.calls == 1


def test_all_steps_must_be_done() -> None:
    """With two steps one that is done is not enough (F10)."""
    first, second = Blocked(), Blocked()
    app = make_app()
    health = HealthCheck(app)
    health.setup(first, name="first")
    health.setup(second, name="second")
    assert call(app, "/health/ready").code == 503
    first.go.set()
    assert second.begun.wait(DEADLINE)
    assert call(app, "/health/ready").code == 503
    second.go.set()
    assert health.gate.wait(DEADLINE)
    assert call(app, "/health/ready").code == 200


@pytest.mark.parametrize("path", PROBES)
def test_a_failed_setup_is_red_but_alive(path: str) -> None:
    """Readiness and startup are 503 while setup stands failed; liveness stays 200."""
    app = make_app(TESTING=True)
    health = HealthCheck(app, setup=failing())
    health.start()
    eventually(lambda: health.gate.state, lambda state: state == "failed")
    assert call(app, path).code == (200 if path == "/health/live" else 503)


# Business requests


def test_a_request_waits_for_setup(blocked: Blocked) -> None:
    """As with `before_first_request`: the view sees all that setup has made."""
    app = Flask("local")
    made: list[str] = []
    health = HealthCheck(app, setup=blocked)
    health.setup(lambda: made.append("index"), name="index")
    app.add_url_rule("/made", "made", lambda: ",".join(made))
    waiting = Background(lambda: app.test_client().get("/made"))
    assert blocked.begun.wait(DEADLINE)
    assert not waiting.ended.is_set()
    blocked.go.set()
    assert waiting.result().text == "index"


@pytest.mark.parametrize("key", ["TESTING", "PROPAGATE_EXCEPTIONS"])
def test_a_test_is_shown_the_exception(key: str) -> None:
    """The request raises what the step raised, every time, and never reaches the app."""
    app = make_app(**{key: True})
    health = HealthCheck(app)
    health.setup(retries=0)(failing())
    for _ in range(2):
        with pytest.raises(Unavailable, match="attempt 1"):
            app.test_client().get("/work")


def test_under_testing_setup_is_tried_once() -> None:
    """A test that fails does so at once, and leaves no thread that tries again."""
    step = failing()
    app = make_app(TESTING=True)
    health = HealthCheck(app, setup=step)
    with pytest.raises(Unavailable):
        health.start(wait=True)
    eventually(threads, lambda names: not names)
    assert len(step.calls) == 1


def threads() -> list[str]:
    """The names of the threads of gates in this process; checks of other tests may still end."""
    ours = ("flask-health-setup", "flask-health-keeper")
    return [t.name for t in threading.enumerate() if t.name in ours]


@pytest.mark.parametrize("key", ["TESTING", "PROPAGATE_EXCEPTIONS"])
@pytest.mark.parametrize("path", PROBES)
def test_a_probe_never_raises(key: str, path: str) -> None:
    """Whatever setup raised, a probe is an answer."""
    app = make_app(**{key: True})
    health = HealthCheck(app)
    health.setup(retries=0)(failing())
    with pytest.raises(Unavailable):
        health.start(wait=True)
    assert app.test_client().get(path).status_code in (200, 503)


def test_a_client_is_asked_to_come_again() -> None:
    """Outside of tests: 503 with `Retry-After`, in plain words that tell no secrets."""
    app = make_app()
    HealthCheck(app).setup(retries=0)(failing())
    answer = app.test_client().get("/work")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "starting" in answer.text
    assert "Unavailable(" not in answer.text


def test_a_client_of_an_api_gets_a_problem(blocked: Blocked) -> None:
    """With `Accept: application/json` the refusal is `application/problem+json` (RFC 9457)."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    HealthCheck(app, setup=blocked)
    answer = app.test_client().get("/work", headers={"Accept": "application/json"})
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert "Retry-After" in answer.headers
    problem = json.loads(answer.data)
    assert (problem["status"], problem["title"]) == (503, "Service Unavailable")
    assert problem["type"] == "about:blank"


def test_a_refused_head_has_no_body(blocked: Blocked) -> None:
    """The headers are those of a GET."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    HealthCheck(app, setup=blocked)
    get, head = call(app, "/work"), call(app, "/work", "HEAD")
    assert (head.code, head.headers, head.body) == (503, get.headers, b"")
    assert len(get.body) == int(get.headers["Content-Length"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_every_method_is_gated(method: str, blocked: Blocked) -> None:
    """No method meets a cold worker."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    HealthCheck(app, setup=blocked)
    assert call(app, "/work", method).code == 503
    assert call(app, "/no-such-page", method).code == 503


def test_without_the_gate_requests_pass(blocked: Blocked) -> None:
    """`HEALTH_GATE = False`: the app is asked at once, and readiness still waits for setup."""
    app = make_app(HEALTH_GATE=False)
    HealthCheck(app, setup=blocked)
    assert call(app, "/work").word == (200, "done")
    assert blocked.begun.wait(DEADLINE)
    assert call(app).word == NOT_READY


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_request_waits_no_longer_than_its_timeout(timeout: float, blocked: Blocked) -> None:
    """After `HEALTH_GATE_TIMEOUT` seconds it is refused, while setup goes on."""
    app = make_app(TESTING=True, HEALTH_GATE_TIMEOUT=timeout)
    health = HealthCheck(app, setup=blocked)
    assert Background(lambda: call(app, "/work")).result().code == 503
    blocked.go.set()
    assert health.gate.wait(DEADLINE)
    assert call(app, "/work").code == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/static/app.css", 404),
        ("/static", 404),
        ("/work", 503),
        ("/", 503),
        ("", 503),
        ("/stat", 503),
        ("/x/static/", 503),
        ("/größe/1".encode().decode("latin-1"), 404),
    ],
)
def test_exempt_paths_pass_the_gate(path: str, code: int, blocked: Blocked) -> None:
    """What begins with a prefix of `HEALTH_GATE_EXEMPT` reaches the app: 404, and not 503."""
    app = make_app(HEALTH_GATE_TIMEOUT=0, HEALTH_GATE_EXEMPT=["/static", "/größe/"])
    HealthCheck(app, setup=blocked)
    assert call(app, path).code == code


def test_a_step_may_call_the_app() -> None:
    """A step that warms the app up through a test client does not wait for itself."""
    app = make_app()
    health = HealthCheck(app)
    seen: list[str] = []

    @health.setup
    def warm_up() -> None:
        seen.append(app.test_client().get("/work").text)
        seen.append(app.test_client().get("/health").text)

    health.start()
    assert health.gate.wait(DEADLINE)
    assert seen == ["done", "not ready"]


def test_an_open_gate_hands_everything_on() -> None:
    """The app's own environ and iterable pass unchanged, so `sendfile` works; what it tells the
    server arrives as it was told.
    """
    app = make_app()
    told: list[tuple[object, ...]] = []
    iterable, environ, headers = iter([b"x"]), {"PATH_INFO": "/work"}, [("X-Is", "me")]
    error = (ValueError, ValueError(), None)

    def inner(given: object, start_response: Any) -> object:
        assert given is environ
        assert start_response("200 OK", headers) == "write"
        assert start_response("500 Oh", headers, error) == "write"
        return iterable

    def start_response(*arguments: object) -> str:
        told.append(arguments)
        return "write"

    app.wsgi_app = inner  # type: ignore[method-assign,assignment]
    HealthCheck(app).start(wait=True)
    assert app.wsgi_app(environ, start_response) is iterable  # type: ignore[arg-type]
    assert told == [("200 OK", headers), ("500 Oh", headers, error)]
    assert all(arguments[1] is headers for arguments in told)


def test_fifty_first_requests_start_setup_once(blocked: Blocked) -> None:
    """They all wait for the same setup, and are all answered by the app."""
    app = make_app()
    HealthCheck(app, setup=blocked)
    together = threading.Barrier(50)

    def request() -> int:
        together.wait(DEADLINE)
        return call(app, "/work").code

    requests = [Background(request) for _ in range(50)]
    assert blocked.begun.wait(DEADLINE)
    blocked.go.set()
    assert {r.result() for r in requests} == {200}
    assert blocked.calls == 1


# Steps


def test_a_step_runs_in_an_app_context_in_a_thread_of_its_own() -> None:
    """There is `current_app`, and no request."""
    app = make_app()
    health = HealthCheck(app)
    seen: list[object] = []

    @health.setup
    def look() -> None:
        seen.append(current_app._get_current_object())  # type: ignore[attr-defined]
        seen.append(has_request_context())
        seen.append(threading.current_thread())

    assert call(app, "/work").code == 200
    assert seen[0] is app
    assert seen[1] is False
    assert seen[2] is not threading.current_thread()
    assert getattr(seen[2], "daemon", None) is True


def test_a_failing_step_is_tried_again(pauses: list[int]) -> None:
    """Until it ends well, with pauses after each attempt; later steps run once, afterwards."""
    step, seen = failing(times=4), []
    app = make_app()
    health = HealthCheck(app, setup=step)
    health.setup(lambda: seen.append(len(step.calls)), name="later")
    health.start()
    assert health.gate.wait(DEADLINE)
    assert pauses == [1, 2, 3, 4]
    assert seen == [5]
    assert health.report().reason == ""


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_are_counted(retries: int, pauses: list[int]) -> None:
    """A step is tried once, and `retries` times more; then it stays failed, without a thread."""
    step, later = failing(), Blocked()
    app = make_app()
    health = HealthCheck(app)
    health.setup(retries=retries)(step)
    health.setup(later)
    health.start()
    eventually(threads, lambda names: not names)
    assert len(step.calls) == retries + 1
    assert len(pauses) == retries
    assert not later.calls
    assert health.gate.state == "failed"
    assert health.report().reason == f"setup step 'step' failed: attempt {retries + 1}"


def test_a_failed_attempt_is_forgotten_when_the_next_begins(pauses: list[int]) -> None:
    """The gate is `failed` between attempts, and `running` during one."""
    app = make_app()
    states: list[str] = []
    health = HealthCheck(app)

    @health.setup
    def step() -> None:
        states.append(health.gate.state)
        if len(states) < 3:
            raise Unavailable

    health.start()
    assert health.gate.wait(DEADLINE)
    assert states == ["running"] * 3


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_no_exception_escapes(error: BaseException, blocked: Blocked) -> None:
    """What would end a thread silently, or a process, is a failure like any other."""
    blocked.error = error
    blocked.go.set()
    app = make_app(TESTING=True)
    health = HealthCheck(app, setup=blocked)
    with pytest.raises(type(error)):
        health.start(wait=True)
    assert health.gate.state == "failed"


def test_a_failure_is_logged_once_with_its_traceback(
    pauses: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Later attempts are a line each."""
    app = make_app()
    health = HealthCheck(app, setup=failing(times=3))
    health.start()
    assert health.gate.wait(DEADLINE)
    # Steps of other tests may still be failing, in threads that none of them waits for.
    ours = [r for r in caplog.records if "'step'" in r.getMessage()]
    errors = [r for r in ours if r.levelno >= logging.ERROR]
    assert ["Traceback" in record.getMessage() for record in errors] == [True, False, False]
    assert str(os.getpid()) in errors[0].getMessage()


def test_a_late_step_counts_if_it_ends_well(blocked: Blocked) -> None:
    """Past its timeout a step is failed; it cannot be stopped, and its good end opens the gate."""
    app = make_app()
    health = HealthCheck(app)
    health.setup(timeout=0.01)(blocked)
    health.start()
    eventually(lambda: health.gate.state, lambda state: state == "failed")
    assert "'blocked' timed out after 0.01 s" in health.report().reason
    assert call(app).word == NOT_READY
    assert call(app, "/health/live").word == OK
    assert blocked.calls == 1
    blocked.go.set()
    assert health.gate.wait(DEADLINE)
    assert call(app).word == OK
    assert blocked.calls == 1


def test_a_late_step_is_retried_only_after_it_ends(blocked: Blocked, pauses: list[int]) -> None:
    """Two attempts of one step never run at the same time."""
    blocked.error = Unavailable()
    app = make_app(HEALTH_SETUP_TIMEOUT=0.01)
    health = HealthCheck(app, setup=blocked)
    health.start()
    eventually(lambda: health.gate.state, lambda state: state == "failed")
    assert blocked.calls == 1
    assert not pauses
    blocked.go.set()
    eventually(lambda: blocked.calls, lambda calls: calls > 1)
    assert pauses
    blocked.error = None
    assert health.gate.wait(DEADLINE)


def test_a_request_is_told_of_the_timeout(blocked: Blocked) -> None:
    """Under TESTING a request raises it instead of waiting for the rest of its 30 seconds."""
    app = make_app(TESTING=True, HEALTH_SETUP_TIMEOUT=0.01)
    HealthCheck(app, setup=blocked)
    request = Background(lambda: app.test_client().get("/work"))
    with pytest.raises(TimeoutError, match=r"'blocked' timed out after 0\.01 s"):
        request.result()


def test_a_steps_own_timeout_wins(blocked: Blocked) -> None:
    """`HEALTH_SETUP_TIMEOUT` is only the default."""
    quick = Blocked()
    quick.go.set()
    app = make_app(HEALTH_SETUP_TIMEOUT=0.001)
    health = HealthCheck(app)
    health.setup(timeout=60)(blocked)
    health.start()
    assert blocked.begun.wait(DEADLINE)
    health.gate.setup.check_timeouts(10.0**9)  # type: ignore[union-attr]
    assert "after 60 s" in health.report().reason
    blocked.go.set()
    assert health.gate.wait(DEADLINE)


def test_a_test_process_is_never_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """`HEALTH_EXIT_ON_SETUP_FAILURE` ends servers; nothing that a test has set up is one."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    app = make_app(HEALTH_EXIT_ON_SETUP_FAILURE=True)
    health = HealthCheck(app)
    health.setup(retries=0)(failing())
    with pytest.raises(Unavailable):
        health.start(wait=True)
    eventually(threads, lambda names: not names)
    assert not ended


@pytest.mark.parametrize("command", [["routes"], ["shell", "--help"], ["--help"]], ids=" ".join)
def test_a_command_line_starts_nothing(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`flask routes` lists our paths and runs no setup."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "false")  # Flask sets it, and leaves it behind.
    step = Blocked()
    app = make_app()
    health = HealthCheck(app, setup=step)
    flask = FlaskGroup(create_app=lambda: app)
    done = app.test_cli_runner().invoke(flask, command)
    assert done.exit_code == 0, done.output
    assert ("/health/ready" in done.output) is (command == ["routes"])
    assert health.gate.state == "pending"
    assert not step.calls


def test_a_script_starts_nothing() -> None:
    """Neither an app context nor a request context is a server."""
    step = Blocked()
    app = make_app()
    health = HealthCheck(app, setup=step)
    with app.app_context():
        assert health.report("live").status.http_code == 200
    with app.test_request_context("/work"):
        pass
    assert health.gate.state == "pending"
    assert not step.calls
