"""What probers make of our answers: small models of seven of them, and every state of ours.

Each model takes an answer and says whether that prober counts it as healthy. With a default
configuration, unless its docstring says otherwise; how often it has to be so is not modelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.checking import Told
from support.local import DEADLINE, Answer, Blocked, call, make_app

from flask_health import Degraded, HealthCheck

Prober = Callable[[Answer], bool]
Request = dict[str, Any]


def kubelet(answer: Answer) -> bool:
    """An httpGet probe: 200 to 399; a redirect to another host would be a warning, and healthy."""
    return 200 <= answer.code < 400


def envoy(answer: Answer) -> bool:
    """An HTTP health check without `expected_statuses`: 200, and nothing else.

    `x-envoy-immediate-health-check-fail` takes a host out whatever the code is.
    """
    immediate = "x-envoy-immediate-health-check-fail"
    return answer.code == 200 and immediate not in {name.lower() for name in answer.headers}


def haproxy(answer: Answer) -> bool:
    """`option httpchk` without `http-check expect`: 2xx and 3xx."""
    return answer.code // 100 in (2, 3)


def nginx(answer: Answer) -> bool:
    """`health_check` of NGINX Plus without `match`: 2xx and 3xx."""
    return 200 <= answer.code < 400


def nginx_matching(answer: Answer) -> bool:
    """`health_check match=` with `status 200; header Content-Type ~ text; body ~ "^ok$"`."""
    kind = answer.headers.get("Content-Type", "")
    return answer.code == 200 and "text" in kind and answer.body == b"ok"


def alb(answer: Answer) -> bool:
    """A target group of an AWS ALB with the default matcher: 200."""
    return answer.code == 200


def consul(answer: Answer) -> bool:
    """An HTTP check: 2xx passes, 429 warns, anything else is critical. Passing is healthy."""
    return answer.code // 100 == 2


def docker(answer: Answer) -> bool:
    """`HEALTHCHECK CMD curl -f URL || exit 1`: curl fails from 400 on, and follows no redirect."""
    return answer.code < 400


def systemctl(answer: Answer) -> bool:
    """A script that wants the word: `[ "$(curl -s URL)" = ok ]`."""
    return answer.body == b"ok"


ZOO: list[Prober] = [
    kubelet,
    envoy,
    haproxy,
    nginx,
    nginx_matching,
    alb,
    consul,
    docker,
    systemctl,
]

HOW: dict[Prober, Request] = {
    kubelet: {
        "HTTP_USER_AGENT": "kube-probe/1.35",
        "HTTP_ACCEPT": "*/*",
        "HTTP_HOST": "10.0.0.9:80",
    },
    envoy: {"HTTP_USER_AGENT": "Envoy/HC", "HTTP_HOST": "shop_cluster"},
    haproxy: {"SERVER_PROTOCOL": "HTTP/1.0", "HTTP_HOST": ""},
    nginx: {"HTTP_HOST": "backend", "HTTP_CONNECTION": "close"},
    nginx_matching: {"HTTP_HOST": "backend", "HTTP_CONNECTION": "close"},
    alb: {"HTTP_USER_AGENT": "ELB-HealthChecker/2.0", "HTTP_HOST": "10.0.0.9"},
    consul: {"HTTP_USER_AGENT": "Consul Health Check", "HTTP_ACCEPT": "text/plain, text/*, */*"},
    docker: {"HTTP_USER_AGENT": "curl/8.14.1", "HTTP_ACCEPT": "*/*", "HTTP_HOST": "localhost:8000"},
    systemctl: {"HTTP_USER_AGENT": "curl/8.14.1", "HTTP_ACCEPT": "*/*"},
}
"""What each of them sends."""

KINDS: dict[Prober, tuple[str, ...]] = {
    haproxy: ("GET", "HEAD", "OPTIONS"),
    consul: ("GET", "HEAD"),
    docker: ("GET", "HEAD"),
    kubelet: ("GET",),
}
"""The methods that can be configured, where that is more than GET; HAProxy's own is OPTIONS."""


@dataclass
class State:
    """A state of a service, and which of its four probes are to be judged healthy in it."""

    health: bool
    live: bool
    startup: bool
    make: Callable[[HealthCheck], Blocked | None]

    def healthy(self, path: str) -> bool:
        """Whether the probe at a path is to be judged healthy."""
        probe = path.rpartition("/")[2]
        return {"live": self.live, "startup": self.startup}.get(probe, self.health)


def _begun(start: bool) -> Callable[[HealthCheck], Blocked]:
    def make(health: HealthCheck) -> Blocked:
        blocked = Blocked()
        health.setup(blocked)
        if start:
            health.start()
        return blocked

    return make


