"""Who may see details, what is in them, and what never is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
from flask import Flask, Request, abort, request, session
from support.local import DEADLINE, Answer, Blocked, call, make_app

from flask_health import HealthCheck
from flask_health.web import about

ASKED = {"HTTP_ACCEPT": "application/health+json"}
TOKEN = "s3cret token"


def basic(user: str, password: str) -> str:
    """The value of a Basic `Authorization` header, as curl makes it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def as_wsgi(value: str) -> str:
    """A header's value as a server hands it on: its bytes read as Latin-1."""
    return value.encode().decode("latin-1")


def details(app: Flask, authorization: str | None = None, path: str = "/health") -> Answer:
    """Ask for details."""
    more = {} if authorization is None else {"HTTP_AUTHORIZATION": as_wsgi(authorization)}
    return call(app, path, **ASKED, **more)


def are_shown(answer: Answer) -> bool:
    """Whether an answer tells more than its status."""
    members = json.loads(answer.body)
    if set(members) == {"status"}:
        return False
    assert {"status", "checks", "gate", "workers"} <= set(members)
    return True


def wired(setup: Callable[[], object] | None = None, **config: object) -> tuple[Flask, HealthCheck]:
    """An app that is wired with this configuration."""
    app = make_app(**config)
    return app, HealthCheck(app, setup=setup)


# The rule


@pytest.mark.parametrize(
    ("rule", "token", "debug", "given", "shown"),
    [
        ("never", TOKEN, True, TOKEN, False),
        ("never", None, True, None, False),
        ("always", None, False, None, True),
        ("always", TOKEN, False, "wrong", True),
        ("authorized", None, False, None, False),
        ("authorized", None, False, TOKEN, False),
        ("authorized", None, True, None, True),
        ("authorized", TOKEN, False, None, False),
        ("authorized", TOKEN, False, "wrong", False),
        ("authorized", TOKEN, False, TOKEN, True),
        ("authorized", TOKEN, True, None, False),  # a token is asked for in debug mode as well
        ("authorized", TOKEN, True, TOKEN, True),
    ],
)
def test_details_go_to_those_who_may_see_them(
    rule: str, token: str | None, debug: bool, given: str | None, shown: bool
) -> None:
    """`never`, `always`, or the token; in debug mode everybody where nothing is asked for
    (C12, C13).
    """
    app, _ = wired(HEALTH_DETAILS=rule, HEALTH_TOKEN=token)
    app.debug = debug
    authorization = None if given is None else f"Bearer {given}"
    assert are_shown(details(app, authorization)) is shown


@pytest.mark.parametrize("token", ["plain", "s3cret token", "pä§wört✓", "a:b:c", "x" * 500])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "basic"])
def test_a_token_opens_the_details(token: str, scheme: str) -> None:
    """As a bearer token or as a basic password with any user, also where it is not ASCII."""
    app, _ = wired(HEALTH_TOKEN=token)
    users = ["", "admin", "ü"]
    headers = [basic(u, token) for u in users] if scheme == "basic" else [f"{scheme} {token}"]
    for header in headers:
        assert are_shown(details(app, header))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer s3cret toke",
        "Bearer s3cret token2",
        "Bearer S3CRET TOKEN",
        "bearers3cret token",
        "s3cret token",
        "Token s3cret token",
        "Digest s3cret token",
        "Basic",
        "Basic !!!",
        "Basic s3cret token",
        "Basic =",
        "Bearer é✓",
        basic("s3cret token", ""),
        basic("admin", "wrong"),
        "Basic " + base64.b64encode(b"s3cret token").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff\xfe").decode(),
    ],
)
@pytest.mark.parametrize("healthy", [True, False])
def test_wrong_credentials_only_hide_the_details(authorization: str, healthy: bool) -> None:
    """The code stays what it is, there is no 401 and no challenge (C16)."""
    blocked = Blocked()
    app, health = wired(blocked, HEALTH_TOKEN=TOKEN)
    if healthy:
        blocked.go.set()
        health.start(wait=True)
    answer, right = details(app, authorization), details(app, f"Bearer {TOKEN}")
    assert answer.code == right.code == (200 if healthy else 503)
    assert not are_shown(answer)
    assert are_shown(right)
    assert "WWW-Authenticate" not in answer.headers
    blocked.go.set()


