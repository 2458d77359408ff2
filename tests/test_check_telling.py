"""What is told of checks, where, and to whom."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Request
from support.checking import BRISK, Told
from support.local import DEADLINE, Answer, Blocked, call, make_app
from support.waiting import eventually

from flask_health import Degraded, HealthCheck
from flask_health.model.check import Probe

TOKEN = "s3cret"
KEY = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}
WRONG = {"HTTP_AUTHORIZATION": "Bearer guess"}
REASON = "OSError: cannot reach db-7.internal"


class Service:
    """An app with a check of each kind, `ok`, `lags`, `hint` and `bad`, in that order."""

    def __init__(self, bad: object = None, **config: object) -> None:
        self.bad = Told(bad)
        self.app = make_app("shop", **{"HEALTH_TOKEN": TOKEN, **config})
        self.health = HealthCheck(self.app)
        self.health.add_check("ok", Told((12, "rows")), interval=30.0)
        self.health.add_check("lags", Told(Degraded("replica lags")), interval=30.0)
        self.health.add_check("hint", Told(False), interval=30.0, critical=False)
        self.health.add_check("bad", self.bad, failure_threshold=1, **BRISK)
        self.health.start(wait=True)

    def ask(self, path: str = "", query: str = "", key: dict[str, str] | None = None) -> Answer:
        """Ask a probe, with a key or without."""
        return call(self.app, f"/health{path}", QUERY_STRING=query, **(key or {}))

    def json(self, path: str = "", query: str = "format=json") -> Any:
        """What an authorised caller reads."""
        return json.loads(self.ask(path, query, KEY).body)


@pytest.fixture(scope="module")
def failing() -> Service:
    """A service whose critical check fails."""
    return Service(OSError("cannot reach db-7.internal"))


@pytest.fixture(scope="module")
def working() -> Service:
    """A service whose critical check passes."""
    return Service()


# JSON


def test_json_tells_all_there_is(failing: Service) -> None:
    """By the draft: checks with status, time, output, observation, and why the whole fails."""
    answer = failing.ask("", "format=json", KEY)
    assert (answer.code, answer.headers["Content-Type"]) == (503, "application/health+json")
    told = json.loads(answer.body)
    assert told["status"] == "fail"
    assert told["output"] == f"lags: replica lags; hint: returned False; bad: {REASON}"
    assert list(told["checks"]) == ["ok", "lags", "hint", "bad"]
    assert {name: row["status"] for name, [row] in told["checks"].items()} == {
        "ok": "pass",
        "lags": "warn",
        "hint": "fail",
        "bad": "fail",
    }
    [ok], [bad] = told["checks"]["ok"], told["checks"]["bad"]
    assert (ok["observedValue"], ok["observedUnit"]) == (12, "rows")
    assert "output" not in ok
    assert bad["output"] == REASON
    assert told["checks"]["hint"][0]["critical"] is False
    assert told["duration"] >= ok["duration"] >= 0.0


def test_json_of_a_probe_has_its_checks_only() -> None:
    """And `/health` those of all."""
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    probes: tuple[Probe, ...] = ("live", "ready", "startup")
    for probe in probes:
        health.add_check(f"of-{probe}", Told(), probes=(probe,))
    health.add_check("of-two", Told(), probes=("live", "startup"))
    health.start(wait=True)

    def names(path: str) -> list[str]:
        return list(json.loads(call(app, path, QUERY_STRING="format=json").body)["checks"])

    assert names("/health/live") == ["of-live", "of-two"]
    assert names("/health/ready") == ["of-ready"]
    assert names("/health/startup") == ["of-startup", "of-two"]
    assert names("/health") == ["of-live", "of-ready", "of-startup", "of-two"]


def test_a_ready_made_check_tells_what_it_measures() -> None:
    """Keyed `component:measurement`, with its type."""
    from flask_health import checks

    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    health.add_check("root", checks.disk("/", min_free=0))
    health.start(wait=True)
    told = json.loads(call(app, QUERY_STRING="format=json").body)["checks"]
    [row] = told["root:free"]
    assert (row["componentType"], row["observedUnit"]) == ("system", "bytes")
    assert row["observedValue"] > 0


def test_why_it_is_not_ready_is_told_when_another_probe_s_check_fails() -> None:
    """Readiness needs liveness and startup; its own checks alone would not explain it."""
    probes: tuple[Probe, ...] = ("live", "startup")
    for probe in probes:
        app = make_app(HEALTH_DETAILS="always")
        health = HealthCheck(app)
        health.add_check("good", Told())
        health.add_check("other", Told(OSError("no")), probes=(probe,))
        health.start(wait=True)
        answer = call(app, "/health/ready", QUERY_STRING="format=json")
        assert answer.code == 503
        assert json.loads(answer.body)["output"] == f"{probe} check 'other' fails: OSError: no"
        excluding = call(app, "/health/ready", QUERY_STRING="format=json&exclude=good")
        assert excluding.code == 503


# Text


def test_verbose_is_the_text_of_kubernetes(failing: Service) -> None:
    """A line per check, in order, and a trailer."""
    answer = failing.ask("", "verbose", KEY)
    assert answer.code == 503
    lines = [re.sub(r" \(\d+ ms\)", "", line) for line in answer.body.decode().splitlines()]
    assert lines == [
        "[+]gate open",
        "[+]ok ok",
        "[+]lags warn: replica lags",
        "[-]hint failed: returned False",
        f"[-]bad failed: {REASON}",
        "health check failed",
    ]
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_verbose_of_a_timeout() -> None:
    """As the documentation shows it."""
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    told = Told()
    health.add_check("cache", told, timeout=0.05, retry_interval=0.05)
    with told.hanging():
        health.start(wait=True)
        body = call(app, QUERY_STRING="verbose").body.decode()
    assert "[-]cache failed: timed out after 0.05 s" in body


def test_a_stranger_gets_the_trailer_alone(failing: Service, working: Service) -> None:
    """For each probe the name that was asked for, and whether it passed."""
    for service, word in ((failing, "failed"), (working, "passed")):
        assert service.ask("", "verbose").body.decode() == f"health check {word}\n"
        assert service.ask("/ready", "verbose=1", WRONG).body.decode() == f"ready check {word}\n"


# One check


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("ok", 200, "[+]ok ok"),
        ("lags", 200, "[+]lags warn: replica lags"),
        ("hint", 503, "[-]hint failed: returned False"),
        ("bad", 503, f"[-]bad failed: {REASON}"),
    ],
)
def test_one_check_has_a_path(failing: Service, name: str, code: int, line: str) -> None:
    """Its own status, in text and JSON, with HEAD, and a slash at the end (C04)."""
    for path in (f"/ready/{name}", f"/ready/{name}/"):
        answer = failing.ask(path, "", KEY)
        assert answer.code == code
        assert re.sub(r" \(\d+ ms\)", "", answer.body.decode()) == f"{line}\n"
    told = failing.json(f"/ready/{name}")
    assert told["status"] == {"ok": "pass", "lags": "warn"}.get(name, "fail")
    head = call(failing.app, f"/health/ready/{name}", "HEAD", **KEY)
    assert (head.code, head.body) == (code, b"")
    assert call(failing.app, f"/health/ready/{name}", "POST", **KEY).code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/ready/nope",
        "/ready/OK",
        "/ready/ok/more",
        "/live/ok",
        "/startup/ok",
        "/health/ok",
        "/ok",
        "/ready/",
        "/ready//ok",
    ],
)
def test_what_is_not_there_is_not_found(failing: Service, path: str) -> None:
    """An unknown check, and a check of another probe (B06, B07)."""
    answer = failing.ask(path, "", KEY)
    assert answer.code == (503 if path == "/ready/" else 404)


def test_hidden_looks_like_unknown(failing: Service) -> None:
    """To a stranger no path tells which checks there are (C12)."""
    unknown = failing.ask("/ready/nope")
    for key in ({}, WRONG):
        for name in ("ok", "bad"):
            hidden = failing.ask(f"/ready/{name}", "format=json", key)
            assert (hidden.code, hidden.body) == (unknown.code, unknown.body)
            assert set(hidden.headers) == set(unknown.headers)


# Leaving out


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ("exclude=bad", 200, "warn"),
        ("exclude=bad&exclude=lags", 200, "warn"),
        ("exclude=bad&exclude=lags&exclude=hint", 200, "pass"),
        ("exclude=lags", 503, "fail"),
        ("exclude=nope", 503, "fail"),
        ("exclude=", 503, "fail"),
        ("exclude", 503, "fail"),
        ("exclude=BAD", 503, "fail"),
        ("exclude=bad,lags", 503, "fail"),
        ("exclude=%00", 503, "fail"),
    ],
)
def test_leaving_checks_out(failing: Service, query: str, code: int, status: str) -> None:
    """For who may see them, in each form (C06, C09)."""
    assert failing.ask("", query, KEY).code == code
    assert failing.ask("/ready", f"{query}&verbose", KEY).code == code
    assert failing.json("", f"{query}&format=json")["status"] == status


def test_what_was_left_out_is_shown(failing: Service) -> None:
    """In the text and in JSON (C07)."""
    lines = failing.ask("", "verbose&exclude=bad&exclude=nope", KEY).body.decode().splitlines()
    assert "[+]bad excluded: ok" in lines
    assert "warn: there is no check 'nope' to exclude" in lines
    told = failing.json("", "format=json&exclude=bad")
    assert told["excluded"] == ["bad"]
    assert told["checks"]["bad"][0]["status"] == "fail"
    assert "bad" not in told["output"]


def test_a_stranger_leaves_nothing_out(failing: Service) -> None:
    """The answer is that without it."""
    for key in ({}, WRONG):
        for query in ("exclude=bad", "exclude=bad&verbose", "exclude=bad&format=json"):
            assert failing.ask("", query, key).code == 503


def test_nothing_gets_past_the_gate() -> None:
    """While setup runs no name helps."""
    blocked = Blocked()
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app, setup=blocked)
    health.add_check("database", Told())
    health.start()
    for name in ("gate", "database", "blocked", "health", ""):
        for path in ("/health", "/health/ready", "/health/startup"):
            assert call(app, path, QUERY_STRING=f"exclude={name}").code == 503
    blocked.go.set()
    assert health.gate.wait(DEADLINE)


# Strangers

ASKED = [
    (path, query, accept)
    for path in ("", "/live", "/ready", "/startup", "/ready/bad", "/info", "/nope")
    for query in ("", "verbose", "format=json", "exclude=bad&verbose", "exclude=nope")
    for accept in ("", "application/json", "text/html")
]


@pytest.mark.parametrize("key", [{}, WRONG], ids=["nothing", "wrong"])
def test_a_stranger_reads_no_name(failing: Service, key: dict[str, str]) -> None:
    """No check, host, class, reason or path; under 4 KiB; and nobody is asked to log in."""
    for path, query, accept in ASKED:
        more = {"HTTP_ACCEPT": accept} if accept else {}
        answer = call(failing.app, f"/health{path}", QUERY_STRING=query, **key, **more)
        assert answer.code in (200, 404, 503)
        assert len(answer.body) < 4096
        told = f"{answer.headers} {answer.body.decode()}"
        for secret in (
            "bad",
            "lags",
            "hint",
            "db-7",
            "OSError",
            "shop",
            "python",
            str(os.getpid()),
        ):
            assert secret not in told.replace("exclude=bad", ""), (path, query, told)


@pytest.mark.parametrize("state", ["failing", "working"])
def test_credentials_change_no_code(state: str, request: pytest.FixtureRequest) -> None:
    """None, wrong, garbled, right: the body grows, the code stays (C16)."""
    service: Service = request.getfixturevalue(state)
    keys = [{}, WRONG, KEY, {"HTTP_AUTHORIZATION": "Basic %%%"}, {"HTTP_AUTHORIZATION": "\xff"}]
    for path in ("", "/live", "/ready", "/startup"):
        for query in ("", "verbose", "format=json"):
            codes = {service.ask(path, query, key).code for key in keys}
            assert len(codes) == 1, (path, query)


def test_nobody_reads_what_was_made_for_another(failing: Service) -> None:
    """Nothing is remembered between two callers (C19)."""
    for query in ("format=json", "verbose"):
        assert b"bad" in failing.ask("", query, KEY).body
        assert b"bad" not in failing.ask("", query).body


def test_a_function_may_authorize() -> None:
    """For one check and for `info` as well."""
    app = make_app()
    health = HealthCheck(app)
    health.add_check("database", Told())

    @health.authorize
    def admin(request: Request) -> bool:
        return request.headers.get("X-Admin") == "yes"

    health.start(wait=True)
    for path in ("/health/ready/database", "/health/info"):
        assert call(app, path).code == 404
        assert call(app, path, HTTP_X_ADMIN="yes").code == 200


# Info


def test_info_tells_what_runs() -> None:
    """Service, versions, uptime, and this process."""
    app = make_app("shop", HEALTH_DETAILS="always", HEALTH_VERSION="1.10")
    HealthCheck(app).start(wait=True)
    answer = call(app, "/health/info")
    assert (answer.code, answer.headers["Content-Type"]) == (200, "application/json")
    told = json.loads(answer.body)
    assert (told["service"], told["version"], told["status"]) == ("shop", "1.10", "pass")
    assert re.fullmatch(r"3\.\d+\.\d+\S*", told["python"])
    assert re.fullmatch(r"\d+\.\d+\S*", told["flask"])
    assert told["uptime"] > 0.0
    assert told["workers"]["expected"] == told["workers"]["ready"] == 1
    [worker] = told["workers"]["alive"]
    assert worker["pid"] == os.getpid()
    assert worker["memory"] > 10_000_000
    assert worker["threads"] >= 1
    assert worker["files"] >= 3


def test_info_is_200_whatever_the_status(failing: Service) -> None:
    """It is no probe; the status is a member of it."""
    answer = failing.ask("/info", "", KEY)
    assert (answer.code, json.loads(answer.body)["status"]) == (200, "fail")


def test_info_names_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, where an image has no checkout."""
    from flask_health.web import about

    about._commit.cache_clear()
    monkeypatch.setenv("GIT_COMMIT", "abc123")
    app = make_app(HEALTH_DETAILS="always")
    HealthCheck(app)
    assert json.loads(call(app, "/health/info").body)["commit"] == "abc123"
    about._commit.cache_clear()


