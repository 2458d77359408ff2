"""The metrics of an app in this process: what is told, in which format, to whom."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.checking import BRISK, Told
from support.local import Answer, Blocked, call, make_app
from support.waiting import eventually

import flask_health.web
from flask_health import Degraded, HealthCheck
from flask_health.extension import STATE
from flask_health.model.server import STATES

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5"
"""What Prometheus 2 sends, but for the tail."""

Samples = dict[str, float]
"""By the series as it is written: `name{label="value"}`."""


def samples(answer: Answer) -> Samples:
    """What an answer says, read back by the parser of its own format."""
    assert answer.code == 200
    kind = answer.headers["Content-Type"]
    parse: Callable[[str], Any] = parse_openmetrics if "openmetrics" in kind else parse_text
    found: Samples = {}
    for family in parse(answer.body.decode()):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            series = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert series not in found, "told twice"
            found[series.removeprefix("flask_health_")] = sample.value
    return found


def ask(app: Flask, accept: str = "", **more: str) -> Samples:
    """Scrape an app."""
    return samples(call(app, "/health/metrics", HTTP_ACCEPT=accept, **more))


def chosen(found: Samples, family: str) -> list[str]:
    """The label values of a family's samples that are 1, as they are written."""
    return [
        name.partition("{")[2][:-1]
        for name, v in found.items()
        if v and name.startswith(f"{family}{{")
    ]


@pytest.fixture
def told() -> Told:
    """What the check `database` of `service` does."""
    return Told((12, "rows"))


@pytest.fixture
def service(told: Told) -> Flask:
    """A service whose details everybody may see, with a check that fails and is not critical."""
    app = make_app("shop", HEALTH_DETAILS="always", HEALTH_VERSION="2.1.0")
    health = HealthCheck(app)
    health.add_check("database", told, failure_threshold=1, **BRISK)
    health.add_check("hint", Told(False), critical=False, interval=30.0)
    health.start(wait=True)
    return app


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_service_is_told_in_numbers(service: Flask, accept: str) -> None:
    """The verdicts, the gate, the workers, and each check: the same in both formats."""
    found = ask(service, accept)
    assert chosen(found, "status") == ['status="warn"']
    assert chosen(found, "probe_success") == ['probe="live"', 'probe="ready"', 'probe="startup"']
    assert chosen(found, "gate_state") == ['state="open"']
    assert chosen(found, "workers") == ['state="ready"']
    assert found["workers_expected"] == 1
    assert found["problems"] == 0
    assert found['checks{status="pass"}'] == found['checks{status="fail"}'] == 1
    assert found['service_info{service="shop",version="2.1.0"}'] == 1
    assert chosen(found, "check_status") == [
        'check="database",status="pass"',
        'check="hint",status="fail"',
    ]
    assert found['check_observed_value{check="database",unit="rows"}'] == 12
    assert found['check_consecutive_failures{check="hint"}'] == 1
    assert 0 <= found['check_duration_seconds{check="database"}'] < 1
    assert abs(found['check_last_run_timestamp_seconds{check="hint"}'] - time.time()) < 60
    assert abs(found['check_last_success_timestamp_seconds{check="database"}'] - time.time()) < 60
    assert 'check_last_success_timestamp_seconds{check="hint"}' not in found
    assert found['check_info{check="hint",critical="false",probes="ready",scope="server"}'] == 1
    assert found["transitions_total"] == found['check_transitions_total{check="hint"}'] == 1
    assert len([name for name in found if name.startswith("build_info{version=")]) == 1


def test_both_formats_tell_the_same(service: Flask) -> None:
    """Series and values, but for what moves on between two scrapes."""
    text, openmetrics = ask(service), ask(service, OPENMETRICS)
    assert text.keys() == openmetrics.keys()
    for series, value in text.items():
        if "database" not in series:
            assert openmetrics[series] == value, series


