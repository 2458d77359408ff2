"""Setup that raises, exits, hangs, or is told to stop."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from support import statedir
from support.gunicorn import Serve
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")


@pytest.mark.parametrize("how", ["raise", "exit"])
def test_setup_fails_in_all_workers(serve: Serve, tmp_path: Path, how: str) -> None:
    """The server stays up and not ready, tries again in the same workers, then opens."""
    stage = Stage(tmp_path / "stage", how)
    server = serve(stage=stage)
    server.has_markers(3, "failed")
    workers = server.workers()
    assert server.get().answer == NOT_READY
    assert server.get("/health/live").answer == OK
    assert server.get("/work").code == 503
    eventually(lambda: stage.pids("started"), lambda pids: len(pids) >= 6)
    stage.withdraw(how)
    server.answers(200)
    assert server.workers() == workers
    assert set(stage.pids("started")) == set(workers)
    assert "told to raise" in server.log() if how == "raise" else "SystemExit" in server.log()


def test_failure_is_retried_with_back_off(serve: Serve, tmp_path: Path) -> None:
    """The waits between attempts are 1 s, then 2 s, and the traceback is logged once."""
    stage = Stage(tmp_path / "stage", "raise")
    server = serve(workers=1, stage=stage)

    def attempt(number: int) -> float:
        eventually(lambda: len(stage.facts("started")), lambda count: count >= number)
        return time.monotonic()

    with server.prober("/health/live") as prober:
        first, second, third = attempt(1), attempt(2), attempt(3)
    assert 0.8 < second - first < 1.8 < third - second
    assert prober.codes() == {200}
    assert len(re.findall(r"^Traceback", server.log(), re.MULTILINE)) == 1


@pytest.mark.parametrize("how", ["raise", "exit"])
def test_setup_fails_in_one_replacement(serve: Serve, how: str) -> None:
    """Siblings serve on, the master lives, the failed worker serves nobody and tries again."""
    server = serve()
    server.answers(200)
    server.stage.order(how)
    with server.prober() as prober, server.load() as load:
        with prober.paused(), load.paused():
            failed = server.replaced()
        assert server.has_markers(1, "failed")[0].pid == failed
        load.sees(60)
        assert failed not in load.pids()
        server.stage.withdraw(how)
        assert failed in [m.pid for m in server.has_markers(3, "ready")]
    assert prober.codes() == {200}
    assert load.codes() == {200}
    assert not load.cold()
    assert server.exit_code() is None


def test_setup_hangs(serve: Serve, tmp_path: Path) -> None:
    """A step past its timeout is failed; if it ends well after all, its result counts."""
    stage = Stage(tmp_path / "stage", "hang")
    server = serve(stage=stage, env={"FLASK_HEALTH_SETUP_TIMEOUT": "0.5"})
    workers = [m.pid for m in server.has_markers(3, "failed")]
    assert server.get().answer == NOT_READY
    assert server.get("/health/live").answer == OK
    assert "timed out" in server.log()
    stage.withdraw("hang")
    server.answers(200)
    assert sorted(stage.pids("started")) == sorted(workers) == sorted(server.workers())


def test_setup_hangs_in_one_of_three(serve: Serve, tmp_path: Path) -> None:
    """At the first boot one worker that hangs keeps the gate closed, answered at once."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage, env={"FLASK_HEALTH_DETAILS": "always"})
    first = eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 3)
    stage.order(*(f"go.{pid}" for pid in first[:2]))
    server.has_markers(2, "ready")
    with server.prober() as prober:
        prober.sees(30)
    assert {seen.answer for seen in prober.seen} == {NOT_READY}
    assert prober.slowest() < 2.0
    told = server.get("/health?format=json").json()["workers"]
    assert told["expected"] == 3
    assert sorted(worker["state"] for worker in told["alive"]) == ["ready", "ready", "starting"]
    stage.withdraw("wait")
    server.answers(200)


def test_setup_hangs_in_one_replacement(serve: Serve) -> None:
    """Siblings serve while the replacement hangs, before and after its timeout."""
    server = serve(env={"FLASK_HEALTH_SETUP_TIMEOUT": "0.5"})
    server.answers(200)
    server.stage.order("hang")
    with server.prober() as prober, server.load() as load:
        with prober.paused(), load.paused():
            hanging = server.replaced()
        assert server.has_markers(1, "failed")[0].pid == hanging
        load.sees(60)
    assert prober.codes() == {200}
    assert load.codes() == {200}
    assert hanging not in load.pids()


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_term_during_setup(serve: Serve, tmp_path: Path, kind: str) -> None:
    """TERM while setup runs ends the server with status 0 and leaves no marker."""
    server = serve("served:app", "-k", kind, stage=Stage(tmp_path / "stage", "wait"))
    server.has_markers(3, "starting")
    assert server.stop() == 0
    assert not statedir.markers(server.state)
    assert not server.stage.pids("finished")
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_term_while_a_worker_is_held(serve: Serve, kind: str) -> None:
    """TERM while a replacement is held ends the server with status 0 and leaves no marker."""
    server = serve("served:app", "-k", kind)
    server.answers(200)
    server.stage.order("wait")
    server.replaced()
    server.has_markers(1, "starting")
    assert server.stop() == 0
    assert not statedir.markers(server.state)
    assert "Traceback" not in server.log()


def test_failure_before_opening_can_end_the_server(serve: Serve, tmp_path: Path) -> None:
    """With HEALTH_EXIT_ON_SETUP_FAILURE the master exits with a non-zero status, soon."""
    env = {"FLASK_HEALTH_EXIT_ON_SETUP_FAILURE": "true"}
    server = serve(stage=Stage(tmp_path / "stage", "raise"), env=env)
    assert server.wait(within=15.0) != 0
    assert len(server.stage.pids("started")) <= 3
    assert "told to raise" in server.log()


def test_failure_after_opening_ends_nothing(serve: Serve) -> None:
    """With HEALTH_EXIT_ON_SETUP_FAILURE an open server survives a replacement's failure."""
    server = serve(env={"FLASK_HEALTH_EXIT_ON_SETUP_FAILURE": "true"})
    server.answers(200)
    server.stage.order("raise")
    with server.prober() as prober:
        with prober.paused():
            failed = server.replaced()
        assert server.has_markers(1, "failed")[0].pid == failed
        eventually(lambda: server.stage.pids("started").count(failed), lambda n: n >= 2)
    assert prober.codes() == {200}
    assert server.exit_code() is None