def test_a_proxy_on_the_same_host_proves_nothing() -> None:
    """A loopback address shows nobody anything."""
    app, _ = wired()
    assert not are_shown(call(app, **ASKED, REMOTE_ADDR="127.0.0.1"))


# A function that authorizes


def test_a_function_may_authorize() -> None:
    """It is given the request, and its answer counts as true or false."""
    app, health = wired()
    seen: list[str] = []

    @health.authorize
    def may_see(given: Request) -> Any:
        seen.append(given.path)
        return given.headers.get("X-Team") == "ops" and "yes"

    assert not are_shown(call(app, **ASKED))
    assert are_shown(call(app, **ASKED, HTTP_X_TEAM="ops"))
    assert seen == ["/health", "/health"]
    assert may_see.__name__ == "may_see"


def test_a_function_may_look_at_the_session() -> None:
    """It runs in a request context of its own; nothing of it reaches the answer."""
    app, health = wired(SECRET_KEY="key")
    app.add_url_rule("/login", "login", lambda: session.update(user="ann") or "in")
    health.authorize(lambda request: session.get("user") == "ann")
    client = app.test_client()
    assert set(client.get("/health?format=json").get_json(force=True)) == {"status"}
    client.get("/login")
    answer = client.get("/health?format=json")
    assert "gate" in answer.get_json(force=True)
    assert "Set-Cookie" not in answer.headers


def refuses(request: Request) -> bool:
    abort(401)


def breaks(request: Request) -> bool:
    raise ConnectionError("no database")


@pytest.mark.parametrize("broken", [refuses, breaks])
def test_a_function_that_raises_authorizes_nobody(
    broken: Callable[[Request], bool], caplog: pytest.LogCaptureFixture
) -> None:
    """The code stays, the details stay hidden, and the log says so once."""
    app, health = wired()
    health.authorize(broken)
    for _ in range(3):
        answer = details(app)
        assert answer.code == 200
        assert not are_shown(answer)
    assert ["authorizes details raised" in record.getMessage() for record in caplog.records] == [
        True
    ]


def test_an_async_function_is_awaited() -> None:
    """A coroutine is true whatever it would say: it is not taken for an answer."""
    app, health = wired()

    @health.authorize
    async def may_see(request: Request) -> bool:
        return request.headers.get("X-Team") == "ops"

    assert not are_shown(call(app, **ASKED))
    assert are_shown(call(app, **ASKED, HTTP_X_TEAM="ops"))


class AsyncRule:
    """A rule whose call is async, which no inspection of functions shows."""

    async def __call__(self, request: Request) -> bool:
        """Nobody."""
        return False


def test_a_hidden_coroutine_authorizes_nobody() -> None:
    """A rule that only hands out a coroutine has not decided anything."""
    app, health = wired()
    health.authorize(AsyncRule())
    assert not are_shown(call(app, **ASKED))


def test_a_token_and_a_function_are_alternatives() -> None:
    """Either opens the details."""
    app, health = wired(HEALTH_TOKEN=TOKEN)
    health.authorize(lambda request: request.headers.get("X-Team") == "ops")
    assert are_shown(details(app, f"Bearer {TOKEN}"))
    assert are_shown(call(app, **ASKED, HTTP_X_TEAM="ops"))
    assert not are_shown(details(app, "Bearer wrong"))


def test_a_function_is_not_asked_for_a_plain_probe() -> None:
    """Two words need no permission."""
    app, health = wired()
    health.authorize(breaks)
    assert call(app).word == (200, "ok")
    assert call(app, "/health", "HEAD").code == 200
    assert call(app, "/health", QUERY_STRING="verbose").code == 200