def test_a_failure_is_a_value_and_not_an_error(service: Flask, told: Told) -> None:
    """The scrape of a service that is not ready is answered with 200 (D17)."""
    before = ask(service)['check_last_success_timestamp_seconds{check="database"}']
    told.says = OSError("gone")
    eventually(lambda: call(service).code, lambda code: code == 503)
    found = ask(service)
    assert chosen(found, "status") == ['status="fail"']
    assert chosen(found, "probe_success") == ['probe="live"', 'probe="startup"']
    assert found['check_status{check="database",status="fail"}'] == 1
    assert found['check_consecutive_failures{check="database"}'] >= 1
    assert found["transitions_total"] == 2
    assert found['check_last_success_timestamp_seconds{check="database"}'] >= before
    told.says = None
    eventually(lambda: call(service).code, lambda code: code == 200)
    assert ask(service)['check_transitions_total{check="database"}'] == 2


def test_a_scrape_runs_no_check() -> None:
    """Not one, however often it is asked."""
    told = Told()
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    health.add_check("database", told, interval=60.0)
    health.start(wait=True)
    for _ in range(20):
        ask(app)
    assert told.runs == 1


def test_the_gate_is_told() -> None:
    """While setup runs, when it has failed, and when it has finished."""
    step = Blocked()
    app = make_app(HEALTH_DETAILS="always", TESTING=True)
    health = HealthCheck(app, setup=step)
    assert chosen(ask(app), "gate_state") == ['state="running"']
    assert step.begun.wait(10)
    found = ask(app)
    assert chosen(found, "workers") == ['state="starting"']
    assert chosen(found, "probe_success") == ['probe="live"']
    step.error = RuntimeError("no model")
    step.go.set()
    eventually(lambda: health.gate.state, lambda state: state == "failed")
    found = ask(app)
    assert chosen(found, "gate_state") == chosen(found, "workers") == ['state="failed"']


def test_a_check_that_warns_or_has_not_run_is_told() -> None:
    """Warn is a status of its own; what has not run fails, without a duration or a time."""
    slow = Told()
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    health.add_check("lags", Told(Degraded("replica lags")))
    health.add_check("slow", slow)
    with slow.hanging():
        health.start()
        eventually(
            lambda: ask(app), lambda found: found.get('check_status{check="lags",status="warn"}')
        )
        found = ask(app)
    assert found['check_status{check="slow",status="fail"}'] == 1
    assert 'check_duration_seconds{check="slow"}' not in found
    assert 'check_last_run_timestamp_seconds{check="slow"}' not in found


@pytest.mark.parametrize(
    ("value", "series"),
    [
        (0.25, 'check_observed_value{check="database",unit=""}'),
        (((-3), "°C"), 'check_observed_value{check="database",unit="°C"}'),
        ((1, 'a"b\\c'), 'check_observed_value{check="database",unit="a\\"b\\\\c"}'),
        (float("inf"), None),
        (True, None),
        (None, None),
    ],
)
def test_an_observation_is_told_when_it_is_a_number(value: object, series: str | None) -> None:
    """With its unit, whatever characters that has; text and booleans are no numbers."""
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    health.add_check("database", Told(value))
    health.start(wait=True)
    body = call(app, "/health/metrics").body.decode()
    found = [line for line in body.splitlines() if "observed_value{" in line]
    assert [line.rpartition(" ")[0] for line in found] == (
        [f"flask_health_{series}"] if series else []
    )
    ask(app), ask(app, OPENMETRICS)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_any_text_can_be_a_label(accept: str) -> None:
    """Quotes, backslashes, line ends, and what no encoding has."""
    app = make_app(HEALTH_DETAILS="always", HEALTH_SERVICE='a"b\\c\nd\udcff', HEALTH_VERSION="ü")
    HealthCheck(app)
    assert ask(app, accept)['service_info{service="a"b\\c\nd?",version="ü"}'] == 1


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", False),
        (OPENMETRICS, True),
        ("application/openmetrics-text", True),
        (
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            True,
        ),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.8", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;version=;;q=x,,;", False),
        ("application/openmetrics-text;version=nonsense", True),
        ("application/json", False),
    ],
)
def test_the_reader_chooses_the_format(accept: str | None, openmetrics: bool) -> None:
    """By what it accepts best; nonsense is never an error."""
    app = make_app()
    HealthCheck(app)
    given = {} if accept is None else {"HTTP_ACCEPT": accept}
    answer = call(app, "/health/metrics", **given)
    expected = (
        "application/openmetrics-text; version=1.0.0"
        if openmetrics
        else "text/plain; version=0.0.4"
    )
    assert answer.headers["Content-Type"] == f"{expected}; charset=utf-8"
    assert answer.body.endswith(b"# EOF\n") is openmetrics
    samples(answer)


