"""Running checks in the background: when, how often, how long, and what becomes of it."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from support.checking import BRISK, Runs, Told, check, others, threads
from support.local import DEADLINE, Answer, call, make_app
from support.waiting import eventually

from flask_health import Degraded, HealthCheck, Status, status_changed
from flask_health.model.check import Outcome

FAIL, WARN, PASS = Status.FAIL, Status.WARN, Status.PASS


@pytest.fixture
def told() -> Iterator[Told]:
    """A check that obeys; a run that hangs ends with the test."""
    made = Told()
    yield made
    made.go.set()
    eventually(lambda: made.running, lambda running: running == 0)


# When they run


def test_the_first_result_applies_at_once(told: Told) -> None:
    """A first failure is not confirmed three times: nothing good is known."""
    told.says = OSError("refused")
    runs = Runs([check(told, failure_threshold=3)])
    assert not runs.allows()
    assert runs.result("database").output == "not run yet"
    runs.until_result()
    assert (told.runs, runs.result("database").status) == (1, FAIL)
    assert runs.result("database").output == "OSError: refused"


def test_it_runs_at_its_interval(told: Told) -> None:
    """The time between two runs is the interval, give or take; never much less."""
    times: list[float] = []

    def timed() -> None:
        times.append(time.monotonic())

    runs = Runs([check(timed, interval=0.2, retry_interval=0.01)])
    runs.until(lambda: len(times) == 5)
    assert min(b - a for a, b in pairwise(times)) >= 0.17


def test_a_doubtful_check_runs_at_the_retry_interval(told: Told) -> None:
    """While a verdict is confirmed and while the component is down; then at the interval again."""
    runs = Runs([check(told, interval=30.0, retry_interval=0.01, success_threshold=3)])
    runs.until(lambda: runs.result("database").status is PASS)
    runs.turns_for(0.1)
    assert told.runs == 1
    told.says = False
    runs.runner.runs.slots["database"].due = 0.0
    runs.until(lambda: runs.result("database").status is FAIL)
    assert told.runs == 4  # three failures, none of them 30 s after the other
    told.says = True
    runs.until(lambda: runs.result("database").status is PASS)
    settled = told.runs
    runs.turns_for(0.1)
    assert told.runs == settled


def test_a_retry_interval_longer_than_the_interval_is_cut(told: Told) -> None:
    """With the defaults a short interval would find its own retries stale."""
    app = make_app()
    health = HealthCheck(app)
    health.add_check("database", told, interval=0.5, timeout=0.5)
    assert health._registry.checks[0].retry_interval == 0.5


def test_runs_never_overlap() -> None:
    """A check that takes longer than its interval is not started a second time (D12)."""
    slow = Told()

    def takes_longer() -> None:
        slow()
        time.sleep(0.1)

    runs = Runs([check(takes_longer, interval=0.01, timeout=5.0)])
    runs.until(lambda: slow.runs >= 4)
    assert slow.at_once == 1
    assert len(threads("flask-health-check-database")) <= 1


def test_a_slow_check_delays_no_other(told: Told) -> None:
    """Five checks of 0.2 s have their results after little more than 0.2 s (D03)."""
    began = time.monotonic()
    runs = Runs([check(lambda: time.sleep(0.2), f"slow{n}") for n in range(5)])
    runs.until(lambda: all(r.time for r in runs.runner.results("health")))
    assert time.monotonic() - began < 0.6


# Timeouts


def test_a_timeout_bounds_the_result(told: Told) -> None:
    """A check that hangs is reported at its timeout, and others go on (D02)."""
    other = Told()
    with told.hanging():
        runs = Runs([check(told, timeout=0.1), check(other, "other")])
        began = time.monotonic()
        result = runs.until_result()
        assert 0.1 <= time.monotonic() - began < 1.0
        assert (result.status, result.output) == (FAIL, "timed out after 0.1 s")
        assert result.duration == 0.1
        before = other.runs
        runs.until(lambda: other.runs >= before + 3)
        assert runs.result("other").status is PASS
        assert told.runs == 1


def test_a_hanging_check_keeps_failing(told: Told) -> None:
    """Each retry interval that it goes on to hang is one more failure: a dependency that answers
    nothing is down as soon as one that refuses. It is not started again, and its reason stays.
    """
    runs = Runs([check(told, timeout=0.1, interval=0.1, failure_threshold=3)])
    runs.until(lambda: runs.result("database").status is PASS)
    with told.hanging():
        told.runs = 0
        began = runs.until(lambda: told.running and time.monotonic())
        runs.until(lambda: runs.result("database").status is FAIL)
        # timeout + 2 retries, with room; it would be stale only after 0.3 s
        assert runs.result("database").output == "timed out after 0.1 s"
        assert time.monotonic() - began < 0.28
        runs.turns_for(0.5)
        assert runs.result("database").output == "timed out after 0.1 s"
        assert told.runs == 1
    runs.until(lambda: runs.result("database").status is PASS)


def test_the_late_end_of_a_timed_out_run_is_no_result(told: Told) -> None:
    """What it returns in the end is of no interest; a new run decides."""
    with told.hanging():
        runs = Runs([check(told, timeout=0.05, retry_interval=30.0, interval=30.0)])
        runs.until_result()
    eventually(lambda: told.running, lambda running: running == 0)
    runs.turns_for(0.1)
    assert runs.result("database").output == "timed out after 0.05 s"
    runs.runner.runs.slots["database"].due = 0.0
    runs.until(lambda: runs.result("database").status is PASS)
    assert told.runs == 2


def test_a_result_later_than_its_timeout_does_not_count(told: Told) -> None:
    """Also when nobody looked in between: the timeout bounds the result, always."""
    with told.hanging():
        runs = Runs([check(told, timeout=0.05)])
        runs.runner.turn()
        time.sleep(0.1)
    eventually(lambda: told.running, lambda running: running == 0)
    runs.runner.turn()
    runs.until(lambda: runs.result("database").time, within=1.0)
    first = runs.told[0]
    assert (first.new, first.output) == (FAIL, "timed out after 0.05 s")


def test_threads_are_bounded_by_the_number_of_checks(told: Told) -> None:
    """200 probes of every kind start no run and no thread (D14)."""
    app = make_app(HEALTH_TOKEN="token")
    health = HealthCheck(app)
    key = {"HTTP_AUTHORIZATION": "Bearer token"}
    with told.hanging():
        for number in range(3):
            health.add_check(f"hangs{number}", told, timeout=0.05, **BRISK)
        health.start(wait=True)
        before = others()
        asked = ("/health", "/health?verbose", "/health?format=json", "/health/ready/hangs1")
        for number in range(200):
            assert call(app, asked[number % 4].partition("?")[0], **key).code == 503
        assert told.runs == 3
        assert len(threads("flask-health-check-hangs")) == 3
        assert others() <= before


def test_a_slow_check_is_logged_once_per_change(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """Longer than half the timeout: one line, until it has been fast in between."""
    takes = [0.0]

    def slow() -> None:
        told()
        time.sleep(takes[0])

    def more_than(times: int) -> bool:
        return told.runs > times

    def lines() -> int:
        return sum("'database' is slow" in record.message for record in caplog.records)

    runs = Runs([check(slow, timeout=0.2)])
    with caplog.at_level(logging.WARNING, "flask_health"):
        for expected, seconds in [(0, 0.0), (1, 0.12), (1, 0.0), (2, 0.12)]:
            takes[0] = seconds
            runs.until(functools.partial(more_than, told.runs + 2))
            assert lines() == expected, seconds


# What a run comes to


@pytest.mark.parametrize(
    ("says", "status", "output"),
    [
        (None, PASS, ""),
        (True, PASS, ""),
        ("FATAL", PASS, ""),
        (False, FAIL, "returned False"),
        (ValueError("no"), FAIL, "ValueError: no"),
        (ValueError(), FAIL, "ValueError"),
        (Degraded("replica lags"), WARN, "replica lags"),
        (SystemExit(3), FAIL, "SystemExit: 3"),
        (KeyboardInterrupt(), FAIL, "KeyboardInterrupt"),
        (OSError("redis://:hunter2@cache"), FAIL, "OSError: redis://:***@cache"),
        (Degraded("token=abc"), WARN, "token=***"),
    ],
)
def test_what_it_says(told: Told, says: object, status: Status, output: str) -> None:
    """Returns, False, raises, `Degraded`; without secrets."""
    told.says = says
    runs = Runs([check(told)])
    result = runs.until_result()
    assert (result.status, result.output) == (status, output)


class Unspeakable(Exception):
    """An exception that cannot be put into words."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class UnspeakablyDegraded(Degraded):
    """The same of a check that works."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "status", "output"),
    [(Unspeakable(), FAIL, "Unspeakable"), (UnspeakablyDegraded(), WARN, "UnspeakablyDegraded")],
)
def test_an_exception_without_words_is_a_result_too(
    told: Told, error: Exception, status: Status, output: str
) -> None:
    """The check runs again: nothing that it raises ends it."""
    told.says = error
    runs = Runs([check(told)])
    runs.until(lambda: told.runs >= 3)
    result = runs.result("database")
    assert (result.status, result.output) == (status, output)


def test_a_warning_never_costs_a_probe(told: Told) -> None:
    """`Degraded` warns, whether the check is critical or not."""
    told.says = Degraded("slow")
    runs = Runs([check(told, "one"), check(told, "other", critical=False)])
    runs.until(lambda: all(r.time for r in runs.runner.results("ready")))
    assert [r.counts_as for r in runs.runner.results("ready")] == [WARN, WARN]
    assert runs.allows()


def test_a_check_that_is_not_critical_warns_only(told: Told) -> None:
    """It is told as failing, and counts as a warning (A06, D05)."""
    told.says = False
    runs = Runs([check(told, critical=False)])
    runs.until_result()
    assert (runs.result("database").status, runs.result("database").counts_as) == (FAIL, WARN)
    assert runs.allows()


def test_readiness_waits_for_the_first_result_of_each(told: Told) -> None:
    """Also of checks that could only warn, and of those of another probe."""
    with told.hanging():
        options: dict[str, Any]
        for options in ({"critical": False}, {"probes": ("live",)}, {"probes": ("startup",)}):
            runs = Runs([check(Told(), "other"), check(told, timeout=30.0, **options)])
            runs.until_result("other")
            assert not runs.allows("ready"), options
            assert not runs.runner.informed.is_set()


def test_liveness_passes_before_the_first_result(told: Told) -> None:
    """What is not known yet is no reason to restart a process."""
    with told.hanging():
        runs = Runs([check(told, probes=("live",), timeout=0.2)])
        runs.until(lambda: told.running)
        assert runs.allows("live")
        runs.until(lambda: not runs.allows("live"))
        assert runs.result("database").output == "timed out after 0.2 s"


def test_what_must_be_restarted_is_sent_no_traffic(told: Told) -> None:
    """A failing live check fails readiness, and never startup."""
    told.says = False
    runs = Runs([check(told, probes=("live",))])
    runs.until_result()
    runs.runner.turn()
    assert [runs.allows(probe) for probe in ("live", "ready", "startup")] == [False, False, True]


def test_startup_passes_once_and_for_good(told: Told) -> None:
    """A startup check that fails later is told, and changes nothing."""
    told.says = False
    runs = Runs([check(told, probes=("startup",), failure_threshold=1)])
    runs.until_result()
    assert (runs.runner.started, runs.allows("ready")) == (False, False)
    told.says = True
    runs.until(lambda: runs.runner.started)
    told.says = False
    runs.until(lambda: runs.result("database").status is FAIL)
    runs.runner.turn()
    assert (runs.runner.started, runs.allows("ready")) == (True, True)


@pytest.mark.parametrize("days", [-1.0, 1.0])
def test_a_clock_that_is_set_makes_nothing_stale(
    told: Told, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    """The age of a result is measured on the monotonic clock; its time stays as it was told."""
    runs = Runs([check(told, interval=30.0)])
    before = runs.until_result()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    runs.turns_for(0.05)
    after = runs.result("database")
    assert runs.allows() and after.status is PASS and told.runs == 1
    assert after.time == before.time


def test_a_stale_result_fails(told: Told) -> None:
    """A runner that stands still does not go on to say what was true."""
    runs = Runs([check(told, interval=0.1, timeout=0.05)])
    runs.until(runs.allows)
    with told.hanging():
        # Nobody turns: twice the interval and the timeout later nothing is believed.
        eventually(runs.allows, lambda allows: not allows, within=2.0)
        assert runs.result("database").output.startswith("stale: the last result is ")
    runs.until(runs.allows)


# Edges


def test_an_edge_is_told_exactly_once(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    """pass, fail four times, pass: two edges, with failures and outage, and two lines (E10 E11)."""
    runs = Runs([check(told, failure_threshold=2)])
    runs.until_result()
    assert runs.told == []  # passing from the start is no change
    with caplog.at_level(logging.INFO, "flask_health"):
        told.says = OSError("gone")
        runs.until(lambda: runs.result("database").failures >= 4)
        told.says = None
        runs.until(lambda: runs.result("database").status is PASS)
        runs.turns_for(0.2)
    down, up = runs.told
    assert (down.check, down.old, down.new) == ("database", PASS, FAIL)
    assert (down.output, down.failures, down.outage) == ("OSError: gone", 2, 0.0)
    assert (up.old, up.new, up.output) == (FAIL, PASS, "")
    assert up.failures >= 4
    assert 0.0 < up.outage < DEADLINE
    lines = [r.message for r in caplog.records if r.message.startswith("check ")]
    assert [line.partition(": ")[2].split(" ")[:3] for line in lines] == [
        ["pass", "->", "fail"],
        ["fail", "->", "pass"],
    ]
    assert runs.runner.transitions() == runs.told


def test_a_failure_that_is_not_confirmed_is_no_edge(told: Told) -> None:
    """Two failures of three, then a success: nobody is told; the reason is shown meanwhile."""
    runs = Runs([check(told, failure_threshold=3, retry_interval=0.1, interval=0.1)])
    runs.until_result()
    told.says = OSError("gone")
    runs.until(lambda: runs.result("database").failures == 1)
    assert runs.result("database").output == "OSError: gone (1 of 3 failures)"
    assert runs.allows()
    told.says = None
    runs.until(lambda: runs.result("database").failures == 0)
    assert (runs.told, runs.result("database").output) == ([], "")


def test_a_recovery_that_is_not_confirmed_says_so(told: Told) -> None:
    """While successes are counted it fails, and says why, and how far it has come."""
    told.says = OSError("gone")
    runs = Runs([check(told, success_threshold=3, retry_interval=0.1, interval=0.1)])
    runs.until_result()
    told.says = None
    runs.until(lambda: runs.result("database").failures == 0)
    result = runs.result("database")
    assert result.status is FAIL
    assert result.output == "works again (1 of 3 successes)"


def test_the_last_hundred_changes_are_kept(told: Told) -> None:
    """Oldest first; older ones are forgotten."""
    runs = Runs([check(told, failure_threshold=1)])
    slot = runs.runner.runs.slots["database"]
    for number in range(121):
        outcome = Outcome(FAIL if number % 2 else PASS, str(number), 1.7e9, float(number), 0.0)
        runs.runner._take(slot, outcome, 0.0)
    assert [row.output for row in runs.runner.transitions()] == [str(n) for n in range(21, 121)]


# Through the extension


def ready(app: object, path: str = "/health") -> Answer:
    """What a plain probe gets."""
    return call(app, path)


def test_a_probe_never_runs_a_check(told: Told) -> None:
    """Whatever is asked, and however often."""
    app = make_app(HEALTH_TOKEN="token")
    health = HealthCheck(app)
    health.add_check("database", told, interval=30.0)
    health.start(wait=True)
    key = {"HTTP_AUTHORIZATION": "Bearer token"}
    for path in ("", "/live", "/ready", "/startup", "/ready/database", "/info"):
        for query in ("", "verbose", "format=json", "exclude=database"):
            for method in ("GET", "HEAD", "POST"):
                call(app, f"/health{path}", method, QUERY_STRING=query, **key)
    assert told.runs == 1


def test_start_waits_for_first_results(told: Told) -> None:
    """`start(wait=True)` returns when every check has had its first result, or its timeout."""
    app = make_app()
    health = HealthCheck(app)
    health.add_check("quick", told)
    with told.hanging():
        hangs = Told()
        hangs.hangs = True
        health.add_check("hangs", hangs, timeout=0.3, critical=False)
        told.hangs = False
        began = time.monotonic()
        health.start(wait=True)
        assert 0.3 <= time.monotonic() - began < 2.0
        assert call(app).word == (200, "ok")
        assert health.report().status is WARN
        hangs.go.set()


def test_checks_do_not_start_before_setup_has_finished(told: Told) -> None:
    """A check may use what setup makes; until then there is no result, and no run (F01)."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    go = threading.Event()
    health = HealthCheck(app, setup=lambda: go.wait(DEADLINE))
    health.add_check("database", told)
    health.start()
    assert [call(app, f"/health{p}").code for p in ("/live", "/ready", "/startup", "")] == [
        200,
        503,
        503,
        503,
    ]
    assert told.runs == 0
    go.set()
    eventually(lambda: call(app).code, lambda code: code == 200)
    assert told.runs == 1