def _started(says: object = None, **options: Any) -> Callable[[HealthCheck], None]:
    def make(health: HealthCheck) -> None:
        health.add_check("database", Told(says), **options)
        health.start(wait=True)

    return make


def _failed(health: HealthCheck) -> None:
    health.setup(name="fails", retries=0)(lambda: 1 / 0)
    health.start()
    health.gate.settle(DEADLINE)


STATES = {
    "new": State(False, True, False, _begun(start=False)),
    "starting": State(False, True, False, _begun(start=True)),
    "setup failed": State(False, True, False, _failed),
    "ready, no checks": State(True, True, True, lambda health: health.start(wait=True)),
    "ready": State(True, True, True, _started()),
    "warn": State(True, True, True, _started(Degraded("slow"))),
    "optional check failing": State(True, True, True, _started(False, critical=False)),
    "check failing": State(False, True, True, _started(OSError("no"))),
    "live failing": State(False, False, True, _started(OSError("no"), probes=("live",))),
    "startup pending": State(False, True, False, _started(OSError("no"), probes=("startup",))),
    "all failing": State(
        False, False, False, _started(OSError("no"), probes=("live", "ready", "startup"))
    ),
}
PATHS = ("/health", "/health/live", "/health/ready", "/health/startup")


@pytest.fixture(scope="module", params=list(STATES))
def state(request: pytest.FixtureRequest) -> Iterator[tuple[State, Any]]:
    """A state, and an app that is in it and stays there."""
    found = STATES[request.param]
    app = make_app(HEALTH_TOKEN="key", HEALTH_GATE_TIMEOUT=0)
    blocked = found.make(HealthCheck(app))
    yield found, app
    if blocked:
        blocked.go.set()


@pytest.mark.parametrize("prober", ZOO, ids=lambda prober: prober.__name__)
def test_every_state_is_judged_right(prober: Prober, state: tuple[State, Any]) -> None:
    """By its plain request to each probe, with and without a slash at the end."""
    found, app = state
    for path in PATHS:
        for url in (path, f"{path}/"):
            assert prober(call(app, url, **HOW[prober])) is found.healthy(path), url


@pytest.mark.parametrize("prober", KINDS, ids=lambda prober: prober.__name__)
def test_other_methods_are_judged_right(prober: Prober, state: tuple[State, Any]) -> None:
    """HEAD is judged as GET; what is not allowed is never judged healthy."""
    found, app = state
    for path in PATHS:
        for method in (*KINDS[prober], "POST", "PUT", "OPTIONS"):
            healthy = found.healthy(path) and method in ("GET", "HEAD")
            assert prober(call(app, path, method, **HOW[prober])) is healthy, (path, method)


@pytest.mark.parametrize("prober", ZOO, ids=lambda prober: prober.__name__)
def test_an_unknown_path_is_never_healthy(prober: Prober, state: tuple[State, Any]) -> None:
    """A typo in a configuration shows at once."""
    _, app = state
    for path in ("/healthz", "/health/raedy", "/health/ready/nope", "/health/live/database", "/"):
        assert not prober(call(app, path, **HOW[prober])), path


@pytest.mark.parametrize(
    "prober", [p for p in ZOO if p not in (nginx_matching, systemctl)], ids=lambda p: p.__name__
)
@pytest.mark.parametrize("query", ["verbose", "format=json", "verbose&exclude=database", "t=17"])
def test_every_form_is_judged_right(prober: Prober, query: str, state: tuple[State, Any]) -> None:
    """Whatever form was asked for, by a stranger and with a wrong key."""
    found, app = state
    for path in PATHS:
        for key in ({}, {"HTTP_AUTHORIZATION": "Bearer wrong"}):
            answer = call(app, path, QUERY_STRING=query, **HOW[prober], **key)
            assert prober(answer) is found.healthy(path), (path, query)


def test_a_passive_nginx_passes_our_refusals_on(state: tuple[State, Any]) -> None:
    """`proxy_next_upstream error timeout` (the default of open source NGINX) looks at no code:
    a probe that is forwarded gets ours. With `http_503` it would ask another server.
    """
    found, app = state
    for path in PATHS:
        code = call(app, path).code
        assert (code in (500, 502, 504), code == 503) == (False, not found.healthy(path))


def test_health_and_ready_are_judged_alike(state: tuple[State, Any]) -> None:
    """To the letter: the same code, the same word."""
    _, app = state
    assert call(app, "/health") == call(app, "/health/ready")


def test_json_says_what_the_code_says(state: tuple[State, Any]) -> None:
    """For readers of bodies: fail with 503, pass and warn with 200."""
    _, app = state
    for path in PATHS:
        answer = call(app, path, QUERY_STRING="format=json", HTTP_AUTHORIZATION="Bearer key")
        assert (json.loads(answer.body)["status"] == "fail") is (answer.code == 503)
