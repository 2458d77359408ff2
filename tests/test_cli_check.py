"""`check` over HTTP: exit statuses and words for every answer."""

from __future__ import annotations

import json
import time

import pytest
from support.answering import Act, answering, hangs, says
from support.commands import Ran, ran
from support.environment import free_port

READY = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
NOT_READY = says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nnot ready")


def health(status: str, **details: object) -> Act:
    """Answer in JSON; with details when there are any."""
    code = {"pass": "200 OK", "warn": "200 OK", "fail": "503 Service Unavailable"}[status]
    body = json.dumps({"status": status, **details}).encode()
    head = f"HTTP/1.1 {code}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return says(head + body)


def check(act: Act, *words: str) -> Ran:
    """Check a server that answers so; `%` in the output stands for its port."""
    with answering(act) as (port, _):
        done = ran("check", f":{port}", *words)
    return Ran(done.code, done.out.replace(str(port), "%"), done.err.replace(str(port), "%"))


@pytest.mark.parametrize(
    ("act", "code", "said"),
    [
        (READY, 0, "ok: http://127.0.0.1:%/health answered 200\n"),
        (health("warn"), 0, "ok: http://127.0.0.1:%/health answered 200\n"),
        (NOT_READY, 1, "not ready: http://127.0.0.1:%/health answered 503\n"),
        (
            says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            1,
            "not ready: http://127.0.0.1:%/health answered 404\n",
        ),
        (
            says(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"),
            1,
            "not ready: http://127.0.0.1:%/health answered 302, a redirection to /login\n",
        ),
        (says(b""), 1, "unreachable: http://127.0.0.1:%/health: the connection was closed\n"),
    ],
)
def test_the_exit_status_is_the_verdict(act: Act, code: int, said: str) -> None:
    """G01: 0 for pass and warn, 1 for fail and for nobody there, and one line that says why."""
    assert check(act) == Ran(code, said, "")


@pytest.mark.parametrize("act", [READY, NOT_READY, hangs, says(b"no HTTP")])
@pytest.mark.parametrize("probe", ["health", "live", "ready", "startup"])
def test_two_is_never_the_exit_status(act: Act, probe: str) -> None:
    """G01: Docker reserves 2."""
    assert check(act, "--probe", probe, "--timeout", "0.2").code in (0, 1)


def test_a_server_that_is_down_or_hangs() -> None:
    """G03: not zero, within the timeout."""
    began = time.monotonic()
    down = ran("check", f":{free_port()}")
    assert down.code == 1
    assert down.out.endswith("connection refused\n")
    hung = check(hangs, "--timeout", "0.5")
    assert hung.code == 1
    assert hung.out == "unreachable: http://127.0.0.1:%/health: no answer within 0.5 s\n"
    assert time.monotonic() - began < 4.0


@pytest.mark.parametrize("alive", [4, [4], [{"pid": 1, "state": "up", "steps": 4}]])
def test_waiting_for_another_program(alive: object) -> None:
    """Its JSON may have our words in it, and mean something else."""
    with answering(health("fail", workers={"alive": alive})) as (port, _):
        done = ran("wait", f":{port}", "--timeout", "0.2", "--token", "geheim")
    assert done.code == 1
    assert done.out.endswith("/health/ready answered 503\n")


@pytest.mark.parametrize(
    "words",
    [
        ["check", "host"],
        ["check", ":80", ":81"],
        ["check", ":80", "--probe", "dead"],
        ["check", ":80", "--timeout", "soon"],
        ["check", ":80", "--state"],
        ["check", ":80", "--pid", "1"],
        ["check", ":80", "--app", "shop"],
        ["check", "--state", "/nowhere"],
        ["check", "--nonsense"],
        ["nonsense"],
        [],
    ],
)
def test_wrong_use_is_told_apart(words: list[str]) -> None:
    """G04: 3, which is no verdict."""
    done = ran(*words)
    assert done.code == 3
    assert done.err or not words


@pytest.mark.parametrize(
    ("act", "code", "said"),
    [
        (health("pass"), 0, "HEALTH OK - ok: http://127.0.0.1:%/health answered 200\n"),
        (READY, 0, "HEALTH OK - ok: http://127.0.0.1:%/health answered 200\n"),
        (
            health("warn", output="cache: slow|\nvery"),
            1,
            "HEALTH WARNING - ok: http://127.0.0.1:%/health answered 200: cache: slow/ very\n",
        ),
        (
            health("fail", output="database: gone"),
            2,
            "HEALTH CRITICAL - not ready: http://127.0.0.1:%/health answered 503: database: gone\n",
        ),
        (
            says(b""),
            2,
            "HEALTH CRITICAL - unreachable: http://127.0.0.1:%/health: the connection was closed\n",
        ),
    ],
)
def test_nagios_is_answered_in_its_own_way(act: Act, code: int, said: str) -> None:
    """0, 1, 2, and one line without a bar: what follows one are figures."""
    assert check(act, "--nagios") == Ran(code, said, "")


def test_nagios_is_told_of_wrong_use() -> None:
    """3 is its UNKNOWN."""
    assert ran("check", ":80", "--nagios", "--timeout", "x").code == 3


DETAILS = {"gate": {"state": "open"}, "releaseId": "1.10"}


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--nagios"],
        ["check", "--expect-version", "1.10"],
        ["wait", "--timeout", "0.2", "--token", "geheim"],
    ],
)
def test_four_kilobytes_are_enough(words: list[str]) -> None:
    """However many checks fail with whatever reasons; the verdict is what comes first."""
    with answering(health("fail", output="database: é" * 900, **DETAILS)) as (port, _):
        done = ran(*words, f":{port}")
    assert len(done.out.encode()) <= 4096
    assert "not ready: " in done.out[:30]
    assert "database: édatabase: é" in done.out


@pytest.mark.parametrize(
    ("act", "code", "said"),
    [
        (health("pass", **DETAILS), 0, "ok: http://127.0.0.1:%/health answered 200\n"),
        (
            health("pass", **DETAILS | {"releaseId": "1.1"}),
            1,
            "not ready: http://127.0.0.1:%/health: the version is 1.1, not 1.10\n",
        ),
        (
            health("pass", gate={"state": "open"}),
            1,
            "not ready: http://127.0.0.1:%/health: no version is told, not 1.10\n",
        ),
        (health("fail", **DETAILS), 1, "not ready: http://127.0.0.1:%/health answered 503\n"),
        (
            says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            1,
            "not ready: http://127.0.0.1:%/health answered 404\n",
        ),
    ],
)
def test_a_version_is_expected(act: Act, code: int, said: str) -> None:
    """The very same text: 1.1 is not 1.10."""
    assert check(act, "--expect-version", "1.10") == Ran(code, said, "")


def test_a_version_that_is_hidden_is_asked_for() -> None:
    """The message names what shows it."""
    done = check(health("pass"), "--expect-version", "1.10")
    assert done.code == 3
    assert not done.out
    assert "--token or FLASK_HEALTH_TOKEN" in done.err


def test_the_token_is_sent_for_details_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the option or the environment; a plain probe needs none."""
    monkeypatch.setenv("FLASK_HEALTH_TOKEN", "geheim")
    with answering(health("pass", **DETAILS)) as (port, requests):
        ran("check", f":{port}")
        ran("check", f":{port}", "--nagios")
        ran("check", f":{port}", "--nagios", "--token", "other")
    assert b"Authorization" not in requests[0]
    assert b"\r\nAuthorization: Bearer geheim\r\n" in requests[1]
    assert b"\r\nAuthorization: Bearer other\r\n" in requests[2]
