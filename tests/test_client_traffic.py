"""What counts as traffic: each request once, with how it ended and how long the app took."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response
from support.local import DEADLINE, Background, Blocked, call, environ, make_app

from flask_health import HealthCheck
from flask_health.model.traffic import Traffic
from flask_health.web import probe
from flask_health.workers.records import BOUNDS, PROGRESS, REQUESTS


def wired(app: Flask, **options: Any) -> HealthCheck:
    """Wire an app whose setup is done."""
    health = HealthCheck(app, **options)
    health.start(wait=True)
    return health


def counted(health: HealthCheck) -> Traffic:
    """What has been counted up to now, read anew."""
    from flask_health.workers.tally import survey

    return survey(None, health.gate.record)


def numbers(health: HealthCheck) -> tuple[int, int, int]:
    """Requests, those that failed, those in flight."""
    told = counted(health)
    return told.requests, told.errors, told.in_flight


def wsgi(inner: Callable[..., Any]) -> tuple[Flask, HealthCheck]:
    """An app that is a bare WSGI callable."""
    app = Flask("bare")
    app.wsgi_app = inner  # type: ignore[method-assign]
    return app, wired(app)


def test_each_request_is_counted_once() -> None:
    """Whatever its method and its answer below 500."""
    app = make_app()
    health = wired(app)
    for path, method in [("/work", "GET"), ("/work", "HEAD"), ("/work", "POST"), ("/none", "GET")]:
        call(app, path, method)
    assert numbers(health) == (4, 0, 0)


def test_probes_are_no_traffic() -> None:
    """Nor is anything else that the extension answers itself."""
    app = make_app(HEALTH_ALIASES={"/livez": "live"}, HEALTH_DETAILS="always")
    health = HealthCheck(app)
    health.check(lambda: None, name="db")
    health.start(wait=True)
    for path in (
        "/health",
        "/health/",
        "/health/live",
        "/livez",
        "/health/ready/db",
        "/health/info",
    ):
        assert call(app, path).code == 200
    assert call(app, "/health", "POST").code == 405
    assert numbers(health) == (0, 0, 0)
    assert call(app, "/health/raedy").code == 404
    assert numbers(health) == (1, 0, 0), "the app answers what is not ours"


def test_5xx_is_an_error() -> None:
    """And nothing below it."""
    app = Flask("codes")
    app.add_url_rule("/<int:code>", "code", lambda code: Response(status=code))
    health = wired(app)
    for code in (200, 302, 404, 499, 500, 503, 599):
        call(app, f"/{code}")
    assert numbers(health) == (7, 3, 0)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_exception_that_leaves_the_app_is_an_error(error: type[BaseException]) -> None:
    """It leaves as it came, the request is over, and it is counted once."""

    def inner(environ: object, start_response: Any) -> None:
        start_response("500 Internal Server Error", [])
        raise error

    app, health = wsgi(inner)
    with pytest.raises(error):
        call(app, "/work")
    assert numbers(health) == (1, 1, 0)


def test_an_error_after_the_start_is_one() -> None:
    """A status is replaced before anything is sent: the last one counts, and counts once."""

    def inner(environ: object, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        for _ in range(2):
            start_response("502 Bad Gateway", [], (ValueError, ValueError(), None))
        return [b""]

    app, health = wsgi(inner)
    assert call(app, "/work").code == 502
    assert numbers(health) == (1, 1, 0)


def test_a_generator_says_its_status_late() -> None:
    """It starts its answer when it is asked for the first part: an error counts then."""

    def inner(environ: object, start_response: Any) -> Iterator[bytes]:
        start_response("503 Later", [])
        yield b""

    app, health = wsgi(inner)
    parts = app(environ("/work"), lambda *_: lambda data: None)
    assert numbers(health) == (1, 0, 0)
    assert list(parts) == [b""]
    assert numbers(health) == (1, 1, 0)


def test_in_flight_is_what_is_inside_the_app() -> None:
    """Also while a request waits at the gate; a stream that is being sent is not."""
    blocked = Blocked()
    app = make_app()
    seen: list[int] = []

    @app.get("/seen")
    def see() -> str:
        seen.append(counted(health).in_flight)
        return ""

    app.add_url_rule("/stream", "stream", lambda: (str(n) for n in itertools.count()))
    health = HealthCheck(app, setup=blocked)
    request = Background(lambda: call(app, "/seen"))
    assert blocked.begun.wait(DEADLINE)
    assert numbers(health) == (1, 0, 1)
    blocked.go.set()
    assert request.result().code == 200
    assert seen == [1]
    parts = iter(app(environ("/stream"), lambda *_: lambda data: None))
    assert next(parts) == b"0"
    assert numbers(health) == (2, 0, 0)


def test_a_refused_request_is_an_error() -> None:
    """Its client got 503, whoever said so."""
    blocked = Blocked()
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    health = HealthCheck(app, setup=blocked)
    assert call(app, "/work").code == 503
    assert numbers(health) == (1, 1, 0)
    blocked.go.set()


def test_a_setup_that_raises_in_a_test_is_an_error() -> None:
    """The exception reaches the test; nothing stays in flight."""
    app = make_app(TESTING=True)
    health = HealthCheck(app, setup=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call(app, "/work")
    assert numbers(health) == (1, 1, 0)


@pytest.mark.parametrize("bucket", range(len(BOUNDS) + 1))
def test_each_duration_falls_into_its_bucket(monkeypatch: pytest.MonkeyPatch, bucket: int) -> None:
    """Up to a bound, the bound itself included; the last bucket takes all the rest."""
    bounds = (0.0, *BOUNDS, 1e6)
    for took in (bounds[bucket] + 1e-9, bounds[bucket + 1]):
        clock = iter([0.0, took])
        app = make_app()
        health = wired(app)
        monkeypatch.setattr(probe, "_now", lambda clock=clock: next(clock))
        call(app, "/work")
        monkeypatch.undo()
        told = counted(health)
        before = [number for _, number in told.histogram]
        assert before == [0] * bucket + [1] * (len(BOUNDS) + 1 - bucket)
        assert told.spent == pytest.approx(took, abs=1e-7)


def test_progress_is_noted_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a request begins, and when it ends."""
    clock = iter([5e8, 6e8])
    noted: list[float] = []

    def inner(environ: object, start_response: Any) -> list[bytes]:
        noted.append(health.gate.record.words[PROGRESS])
        start_response("200 OK", [])
        return []

    app, health = wsgi(inner)
    health.gate.record.due = 1e12
    monkeypatch.setattr(probe, "_now", lambda: next(clock))
    call(app, "/work")
    assert noted == [5e8]
    assert health.gate.record.words[PROGRESS] == 6e8