# Anything at all


class Unspeakable(Exception):
    """An exception that cannot be put into words."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def _cycle() -> object:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


def _raises(error: BaseException) -> Callable[[], object]:
    def check() -> object:
        raise error

    return check


ANYTHING: dict[str, tuple[Callable[[], object], str]] = {
    "nan": (lambda: float("nan"), "pass"),
    "infinity": (lambda: (float("-inf"), "ms"), "pass"),
    "bytes": (lambda: b"\xff", "pass"),
    "object": (object, "pass"),
    "cycle": (_cycle, "pass"),
    "huge-number": (lambda: 10**5000, "pass"),
    "huge-text": (lambda: "x" * 10_000_000, "pass"),
    "huge-unit": (lambda: (1, "x" * 10_000_000), "pass"),
    "surrogate-unit": (lambda: (1, "\ud800"), "pass"),
    "class": (lambda: Exception, "pass"),
    "generator": (lambda: iter([1]), "pass"),
    "huge-error": (_raises(OSError("x" * 10_000_000)), "fail"),
    "surrogate-error": (_raises(OSError("\ud800\udfff\x00\x1b[31m")), "fail"),
    "lines": (_raises(OSError('one\ntwo\r\n[+]other ok\n"quoted"')), "fail"),
    "unspeakable": (_raises(Unspeakable()), "fail"),
    "exit": (_raises(SystemExit(3)), "fail"),
    "interrupt": (_raises(KeyboardInterrupt()), "fail"),
    "stop": (_raises(StopIteration(1)), "fail"),
    "group": (_raises(Degraded()), "warn"),
}


@pytest.fixture(scope="module")
def anything() -> Iterator[Flask]:
    """A service with all these checks."""
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    for name, (function, _) in ANYTHING.items():
        health.add_check(name, function, interval=30.0, retry_interval=30.0)
    health.start(wait=True)
    yield app


def test_json_is_valid_whatever_a_check_does(anything: Flask) -> None:
    """Strict JSON in UTF-8, the right status, never 500 (B16)."""

    def strict(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    answer = call(anything, QUERY_STRING="format=json")
    assert answer.code == 503
    told = json.loads(answer.body.decode("utf-8"), parse_constant=strict)
    assert {name: row["status"] for name, [row] in told["checks"].items()} == {
        name: status for name, (_, status) in ANYTHING.items()
    }
    for name in ANYTHING:
        one = call(anything, f"/health/ready/{name}", QUERY_STRING="format=json")
        assert json.loads(one.body.decode("utf-8"), parse_constant=strict)["status"]
        assert one.code == (503 if ANYTHING[name][1] == "fail" else 200)


def test_text_is_one_line_per_check_whatever_it_raises(anything: Flask) -> None:
    """Nobody forges a line of another check."""
    lines = call(anything, QUERY_STRING="verbose").body.decode().splitlines()
    assert len(lines) == len(ANYTHING) + 2
    for line, name in zip(lines[1:-1], ANYTHING, strict=True):
        assert line.startswith((f"[+]{name} ", f"[-]{name} "))


def test_a_reason_is_gone_with_its_failure() -> None:
    """Fail, then pass: nothing of the failure is left (C18)."""
    service = Service(OSError("cannot reach db-7.internal"))
    assert "output" in service.json()["checks"]["bad"][0]
    service.bad.says = None
    eventually(lambda: service.ask().code, lambda code: code == 200)
    assert "db-7" not in json.dumps(service.json())
    assert "output" not in service.json()["checks"]["bad"][0]


def test_secrets_are_masked_in_every_form() -> None:
    """Also for those who may see details."""
    service = Service(OSError("postgresql://shop:hunter2@db-7/shop: token=hunter2"))
    for path, query in (("", "format=json"), ("", "verbose"), ("/ready/bad", "")):
        body = service.ask(path, query, KEY).body
        assert b"postgresql://shop:***@db-7/shop: token=***" in body
        assert b"hunter2" not in body