def test_the_answer_has_the_headers_of_all_our_answers() -> None:
    """Not to be stored; the length is right; HEAD has no body; other methods are refused."""
    app = make_app()
    HealthCheck(app)
    for path in ("/health/metrics", "/health/metrics/"):
        answer = call(app, path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert int(answer.headers["Content-Length"]) == len(answer.body)
    head = call(app, "/health/metrics", "HEAD")
    assert (head.code, head.body) == (200, b"")
    assert call(app, "/health/metrics", "POST").code == 405


# Who sees what


def test_strangers_are_told_nothing_that_has_a_name() -> None:
    """They get the server, the number of checks by status, and the number of changes."""
    app = make_app("shop", HEALTH_TOKEN="s3cret", HEALTH_VERSION="2.1.0")
    health = HealthCheck(app)
    health.add_check("ledger", Told(OSError("cannot reach db-7.internal")))
    health.start(wait=True)
    answer = call(app, "/health/metrics")
    for word in ("ledger", "db-7", "shop", "2.1.0"):
        assert word not in answer.body.decode()
    assert len(answer.body) < 5000
    stranger = samples(answer)
    assert stranger['checks{status="fail"}'] == stranger["transitions_total"] == 1
    wrong = ask(app, HTTP_AUTHORIZATION="Bearer guess")
    assert wrong.keys() == stranger.keys()
    authorized = ask(app, HTTP_AUTHORIZATION="Bearer s3cret")
    assert stranger.keys() < authorized.keys()
    assert authorized['check_status{check="ledger",status="fail"}'] == 1


def test_every_series_is_documented(service: Flask) -> None:
    """Their page has a row for each, in order, with its type and its labels."""
    page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
    page = page.partition("\n### A fleet\n")[0]  # A service has it that is part of one.
    rows = re.findall(r"^\| `(flask_health_\w+)` \| (\w+) \|(.*?)\|", page, re.MULTILINE)
    suffixes = {"counter": "_total", "info": "_info"}
    assert [v for v in STATES if f"`{v}`" not in page] == []
    families = service.extensions[STATE].teller().families(True)
    assert [
        (name, kind, re.findall(r"`(\w+)`", labels.partition(":")[0]))
        for name, kind, labels in rows
    ] == [
        (f.name + suffixes.get(f.type, ""), f.type, sorted(f.samples[0].labels)) for f in families
    ]


# Where it is, and without the package


def test_the_path_is_ours() -> None:
    """An endpoint of the blueprint, below the prefix, whatever the app's hooks say."""
    app = make_app(HEALTH_URL_PREFIX="/-/health")
    HealthCheck(app)
    app.before_request(lambda: ("no", 403))
    with app.test_request_context():
        assert app.url_for("health.metrics") == "/-/health/metrics"
    assert samples(call(app, "/-/health/metrics"))
    with pytest.raises(ValueError, match="'/-/health/metrics' would never be reached"):
        app.add_url_rule("/-/health/metrics", "mine", lambda: "")


@pytest.fixture
def without_the_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An interpreter in which `prometheus_client` is not installed."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "prometheus_client"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "flask_health.web.metrics", raising=False)
    monkeypatch.delattr(flask_health.web, "metrics", raising=False)
    yield


@pytest.mark.usefixtures("without_the_package")
def test_without_the_package_the_answer_says_what_to_install(caplog: Any) -> None:
    """404, and one line in the log; the probes do not mind."""
    app = make_app()
    HealthCheck(app)
    with caplog.at_level(logging.ERROR, "flask_health"):
        for _ in range(3):
            answer = call(app, "/health/metrics")
            assert answer.code == 404
            assert "pip install Flask-Health[prometheus]" in answer.body.decode()
    assert sum("Flask-Health[prometheus]" in text for text in caplog.messages) == 1
    assert call(app).word == (200, "ok")