@pytest.mark.usefixtures("restless")
def test_threads_lose_nothing() -> None:
    """Requests of many threads, some of which fail, are all there."""
    app, health = wsgi(answer_or_fail)

    def work() -> None:
        for number in range(3000):
            app(environ("/work", number=number), lambda *_: lambda data: None)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    told = counted(health)
    assert (told.requests, told.errors, told.in_flight) == (24_000, 8 * 1000, 0)
    assert told.histogram[-1][1] == 24_000
    window = told.windows["boot"]
    assert window.mean
    assert told.spent == pytest.approx(24_000 * window.mean)


def answer_or_fail(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Every third request fails."""
    start_response("200 OK" if environ["number"] % 3 else "500 Oh", [])
    return []


def test_a_fork_in_the_middle_of_a_request_is_the_childs_own() -> None:
    """A child of user code that goes on to answer does not count for the worker."""

    def inner(environ: object, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        environ_of_child = os.fork()
        children.append(environ_of_child)
        return []

    children: list[int] = []
    app, health = wsgi(inner)
    mine = os.getpid()
    call(app, "/work")
    if os.getpid() != mine:
        os._exit(0 if health.gate.record.words[REQUESTS] == 0 else 1)
    assert os.waitpid(children[0], 0)[1] == 0
    assert numbers(health) == (1, 0, 0)


def test_several_apps_count_apart() -> None:
    """Each has its own gate, and its own traffic."""
    health = HealthCheck()
    apps = [make_app(name) for name in ("one", "two")]
    for app in apps:
        health.init_app(app)
        call(app, "/work")
    call(apps[0], "/work")
    records = [health.gate_for(app).record for app in apps]
    assert [record.words[REQUESTS] for record in records] == [2, 1]


def test_who_may_see_it_is_told() -> None:
    """In the JSON of a probe and in `/health/info`; nobody else."""
    app = make_app(HEALTH_TOKEN="s3cret")
    health = wired(app)
    call(app, "/work")
    key = {"HTTP_AUTHORIZATION": "Bearer s3cret"}
    for path in ("/health", "/health/live", "/health/info"):
        members = json.loads(call(app, path, QUERY_STRING="format=json", **key).body)
        assert members["traffic"]["inFlight"] == 0
        assert members["traffic"]["boot"]["requests"] == 1
        assert members["traffic"]["boot"]["p50"] <= BOUNDS[-1]
    assert json.loads(call(app, QUERY_STRING="format=json").body) == {"status": "pass"}
    told = health.report("live").traffic
    assert told
    assert told.requests == 1


def test_nothing_is_read_unless_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for a word, nor for a stranger, nor for the text form; and once a second at most."""
    from flask_health.workers import tally

    app = make_app(HEALTH_TOKEN="s3cret")
    health = wired(app)
    real, reads = tally.survey, itertools.count()
    monkeypatch.setattr(tally, "survey", lambda *a: (next(reads), real(*a))[1])
    key = {"HTTP_AUTHORIZATION": "Bearer s3cret"}
    call(app)
    call(app, QUERY_STRING="format=json")
    call(app, QUERY_STRING="verbose", **key)
    health.report()
    assert next(reads) == 0
    for _ in range(5):
        call(app, QUERY_STRING="format=json", **key)
    assert next(reads) == 2, "read more than once"


def test_what_cannot_be_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without failing anything else; the log says it once."""
    from flask_health.workers import tally

    def fail(*_: object) -> None:
        raise OSError("too many open files")

    app = make_app(HEALTH_DETAILS="always")
    health = wired(app)
    monkeypatch.setattr(tally, "REMEMBERED", 0.0)
    monkeypatch.setattr(tally, "survey", fail)
    for _ in range(3):
        members = json.loads(call(app, QUERY_STRING="format=json").body)
        assert members["status"] == "pass"
        assert "traffic" not in members
    problem = "cannot read the records of traffic: too many open files"
    assert [record.getMessage() for record in caplog.records] == [problem]
    monkeypatch.undo()
    assert health.report().traffic