def test_a_restricted_host_may_still_see_details() -> None:
    """A token works through any host name."""
    app, _ = wired(HEALTH_TOKEN=TOKEN, TRUSTED_HOSTS=["www.example"], SERVER_NAME="www.example")
    answer = call(app, **ASKED, HTTP_HOST="10.0.0.9", HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    assert are_shown(answer)


def test_only_functions_authorize() -> None:
    """Anything else is refused at its line."""
    with pytest.raises(TypeError, match="function of the request, not 'token'"):
        HealthCheck().authorize("token")  # type: ignore[type-var]


# What is in them


def shown(app: Flask, path: str = "/health") -> dict[str, Any]:
    """The members of a detailed answer."""
    found: dict[str, Any] = json.loads(details(app, path=path).body)
    return found


def test_a_healthy_answer_complains_of_nothing() -> None:
    """No `output`, no `affectedEndpoints`, no `notes`; no checks are registered (H02, A01)."""
    app, health = wired(lambda: None, HEALTH_DETAILS="always")
    health.start(wait=True)
    members = shown(app)
    assert members["status"] == "pass"
    assert not {"output", "affectedEndpoints", "notes"} & set(members)
    assert members["checks"] == {}
    assert members["gate"] == {
        "state": "open",
        "steps": [{"name": "setup", "scope": "worker", "state": "done"}],
    }
    assert members["workers"] == {"state": "local", "expected": 1, "alive": []}


def test_a_running_step_is_named() -> None:
    """With how far it has come (F05)."""
    blocked = Blocked()
    app, health = wired(HEALTH_DETAILS="always")

    @health.setup(name="load-model")
    def load() -> None:
        health.progress(0.25, "layer 1 of 4")
        blocked()

    assert call(app).code == 503
    assert blocked.begun.wait(DEADLINE)
    answer = details(app, path="/health/ready")
    assert answer.code == 503
    members = json.loads(answer.body)
    assert members["output"] == "setup step 'load-model' not finished"
    assert members["gate"]["steps"] == [
        {
            "name": "load-model",
            "scope": "worker",
            "state": "running",
            "fraction": 0.25,
            "note": "layer 1 of 4",
        }
    ]
    blocked.go.set()


def test_a_failed_step_says_why() -> None:
    """To those who may see it."""

    def fail() -> None:
        raise LookupError("no model for Grüße ✓")

    app, health = wired(fail, TESTING=True, HEALTH_DETAILS="always")
    with pytest.raises(LookupError):
        health.start(wait=True)
    members = shown(app)
    assert members["status"] == "fail"
    assert members["output"] == "setup step 'fail' failed: no model for Grüße ✓"
    assert members["gate"]["state"] == "failed"
    assert members["gate"]["steps"][0]["error"] == "no model for Grüße ✓"


def test_the_service_describes_itself() -> None:
    """Version and release are texts, links are texts to texts (H04, H05)."""
    links = {"about": "https://docs.example/", "self": "https://svc.example/health"}
    app, _ = wired(
        HEALTH_DETAILS="always",
        HEALTH_VERSION="1.2.2",
        HEALTH_SERVICE="svc-7",
        HEALTH_DESCRIPTION="Searches things",
        HEALTH_LINKS=links,
    )
    members = shown(app)
    assert members["version"] == "1"
    assert members["releaseId"] == "1.2.2"
    assert members["serviceId"] == "svc-7"
    assert members["description"] == "Searches things"
    assert members["links"] == links


def test_theinstalled_version_is_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the distribution that the app's package is named like; else there is none."""
    about.installed_version.cache_clear()
    monkeypatch.setattr(metadata, "version", lambda name: {"local": "3.10.4"}[name])
    app, _ = wired(HEALTH_DETAILS="always")
    members = shown(app)
    assert (members["releaseId"], members["version"]) == ("3.10.4", "3")
    assert members["serviceId"] == "local"
    about.installed_version.cache_clear()


def test_without_a_version_there_is_none() -> None:
    """A member that says nothing is left out."""
    app = Flask("no_such_distribution")
    app.config["HEALTH_DETAILS"] = "always"
    HealthCheck(app)
    assert not {"version", "releaseId", "description", "links", "notes"} & set(shown(app))


def test_the_token_is_in_no_answer() -> None:
    """Not even for those who know it."""
    app, _ = wired(HEALTH_TOKEN=TOKEN)
    answer = details(app, f"Bearer {TOKEN}")
    assert TOKEN.encode() not in answer.body
    assert TOKEN not in str(answer.headers)


def test_a_context_of_the_caller_is_left_alone() -> None:
    """A function that authorizes inside a view's own client call does not disturb that view."""
    app, health = wired()
    health.authorize(lambda given: given.path == "/health")

    @app.get("/outer")
    def outer() -> str:
        shown = are_shown(details(app))
        return f"{request.path} {shown}"

    assert call(app, "/outer").word == (200, "/outer True")
