"""Sending a message to receivers that take it, refuse it, fail, hang and redirect."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority
from support.environment import free_port
from support.webhook import Webhook, answer

from flask_health.alerts.message import compose
from flask_health.alerts.outbox import Edge, Waiting
from flask_health.alerts.post import Answer, post
from flask_health.model.status import Status

BODY = b'{"text": "hello"}'
PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL


def test_a_message_arrives() -> None:
    """As JSON, by POST, once."""
    with Webhook() as hook:
        assert post(hook.url, BODY) == Answer()
    [(path, headers, message)] = hook.requests
    assert (path, message) == ("/services/T1/s3cret", {"text": "hello"})
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "Flask-Health"
    assert "Authorization" not in headers


def test_credentials_in_the_url_are_sent_as_a_header() -> None:
    """Basic authentication; they are not part of the host's name."""
    with Webhook() as hook:
        assert post(hook.url.replace("//", "//us%40er:pa%3Ass@"), BODY) == Answer()
    assert hook.requests[0][1]["Authorization"] == "Basic dXNAZXI6cGE6c3M="


@pytest.mark.parametrize(
    ("code", "final"),
    [
        *((code, True) for code in (400, 403, 404, 410)),
        *((code, False) for code in (408, 429, 500, 502, 503)),
    ],
)
def test_a_refusal_is_final_and_a_failure_is_not(code: int, final: bool) -> None:
    """Another try of what is wrong comes to the same."""
    with Webhook(answer(code)) as hook:
        assert post(hook.url, BODY) == Answer(f"answered with {code}", final)
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("30", 30.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("x", 0.0)],
)
def test_a_receiver_may_ask_to_wait(given: str, seconds: float) -> None:
    """With a number of seconds; anything else is as if it had not asked."""
    with Webhook(answer(429, Retry_After=given)) as hook:
        assert post(hook.url, BODY).retry_after == seconds


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(code: int) -> None:
    """Neither elsewhere nor on the same host: nobody has chosen that place."""
    with Webhook() as elsewhere, Webhook(answer(code, Location=elsewhere.url)) as hook:
        assert post(hook.url, BODY) == Answer(f"{code}, a redirect, which is not followed", True)
    assert len(hook.requests) == 1
    assert not elsewhere.requests


def test_a_receiver_that_hangs_is_given_up() -> None:
    """After the timeout; it will be tried again."""
    with Webhook() as hook:
        hook.plan.append(hook.hang)
        assert post(hook.url, BODY, timeout=0.2) == Answer("timed out")


def test_a_receiver_that_is_away_is_tried_again() -> None:
    """Nobody listens; or it closes the connection."""
    assert post(f"http://127.0.0.1:{free_port()}/", BODY) == Answer("Connection refused")
    with Webhook() as hook:
        hook.plan.append(hook.cut)
        found = post(hook.url, BODY)
    assert found.why
    assert not found.final
    assert "s3cret" not in found.why


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver may be outside of what the service reaches by itself."""
    with Webhook() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.partition("/services")[0])
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert post("http://hooks.invalid/T1", BODY) == Answer()
    assert proxy.requests[0][0] == "http://hooks.invalid/T1"


class Secured(Webhook):
    """A receiver behind TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return super().url.replace("http:", "https:")


def test_the_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by an authority that is not trusted gets no message; one that is trusted does."""
    authority = Authority(tmp_path)
    with Secured(authority.server("127.0.0.1")) as hook:
        found = post(hook.url, BODY)
        assert "certificate verify failed" in found.why
        assert not hook.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert post(hook.url, BODY) == Answer()
    assert len(hook.requests) == 1


# What is in it


def edge(new: Status = FAIL, **members: Any) -> Edge:
    """A change with these members."""
    known: dict[str, Any] = {
        "component": "database",
        "worker": 0,
        "old": PASS if new is FAIL else FAIL,
        "new": new,
        "output": "OSError: no route",
        "failures": 3,
        "outage": 0.0,
        "time": 1790000000.25,
    }
    return Edge(**(known | members))


ABOUT = {"serviceId": "shop", "releaseId": "2.1.0"}


def composed(waiting: Waiting, about: dict[str, object] | None = None) -> Any:
    """What a receiver reads."""
    return json.loads(compose(waiting, ABOUT if about is None else about))


def test_a_message_says_what_who_and_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every member that its page tells of (E11)."""
    monkeypatch.setattr("socket.gethostname", lambda: "web-1")
    monkeypatch.setattr("os.getpid", lambda: 77)
    told = composed(Waiting(edge(PASS, outage=75.5, failures=4), left_out=2))
    assert told == {
        "text": "shop on web-1: database works again after 1 min 16 s (4 failures in a row);"
        " 2 changes before it left out",
        "service": "shop",
        "version": "2.1.0",
        "host": "web-1",
        "pid": 77,
        "component": "database",
        "status": "pass",
        "previous": "fail",
        "output": "OSError: no route",
        "failures": 4,
        "outage": 75.5,
        "left_out": 2,
        "time": "2026-09-21T14:13:20.250000+00:00",
    }
    page = (Path(__file__).parent.parent / "docs" / "alerts.md").read_text()
    first_cells = " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    assert [member for member in told if f"`{member}`" not in first_cells] == []


@pytest.mark.parametrize(
    ("waiting", "text"),
    [
        (Waiting(edge()), "database fails: OSError: no route (3 failures in a row)"),
        (Waiting(edge(failures=1)), "database fails: OSError: no route (1 failure in a row)"),
        (Waiting(edge(WARN, failures=0)), "database is degraded: OSError: no route"),
        (Waiting(edge(PASS, failures=0, output="")), "database works again"),
        (Waiting(edge(PASS, failures=0, outage=9.6)), "database works again after 10 s"),
        (Waiting(edge(PASS, failures=0, outage=8000.0)), "database works again after 2 h 13 min"),
        (Waiting(edge(worker=12, failures=0, output="")), "database of worker 12 fails"),
        (
            Waiting(edge(failures=0), left_out=1),
            "database fails: OSError: no route; 1 change before it left out",
        ),
        (
            Waiting(edge(failures=0, output="<!channel> & <@U1>")),
            "database fails: &lt;!channel&gt; &amp; &lt;@U1&gt;",
        ),
    ],
)
def test_the_text_is_for_people(waiting: Waiting, text: str) -> None:
    """One line; what a chat would take for a command is not one."""
    assert composed(waiting)["text"].partition(": ")[2] == text


def test_what_a_service_does_not_say_is_left_out() -> None:
    """It has no version, maybe; any text can be sent."""
    told = composed(Waiting(edge(output="\udcff")), {"serviceId": "ü"})
    assert "version" not in told
    assert told["service"] == "ü"
