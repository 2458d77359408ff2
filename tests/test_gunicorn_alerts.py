"""A webhook is told once for a server of four workers, whatever happens to them."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.statedir import remove
from support.waiting import eventually
from support.webhook import Webhook, answer

BRISK = {"APART": 0.5, "INTERVAL": 0.2, "RETRY_INTERVAL": 0.1}


def start(serve: Serve, hook: Webhook, **env: object) -> Gunicorn:
    """A ready server that tells a webhook."""
    server = serve(
        "alerted:app", workers=4, env={"FLASK_HEALTH_WEBHOOK_URL": hook.url, **BRISK, **env}
    )
    server.answers(200)
    return server


def teller(server: Gunicorn) -> int:
    """Wait for the worker that holds the lock; return it."""

    def holders() -> list[int]:
        return [
            pid
            for pid in server.workers()
            if any(path.endswith("/alerts") for path in processes.locks(pid))
        ]

    return eventually(holders, lambda found: len(found) == 1, why="one worker tells")[0]


def brief(messages: list[Any]) -> list[tuple[str, str]]:
    """What messages come down to."""
    return [(m["component"], m["status"]) for m in messages]


def settles(server: Gunicorn) -> None:
    """Wait until nothing more can come: for two looks of who tells, and the pause of a check."""

    def runs() -> int:
        return len(server.stage.facts("database") + server.stage.facts("own"))

    goal = runs() + 14
    eventually(runs, lambda number: number >= goal, why="the check runs on")


def test_each_change_is_told_once(serve: Serve) -> None:
    """By one of four workers (E10), which need not be the one that runs the check."""
    with Webhook() as hook:
        server = start(serve, hook)
        for number in range(2):
            server.stage.order("fail")
            hook.takes(2 * number + 1)
            server.stage.withdraw("fail")
            hook.takes(2 * number + 2)
        settles(server)
        assert {m["pid"] for m in hook.got} == {teller(server)}
    assert brief(hook.got) == [("database", "fail"), ("database", "pass")] * 2
    assert {m["service"] for m in hook.got} == {"checked"}


def test_who_tells_may_die(serve: Serve) -> None:
    """Another worker goes on from there: nothing is told twice, nothing is lost."""
    with Webhook() as hook:
        server = start(serve, hook)
        server.stage.order("fail")
        hook.takes(1)
        first = teller(server)
        server.kill(first)
        second = teller(server)
        assert second != first
        settles(server)
        assert brief(hook.got) == [("database", "fail")]
        server.stage.withdraw("fail")
        hook.takes(2)
        settles(server)
    assert brief(hook.got) == [("database", "fail"), ("database", "pass")]
    assert hook.got[1]["pid"] == second


def test_what_waits_outlives_who_was_to_send_it(serve: Serve) -> None:
    """A receiver that is down for a moment, while the worker that tells is killed."""
    with Webhook(*[answer(503)] * 2) as hook:
        server = start(serve, hook)
        first = teller(server)
        server.stage.order("fail")
        eventually(lambda: hook.requests)
        server.kill(first)
        [message] = hook.takes(1)
        settles(server)
    assert brief(hook.got) == [("database", "fail")]
    assert message["pid"] != first


def test_a_flapping_check_sends_little(serve: Serve) -> None:
    """At least APART seconds lie between two messages about it."""
    with Webhook() as hook:
        server = start(serve, hook, APART=2)
        deadline = time.monotonic() + 6.0
        while time.monotonic() < deadline:
            server.stage.order("fail")
            server.answers(503)
            server.stage.withdraw("fail")
            server.answers(200)
        eventually(lambda: hook.got[-1]["status"], lambda status: status == "pass")
        assert 3 <= len(hook.got) <= 6
        assert sum(m["left_out"] for m in hook.got) >= 3


def test_a_worker_s_own_check_is_told_of_that_worker(serve: Serve) -> None:
    """With its process id, once, although another one tells; and the workers are in trouble."""
    with Webhook() as hook:
        server = start(serve, hook, CHECKS="own")
        victim = next(pid for pid in server.workers() if pid != teller(server))
        server.stage.order(f"own.{victim}")
        hook.takes(2)
        server.stage.withdraw(f"own.{victim}")
        hook.takes(4)
        settles(server)
    own = [m for m in hook.got if m["component"] == "own"]
    assert [(m["pid"], m["status"]) for m in own] == [(victim, "fail"), (victim, "pass")]
    workers = [m for m in hook.got if m["component"] == "workers"]
    assert [m["status"] for m in workers] == ["warn", "pass"]
    assert workers[0]["output"] == f"failed: worker {victim}"


def test_setup_that_fails_is_told_once(serve: Serve, tmp_path: Path) -> None:
    """Although four workers fail; and that the gate opens in the end."""
    stage = Stage(tmp_path / "stage", "raise")
    with Webhook() as hook:
        env = {"FLASK_HEALTH_WEBHOOK_URL": hook.url, **BRISK}
        server = serve("alerted:app", workers=4, env=env, stage=stage)
        [failed] = hook.takes(1)
        server.has_markers(4, "failed")
        stage.withdraw("raise")
        server.answers(200)
        hook.takes(2)
        settles(server)
    assert brief(hook.got) == [("gate", "fail"), ("gate", "pass")]
    assert failed["output"]


def test_a_state_directory_that_vanishes_silences_nobody(serve: Serve) -> None:
    """It is made anew, and so is the lock of who tells."""
    with Webhook() as hook:
        server = start(serve, hook)
        teller(server)
        for directory in list(server.state.iterdir()):
            remove(directory)
        server.has_markers(4)
        teller(server)
        server.answers(200)
        server.stage.order("fail")
        hook.takes(1)
        settles(server)
    assert brief(hook.got) == [("database", "fail")]


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_done_on_purpose_is_not_told(serve: Serve, order: signal.Signals) -> None:
    """A start, a reload, a stop."""
    with Webhook() as hook:
        server = start(serve, hook)
        old = server.workers()
        teller(server)
        server.signal(order)
        if order is signal.SIGHUP:
            eventually(lambda: not set(old) & set(server.workers()))
            teller(server)
            settles(server)
        else:
            assert server.wait() == 0
    assert not hook.requests