def test_a_check_runs_inside_an_app_context() -> None:
    """`current_app` is there, and no request."""
    import flask

    found: list[str] = []
    app = make_app("shop")
    health = HealthCheck(app)

    @health.check
    def database() -> None:
        assert not flask.has_request_context()
        found.append(flask.current_app.name)

    health.start(wait=True)
    assert found == ["shop"]


def test_async_checks_work() -> None:
    """Each run has an event loop of its own."""
    import asyncio

    app = make_app()
    health = HealthCheck(app)

    @health.check
    async def passes() -> tuple[int, str]:
        await asyncio.sleep(0)
        return 3, "connections"

    @health.check
    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("refused")

    health.start(wait=True)
    one, other = health.report().results
    assert (one.status, one.observed_value, one.observed_unit) == (PASS, 3, "connections")
    assert (other.status, other.output) == (FAIL, "OSError: refused")


def test_an_async_check_that_no_inspection_shows_fails() -> None:
    """A callable that hands back a coroutine has not checked anything: that is no pass."""
    app = make_app()
    health = HealthCheck(app)

    async def looks() -> None:
        raise OSError("refused")

    health.add_check("database", functools.partial(lambda look: look(), looks))
    health.start(wait=True)
    result = health.report().results[0]
    assert result.status is FAIL
    assert "async def" in result.output


