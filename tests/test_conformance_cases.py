"""What health endpoints of other frameworks agree on, case by case; each test cites its ids.

A case that is not here is in another test, or in `docs/conformance.md` with the reason.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask import Flask, abort
from support.checking import BRISK, Told, others, threads
from support.local import DEADLINE, Answer, Blocked, call, make_app
from support.waiting import eventually

from flask_health import Degraded, HealthCheck, checks, status_changed

KEY = {"HTTP_AUTHORIZATION": "Bearer key"}
PROBES = ("", "/live", "/ready", "/startup")
ONCE: dict[str, Any] = {"interval": 60.0, "retry_interval": 60.0}


class Service:
    """An app, its checks by name, and what a caller with the key gets from it."""

    def __init__(self, *, start: bool = True, **says: Any) -> None:
        self.app = make_app("shop", HEALTH_TOKEN="key", HEALTH_GATE_TIMEOUT=0)
        self.health = HealthCheck(self.app)
        self.told: dict[str, Told] = {}
        for name, value in says.items():
            self.add(name, value)
        if start:
            self.health.start(wait=True)

    def add(self, name: str, says: object = None, **options: Any) -> Told:
        """Register a check that says this; once is enough unless the options say otherwise."""
        told = says if isinstance(says, Told) else Told(says)
        self.told[name] = told
        self.health.add_check(name, told, **(ONCE | options))
        return told

    def get(self, path: str = "", query: str = "", **more: Any) -> Answer:
        """Ask as a stranger."""
        return call(self.app, f"/health{path}", QUERY_STRING=query, **more)

    def json(self, path: str = "", query: str = "") -> tuple[int, Any]:
        """Ask for JSON with the key; the code and the members."""
        answer = self.get(path, f"format=json&{query}", **KEY)
        return answer.code, json.loads(answer.body)

    def statuses(self, path: str = "") -> dict[str, str]:
        """The status of each check."""
        return {name: row["status"] for name, [row] in self.json(path)[1]["checks"].items()}


# Aggregation


def test_no_checks() -> None:
    """A01: 200, status ok, checks empty, for every probe."""
    service = Service()
    for path in PROBES:
        code, told = service.json(path)
        assert (code, told["status"], told["checks"]) == (200, "pass", {})


def test_degraded_among_good_ones() -> None:
    """A03: 200, status degraded."""
    service = Service(a=None, b=Degraded("slow"), c=None)
    code, told = service.json()
    assert (code, told["status"]) == (200, "warn")


def test_one_critical_failure() -> None:
    """A04: 503, status fail; the other two still reported as good."""
    service = Service(a=None, b=OSError("no"), c=None)
    code, told = service.json()
    assert (code, told["status"]) == (503, "fail")
    assert service.statuses() == {"a": "pass", "b": "fail", "c": "pass"}


def test_an_optional_failure() -> None:
    """A06: 200, status degraded; the failing check is listed with its own fail."""
    service = Service(a=None, start=False)
    service.add("b", OSError("no"), critical=False)
    service.health.start(wait=True)
    code, told = service.json()
    assert (code, told["status"]) == (200, "warn")
    assert service.statuses() == {"a": "pass", "b": "fail"}


def test_an_optional_and_a_critical_failure() -> None:
    """A07: 503, both failures listed."""
    service = Service(b=OSError("no"), start=False)
    service.add("a", OSError("neither"), critical=False)
    service.health.start(wait=True)
    code, told = service.json()
    assert code == 503
    assert service.statuses() == {"a": "fail", "b": "fail"}
    assert "neither" in told["output"] and "OSError: no" in told["output"]


@pytest.mark.parametrize(
    ("value", "status"), [(None, "pass"), (True, "pass"), (False, "fail")], ids=str
)
def test_what_a_check_returns(value: object, status: str) -> None:
    """A13: None and True are good, False fails."""
    assert Service(a=value).statuses() == {"a": status}


def test_a_name_is_registered_twice() -> None:
    """A15: an error at start-up that names the duplicate, whatever its case."""
    service = Service(Foo=None, Bar=None, Baz=None, start=False)
    for name in ("Foo", "baz"):
        with pytest.raises(ValueError, match=f"'{name}'"):
            service.add(name)


# HTTP


def test_healthy_is_200_with_a_body() -> None:
    """B01, C01: exactly 200, with a body, which is `ok`."""
    service = Service(ping=None)
    for path in PROBES:
        assert service.get(path).word == (200, "ok")


def in_every_state(blocked: Blocked) -> dict[str, Service]:
    """A service in each state that a prober can meet; one of them starts until it is let go."""
    starting = Service(start=False, a=None)
    starting.health.setup(blocked)
    starting.health.start()
    failed = Service(start=False, a=None)
    failed.health.setup(name="load", retries=0)(lambda: 1 / 0)
    failed.health.start()
    failed.health.gate.settle(DEADLINE)
    made = {
        "good": Service(a=None),
        "warns": Service(a=Degraded("slow")),
        "fails": Service(a=OSError("no")),
        "starting": starting,
        "failed": failed,
        "new": Service(start=False, a=None),
    }
    for probe in ("live", "startup"):
        service = Service(start=False)
        service.add("a", False, probes=(probe,))
        service.health.start(wait=True)
        made[probe] = service
    return made


def test_no_other_code_than_documented() -> None:
    """B03: over all states, paths and ways to ask: 200 and 503, 404 unknown, 405 method."""
    asked: set[int] = set()
    blocked = Blocked()
    ways = ["", "verbose", "format=json", "exclude=a", "x=%zz"]
    for service in in_every_state(blocked).values():
        for path in (*PROBES, "/nope", "/ready/a", "/info"):
            for query in ways:
                for key in ({}, KEY, {"HTTP_AUTHORIZATION": "Basic x"}):
                    code = service.get(path, query, **key).code
                    assert code in ((200, 503) if path in PROBES else (200, 404, 503))
                    asked.add(code)
            posted = service.get(path, REQUEST_METHOD="POST").code
            assert posted == 405 or path in ("/nope", "/ready/a")
    assert asked == {200, 404, 503}
    blocked.go.set()


def test_unknown_is_not_found() -> None:
    """B06, B07: an unknown name, and more segments than there are."""
    service = Service(db=None)
    assert {service.get(p, **KEY).code for p in ("/nope", "/a/b", "/ready/nope")} == {404}


def test_head_is_get_without_a_body() -> None:
    """B09: same status and headers, empty body, good or not."""
    for service in (Service(a=None), Service(a=False)):
        for path in (*PROBES, "/ready/a"):
            get = service.get(path, **KEY)
            head = service.get(path, REQUEST_METHOD="HEAD", **KEY)
            assert (head.code, head.headers, head.body) == (get.code, get.headers, b"")


def test_other_methods_are_refused() -> None:
    """B10: 405 with Allow; no check is executed."""
    service = Service(a=None)
    for method in ("POST", "PUT", "DELETE"):
        for path in (*PROBES, "/ready/a", "/info"):
            answer = service.get(path, REQUEST_METHOD=method, **KEY)
            assert (answer.code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert service.told["a"].runs == 1


def test_never_304() -> None:
    """B12: conditional requests are answered like any other."""
    service = Service(a=None)
    conditions = {
        "HTTP_IF_NONE_MATCH": "*",
        "HTTP_IF_MODIFIED_SINCE": "Sun, 06 Nov 2094 08:49:37 GMT",
    }
    for path in (*PROBES, "/ready/a", "/info"):
        assert service.get(path, **KEY, **conditions).code == 200


def test_headers() -> None:
    """B13, B15: never stored, never sniffed, no cookie."""
    for service in (Service(a=None), Service(a=False)):
        for path in (*PROBES, "/ready/a", "/info", "/nope"):
            for query in ("", "format=json", "verbose"):
                headers = service.get(path, query, **KEY).headers
                assert "no-store" in headers["Cache-Control"]
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), b"\xff", [[]], 10**5000],
    ids=["object", "nan", "bytes", "list", "huge"],
)
def test_data_that_cannot_be_serialised(value: object) -> None:
    """B16: valid JSON, the correct status, by verdict."""

    def strict(word: str) -> None:
        raise AssertionError(word)

    service = Service(good=value, bad=False)
    answer = service.get("", "format=json", **KEY)
    told = json.loads(answer.body, parse_constant=strict)
    assert (answer.code, told["checks"]["good"][0]["status"]) == (503, "pass")


def test_not_ready_says_when_to_come_back() -> None:
    """B18: 503 with Retry-After."""
    service = Service(a=False)
    for path in ("", "/ready"):
        for query in ("", "format=json", "verbose"):
            assert int(service.get(path, query).headers["Retry-After"]) > 0


def test_any_host() -> None:
    """B19: an app that restricts hosts is probed by its address."""
    service = Service(start=False, a=None)
    service.app.config.update(TRUSTED_HOSTS=["shop.example"], SERVER_NAME="shop.example")
    service.health.start(wait=True)
    for path in (*PROBES, "/ready/a", "/info"):
        for query in ("", "format=json"):
            assert service.get(path, query, HTTP_HOST="10.0.0.9:8000", **KEY).code == 200


@pytest.mark.parametrize("asks", ["", "format=json", "verbose"])
def test_no_hook_of_the_app_runs(asks: str) -> None:
    """B21: a hook that raises, wants a login, or asks a database has no say in liveness."""
    service = Service(start=False, a=None)
    hooked: list[str] = []

    @service.app.before_request
    def login() -> None:
        hooked.append("before")
        abort(401)

    @service.app.teardown_request
    def close(_: object) -> None:
        hooked.append("teardown")

    service.health.start(wait=True)
    for path in PROBES:
        assert service.get(path, asks, **KEY).code == 200
    assert hooked == []


@pytest.mark.parametrize("accept", [None, "*/*", "", "text/html", "image/png", "application/json"])
def test_a_kubelet_asks(accept: str | None) -> None:
    """B22: whatever it accepts: 200, with a body."""
    service = Service(a=None)
    more = {} if accept is None else {"HTTP_ACCEPT": accept}
    for path in PROBES:
        answer = service.get(path, HTTP_USER_AGENT="kube-probe/1.35", **more)
        assert answer.code == 200
        assert answer.body


def test_headers_of_one_s_own() -> None:
    """B24: on good and on failing answers; what wraps `wsgi_app` afterwards adds them."""

    def cors(app: Any) -> Any:
        def wrapped(environ: Any, start_response: Any) -> Any:
            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                headers.append(("Access-Control-Allow-Origin", "*"))
                return start_response(status, headers, *more)

            return app(environ, start)

        return wrapped

    for says in (None, False):
        service = Service(a=says)
        service.app.wsgi_app = cors(service.app.wsgi_app)  # type: ignore[method-assign]
        for _ in range(2):  # nothing is added to what the next answer is made of
            for query in ("", "format=json"):
                headers = service.get("", query).headers
                assert headers["Access-Control-Allow-Origin"] == "*"


# Who sees what


def bad_one() -> Service:
    """`ping` is good, `bad` fails with a reason."""
    return Service(ping=None, bad=RuntimeError("this will fail"))


def test_one_check_tells_its_reason() -> None:
    """C04: to who may see it, with a failing code."""
    answer = bad_one().get("/ready/bad", **KEY)
    assert answer.code == 503
    assert b"this will fail" in answer.body


def test_leaving_checks_out() -> None:
    """C06, C07, C09: without the failing one it passes; it is shown as excluded; names add up."""
    service = bad_one()
    assert service.get("", "exclude=bad", **KEY).code == 200
    verbose = service.get("", "verbose=true&exclude=bad", **KEY)
    assert verbose.code == 200
    assert b"[+]bad excluded: ok\n" in verbose.body
    both = service.get("", "verbose&exclude=ping&exclude=bad", **KEY).body
    assert b"[+]ping excluded: ok\n[+]bad excluded: ok\n" in both
    assert service.told["bad"].runs == 1  # no request executes anything


@pytest.mark.parametrize(
    ("rule", "stranger", "authorised"),
    [("never", False, False), ("authorized", False, True), ("always", True, True)],
)
def test_who_sees_details(rule: str, stranger: bool, authorised: bool) -> None:
    """C12, C13, C15: one key rules components and details alike."""
    app = make_app(HEALTH_DETAILS=rule, HEALTH_TOKEN="key")
    health = HealthCheck(app)
    health.add_check("db", Told(OSError("no")))
    health.start(wait=True)
    for key, shown in (({}, stranger), (KEY, authorised)):
        told = json.loads(call(app, QUERY_STRING="format=json", **key).body)
        assert set(told) > {"status", "checks"} if shown else told == {"status": "fail"}
        assert not shown or told["checks"]["db"][0]["output"] == "OSError: no"
        assert call(app, "/health/ready/db", **key).code == (503 if shown else 404)


def test_wrong_credentials_change_no_code() -> None:
    """C16: only the body shrinks, good or not."""
    for service in (bad_one(), Service(a=None)):
        for query in ("", "format=json", "verbose"):
            right = service.get("", query, **KEY)
            wrong = service.get("", query, HTTP_AUTHORIZATION="Bearer guess")
            assert right.code == wrong.code
            assert len(wrong.body) <= len(right.body)


def test_nothing_of_a_failure_is_left_over() -> None:
    """C18: fails, then passes: the second body tells of no failure."""
    service = Service(start=False)
    told = service.add("a", RuntimeError("this will fail"), **BRISK)
    service.health.start(wait=True)
    assert "output" in service.json()[1]
    told.says = None
    eventually(lambda: service.get().code, lambda code: code == 200)
    assert "output" not in json.dumps(service.json()[1])


def test_a_stranger_reads_nothing_that_was_made_for_another() -> None:
    """C19: right after an authorised request."""
    service = bad_one()
    assert "checks" in service.json()[1]
    assert json.loads(service.get("", "format=json").body) == {"status": "fail"}


# Execution


def test_a_check_that_blocks() -> None:
    """D02: answered at once; the check fails at its timeout."""
    service = Service(start=False)
    told = service.add("a", timeout=0.1)
    with told.hanging():
        service.health.start()
        began = time.monotonic()
        assert service.get().code == 503
        assert time.monotonic() - began < 0.5
        eventually(lambda: "timed out after 0.1 s" in service.json()[1]["output"])
    assert service.statuses() == {"a": "fail"}


def test_five_slow_checks() -> None:
    """D03: 200 ms each, beside one another; a probe does not even wait for that."""
    service = Service(start=False)
    for number in range(5):
        service.health.add_check(f"slow{number}", lambda: time.sleep(0.2), **ONCE)
    began = time.monotonic()
    service.health.start(wait=True)
    assert time.monotonic() - began < 0.8
    began = time.monotonic()
    assert service.get().code == 200
    assert time.monotonic() - began < 0.1


def test_an_optional_check_that_times_out() -> None:
    """D05: raises or times out: degraded, 200."""
    service = Service(start=False)
    service.add("raises", OSError("no"), critical=False)
    told = service.add("hangs", critical=False, timeout=0.05)
    with told.hanging():
        service.health.start(wait=True)
        assert service.json()[0] == 200
        assert service.json()[1]["status"] == "warn"


def test_how_often_a_check_is_executed() -> None:
    """D06, D09: once per interval, whatever is asked in it, on every path."""
    service = Service(start=False)
    told = service.add("a", interval=0.4)
    service.health.start(wait=True)
    began = time.monotonic()
    while time.monotonic() < began + 0.3:
        for path in (*PROBES, "/ready/a"):
            service.get(path, "format=json", **KEY)
    assert told.runs == 1
    told.has_run()
    assert time.monotonic() - began >= 0.3


def test_old_values_are_marked() -> None:
    """D08: while a new run is under way the last result is told, with its time."""
    service = Service(start=False)
    told = service.add("a", interval=0.05, retry_interval=0.05, timeout=30.0)
    service.health.start(wait=True)
    with told.hanging():
        eventually(lambda: told.running)
        told.has_run(0)
        first = service.json()[1]["checks"]["a"][0]
        assert service.json()[1]["checks"]["a"][0]["time"] == first["time"]
        assert first["status"] == "pass"


def test_not_run_yet() -> None:
    """D11: 503 until the first run has finished."""
    service = Service(start=False)
    told = service.add("a", timeout=30.0)
    with told.hanging():
        service.health.start()
        eventually(lambda: told.running)
        for path in ("", "/ready"):
            assert service.get(path).code == 503
        assert service.json()[1]["checks"]["a"][0]["output"] == "not run yet"
        assert service.get("/live").code == 200
    eventually(lambda: service.get().code, lambda code: code == 200)


def test_a_check_never_runs_twice_at_once() -> None:
    """D12: it takes longer than its interval."""
    slow = Told()
    service = Service(start=False)

    @service.health.check(interval=0.04)
    def takes_longer() -> None:
        slow()
        time.sleep(0.1)

    service.health.start(wait=True)
    eventually(lambda: slow.runs >= 4)
    assert slow.at_once == 1


def test_a_hung_check_and_200_probes() -> None:
    """D14: threads are bounded by the number of checks."""
    service = Service(start=False)
    told = service.add("hung", timeout=0.05, **BRISK)  # A name of its own among the threads.
    with told.hanging():
        service.health.start(wait=True)
        before = others()
        for number in range(200):
            service.get(PROBES[number % 4], "format=json", **KEY)
        assert others() <= before
        assert threads("flask-health-check-hung") == ["flask-health-check-hung"]
        assert told.runs == 1


def test_a_listener_raises() -> None:
    """D15: the response is unaffected; the others are called, once."""
    service = Service(start=False)
    told = service.add("a", failure_threshold=1, **BRISK)
    heard: list[object] = []

    def raises(sender: Flask, **_: object) -> None:
        raise RuntimeError("listener")

    def hears(sender: Flask, *, new: object, **_: object) -> None:
        heard.append(new)

    app = service.app
    with status_changed.connected_to(raises, app), status_changed.connected_to(hears, app):
        service.health.start(wait=True)
        told.says = False
        eventually(lambda: service.get().code, lambda code: code == 503)
        told.has_run(2)
    assert [str(status) for status in heard] == ["fail"]


def test_durations_are_told() -> None:
    """D18: of each check, and of all."""
    service = Service(start=False)
    service.health.add_check("a", lambda: time.sleep(0.02), **ONCE)
    service.health.start(wait=True)
    told = service.json()[1]
    assert told["checks"]["a"][0]["duration"] >= 0.02
    assert told["duration"] >= 0.02
    verbose = service.get("", "verbose", **KEY).body.decode()
    assert " ms)" in verbose.splitlines()[1]


# Edges


def test_one_notification_per_edge() -> None:
    """E10, E11: fails four times, recovers: two notifications; the second counts and measures."""
    service = Service(start=False)
    told = service.add("a", failure_threshold=3, **BRISK)
    heard: list[dict[str, Any]] = []

    def hears(sender: Flask, **more: Any) -> None:
        heard.append(more)

    with status_changed.connected_to(hears, service.app):
        service.health.start(wait=True)
        told.says = OSError("no")
        eventually(lambda: service.health.report().results[0].failures, lambda n: n >= 4)
        told.says = None
        eventually(lambda: service.get().code, lambda code: code == 200)
        eventually(lambda: len(heard) == 2)
        told.has_run(3)
    assert [(str(row["old"]), str(row["new"])) for row in heard] == [
        ("pass", "fail"),
        ("fail", "pass"),
    ]
    assert heard[1]["failures"] >= 4
    assert heard[1]["outage"] > 0.0


# Lifecycle


def test_while_setup_runs() -> None:
    """F01, F02, F11: live alone passes, no dependency is asked; afterwards ready passes."""
    blocked = Blocked()
    service = Service(start=False, a=None)
    service.health.setup(blocked)
    service.health.start()
    codes = [service.get(p).code for p in ("/live", "/ready", "/startup", "")]
    assert codes == [200, 503, 503, 503]
    assert service.told["a"].runs == 0
    blocked.go.set()
    eventually(lambda: service.get("/ready").code, lambda code: code == 200)
    assert service.get("").code == 200


def test_the_running_step_is_named() -> None:
    """F05: to who may see it."""
    blocked = Blocked()
    service = Service(start=False, a=None)
    service.health.setup(name="load-model")(blocked)
    service.health.start()
    assert blocked.begun.wait(DEADLINE)
    told = service.json("/ready")[1]
    assert told["output"].startswith("setup step 'load-model' not finished; ")
    verbose = service.get("/ready", "verbose", **KEY).body
    assert b"[-]gate failed: setup step 'load-model' not finished" in verbose
    blocked.go.set()


def test_setup_runs_once() -> None:
    """F07: however often readiness is asked afterwards."""
    ran: list[int] = []
    service = Service(start=False, a=None)
    service.health.setup(name="first")(lambda: ran.append(1))
    service.health.start(wait=True)
    assert [service.get("/ready").code for _ in range(3)] == [200] * 3
    assert ran == [1]


def test_two_blocking_tasks() -> None:
    """F10, F11: not ready after one of two; `/health` and `/health/ready` agree throughout."""
    one, other = Blocked(), Blocked()
    service = Service(start=False, a=None)
    service.health.setup(name="one")(one)
    service.health.setup(name="other")(other)
    service.health.start()

    def agreed() -> int:
        health, ready = service.get("").word, service.get("/ready").word
        assert health == ready
        return health[0]

    assert agreed() == 503
    one.go.set()
    assert other.begun.wait(DEADLINE)
    assert agreed() == 503
    other.go.set()
    eventually(lambda: service.get("/startup").code, lambda code: code == 200)
    eventually(lambda: service.get("/ready").code, lambda code: code == 200)
    assert agreed() == 200


def test_the_disk_s_threshold_is_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    """F23: as much as asked for is enough, one byte less fails."""
    free = [0]
    monkeypatch.setattr("shutil.disk_usage", lambda path: (2**40, 2**40 - free[0], free[0]))
    disk = checks.disk("/", min_free=1_000_000)
    for free[0], passes in ((1_000_000, True), (999_999, False)):
        service = Service(start=False)
        service.health.add_check("disk", disk, **ONCE)
        service.health.start(wait=True)
        assert service.get().code == (200 if passes else 503)


# The format


@pytest.mark.parametrize(
    ("says", "status", "code"),
    [(None, "pass", 200), (Degraded("slow"), "warn", 200), (False, "fail", 503)],
    ids=["ok", "degraded", "fail"],
)
def test_health_json(says: object, status: str, code: int) -> None:
    """H01, H02: its words, type and codes; a pass has no output and no affected endpoints."""
    service = Service(a=says)
    answer = service.get("", HTTP_ACCEPT="application/health+json", **KEY)
    assert answer.headers["Content-Type"] == "application/health+json"
    told = json.loads(answer.body)
    assert (answer.code, told["status"]) == (code, status)
    assert ("output" in told) is (status != "pass")
    for members in (told, told["checks"]["a"][0]):
        assert "affectedEndpoints" not in members
    assert ("output" in told["checks"]["a"][0]) is (status != "pass")


def test_what_the_service_says_of_itself() -> None:
    """H04, H05: strings, and an object of URIs."""
    app = make_app(
        "shop",
        HEALTH_DETAILS="always",
        HEALTH_VERSION="1.2.2",
        HEALTH_LINKS={"about": "https://example.com/about"},
    )
    HealthCheck(app).start(wait=True)
    told = json.loads(call(app, QUERY_STRING="format=json").body)
    assert (told["version"], told["releaseId"], told["serviceId"]) == ("1", "1.2.2", "shop")
    assert told["links"] == {"about": "https://example.com/about"}
    assert "description" not in told


# Where we differ, and what we do instead


def test_how_we_differ() -> None:
    """What `docs/conformance.md` says of A09, C03, H10 and H11."""
    service = bad_one()
    assert Service(a="FATAL").statuses() == {"a": "pass"}
    for query in ("", "verbose", "format=json"):
        answer = service.get("", query)
        assert answer.code == 503
        assert b"ping" not in answer.body and b"bad" not in answer.body
    assert (service.get("/live").code, service.get("/startup").code) == (200, 200)
    unstarted = Service(start=False)
    for probe, says in (("live", True), ("ready", True), ("startup", False)):
        unstarted.add(f"of-{probe}", says, probes=(probe,))
    unstarted.health.start(wait=True)
    codes = [unstarted.get(path).code for path in ("/live", "/ready", "/startup", "")]
    assert codes == [200, 503, 503, 503]
