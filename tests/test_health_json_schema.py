"""The JSON Schema of our answer, and that every answer keeps to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.checking import Told, workers
from support.local import Blocked, call, make_app

from flask_health import Degraded, HealthCheck, Status, checks
from flask_health.model.check import Check, Outcome, Result, advance, judge
from flask_health.model.report import Report, StepReport
from flask_health.web import render

FILE = Path(__file__).resolve().parent.parent / "docs" / "health+json.schema.json"
SCHEMA: dict[str, Any] = json.loads(FILE.read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
QUERIES = ("format=json", "format=json&exclude=ok", "format=json&exclude=nope")


def assert_valid(told: Any) -> None:
    """Fail with every error that the schema finds."""
    errors = [f"{list(e.absolute_path)}: {e.message}" for e in VALIDATOR.iter_errors(told)]
    assert not errors, (errors, told)


def test_the_schema_is_one() -> None:
    """By its own metaschema."""
    Draft202012Validator.check_schema(SCHEMA)


def working(health: HealthCheck) -> None:
    """A service with a check of each kind."""
    health.add_check("ok", Told((1.5, "ms")))
    health.add_check("infinite", Told(float("inf")))
    health.add_check("plain", Told())
    health.add_check("lags", Told(Degraded("replica lags")), critical=False)
    health.add_check("root", checks.disk("/", min_free=0))
    health.start(wait=True)


def failing(health: HealthCheck) -> None:
    """A service that fails."""
    health.add_check("ok", Told())
    health.add_check("bad", Told(OSError("no")), probes=("live", "ready", "startup"))
    health.start(wait=True)


def starting(health: HealthCheck) -> threading.Event:
    """A service whose setup goes on, and has told how far it is. It ends with the event."""
    blocked = Blocked()

    @health.setup
    def load() -> None:
        health.progress(0.5, "half")
        blocked()

    health.add_check("ok", Told())
    health.start()
    assert blocked.begun.wait(10.0)
    return blocked.go


def failed(health: HealthCheck) -> None:
    """A service whose setup has failed."""

    @health.setup(retries=0)
    def load() -> None:
        raise LookupError("no")

    health.add_check("ok", Told())
    health.start()
    health.gate.settle(10.0)


def new(health: HealthCheck) -> None:
    """A service that nobody has asked anything."""


@pytest.mark.parametrize("state", [working, failing, starting, failed, new])
@pytest.mark.parametrize("details", ["always", "never"])
def test_every_answer_keeps_to_it(
    state: Callable[[HealthCheck], threading.Event | None], details: str
) -> None:
    """Every probe in every state, with details and without."""
    app = make_app(
        HEALTH_DETAILS=details,
        HEALTH_VERSION="1.2",
        HEALTH_DESCRIPTION="sells",
        HEALTH_LINKS={"about": "https://example.com/about"},
    )
    health = HealthCheck(app)
    ends = state(health)
    for path in ("/health", "/health/live", "/health/ready", "/health/startup"):
        for query in QUERIES:
            told = json.loads(call(app, path, QUERY_STRING=query).body)
            assert_valid(told)
            assert ("checks" in told) is (details == "always")
    if ends:
        ends.set()


def test_reports_of_several_workers_keep_to_it(tmp_path: Path) -> None:
    """With markers, steps, notes and results of every sort."""
    of = Check("database", lambda: None, component_type="datastore", measurement="responseTime")
    histories = [None]
    for status in Status:
        outcome = Outcome(
            status, "" if status is Status.PASS else "why", 1.7e9, 50.0, 0.1, 0.1, "s"
        )
        histories.append(advance(None, outcome, of))  # type: ignore[arg-type]
    with workers(tmp_path, 2) as two:
        markers = two[0].watch.look().markers
        for history in histories:
            for now in (1.7e9, 1.8e9):
                result: Result = judge(of, history, now)
                report = Report(
                    probe="ready",
                    status=result.counts_as,
                    server=Status.PASS,
                    reason="",
                    gate="open",
                    state=str(tmp_path),
                    expected=2,
                    results=(result,),
                    workers=markers,
                    steps=(StepReport("load", "server", "waiting"),),
                    notes=("results of checks cannot be published",),
                )
                _, _, body = render.Encoder()(report, {"serviceId": "shop"})
                assert_valid(json.loads(body, parse_constant=pytest.fail))


def test_what_is_kept_of_an_answer_is_not_told_of_another(tmp_path: Path) -> None:
    """An encoder that has told something else tells the same as a new one."""
    with workers(tmp_path, 2) as two:
        markers = two[0].watch.look().markers
    step = StepReport("load", "server", "waiting")
    told = Report("ready", Status.PASS, Status.PASS, "", "open", "local", 2, workers=markers)
    others = [
        replace(told, gate="running"),
        replace(told, state="elsewhere"),
        replace(told, expected=3),
        replace(told, workers=markers[:1]),
        replace(told, movements={markers[0].pid: (1, None)}),
        replace(told, movements={markers[0].pid: (1, 40.0)}),
        replace(told, steps=(step,)),
        replace(told, setups={markers[0].pid: (step,)}),
        replace(told, excluded=frozenset({"database"})),
    ]
    encode, texts = render.Encoder(), set()
    for report in [*others, told, *others]:
        answer = encode(report, {"serviceId": "shop"})
        assert answer == render.Encoder()(report, {"serviceId": "shop"})
        assert_valid(json.loads(answer[2]))
        texts.add(answer[2])
    assert len(texts) == len(others) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"status": "ok"},
        {"status": "pass", "output": "why"},
        {"status": "pass", "more": 1},
        {"status": "pass", "checks": {}},
        {"status": "pass", "gate": {"state": "open", "steps": []}},
    ],
)
def test_it_refuses_what_is_not_ours(wrong: Any) -> None:
    """A schema that takes everything would prove nothing."""
    assert not VALIDATOR.is_valid(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "up"},
        {"status": "pass", "output": "why"},
        {"status": "pass", "time": "yesterday"},
        {"status": "fail", "critical": True, "observedUnit": "ms"},
        {"status": "fail", "critical": True, "output": ""},
    ],
)
def test_it_refuses_what_is_no_check_of_ours(wrong: Any) -> None:
    """The same for a single check."""
    whole = {**SCHEMA, "$ref": "#/$defs/check"}
    for key in ("type", "required", "additionalProperties", "properties", "if", "then"):
        whole.pop(key)
    whole.pop("dependentRequired")
    assert not Draft202012Validator(whole).is_valid(wrong)