def test_receivers_hear_each_edge_once_and_may_raise(told: Told) -> None:
    """One that raises keeps neither the others nor the probes from it (D15)."""
    heard: list[dict[str, object]] = []
    app = make_app()
    health = HealthCheck(app)
    health.add_check("database", told, failure_threshold=1, **BRISK)

    def raises(sender: object, **_: object) -> None:
        raise RuntimeError("a receiver")

    def hears(sender: object, **more: object) -> None:
        import flask

        assert sender is app
        assert flask.current_app.name == app.name
        heard.append(more)

    with status_changed.connected_to(raises, app), status_changed.connected_to(hears, app):
        health.start(wait=True)
        told.says = OSError("gone")
        eventually(lambda: call(app).code, lambda code: code == 503)
        told.has_run(3)
        told.says = None
        eventually(lambda: call(app).code, lambda code: code == 200)
        told.has_run(3)
    assert [(row["check"], row["old"], row["new"]) for row in heard] == [
        ("database", PASS, FAIL),
        ("database", FAIL, PASS),
    ]
    assert heard[1]["outage"] and heard[1]["failures"]


def test_a_receiver_that_hangs_stops_nothing(told: Told) -> None:
    """Results go on to come while a receiver is busy."""
    go = threading.Event()
    app = make_app()
    health = HealthCheck(app)
    health.add_check("database", told, failure_threshold=1, **BRISK)

    def hangs(sender: object, **_: object) -> None:
        go.wait(DEADLINE)

    with status_changed.connected_to(hangs, app):
        health.start(wait=True)
        told.says = False
        eventually(lambda: call(app).code, lambda code: code == 503, within=3.0)
        told.has_run(3)
        told.says = True
        eventually(lambda: call(app).code, lambda code: code == 200, within=3.0)
        go.set()


def test_two_apps_have_runs_of_their_own(told: Told) -> None:
    """One registration, two apps: each checks for itself."""
    health = HealthCheck()
    health.add_check("database", told, interval=30.0)
    for name in ("one", "other"):
        app = make_app(name)
        health.init_app(app)
        with app.app_context():
            health.start(wait=True)
        assert call(app).word == (200, "ok")
    assert told.runs == 2


def test_an_app_that_is_forgotten_checks_no_more(told: Told) -> None:
    """A test suite makes hundreds of apps: none of them stays."""
    import gc
    import weakref

    app = make_app()
    health = HealthCheck(app)
    health.add_check("database", told, **BRISK)
    health.start(wait=True)
    gone = weakref.ref(app)
    del app, health
    eventually(lambda: gc.collect() * 0 + (gone() is None))
    eventually(lambda: threads("flask-health-checks"), lambda left: True)
    eventually(lambda: told.running == 0)
