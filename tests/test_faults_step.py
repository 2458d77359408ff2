"""A step of `scope="server"`: one worker runs it for all."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.gunicorn import Serve
from support.stage import Stage
from support.waiting import eventually


def runner(stage: Stage, number: int) -> int:
    """Wait until the step has begun `number` times; return who began last."""
    return eventually(lambda: stage.pids("migrate.started"), lambda p: len(p) == number)[-1]


def test_one_worker_runs_it_for_all(serve: Serve, tmp_path: Path) -> None:
    """Four workers, one run; the others go on only when it has ended."""
    stage = Stage(tmp_path / "stage", "migrate.wait")
    server = serve("stepped:app", workers=4, stage=stage)
    server.has_markers(4, "starting")
    runner(stage, 1)
    assert not stage.pids("started")
    assert server.get().answer == (503, "not ready")
    stage.withdraw("migrate.wait")
    server.answers(200)
    assert len(stage.pids("migrate.started")) == 1
    assert sorted(stage.pids("started")) == sorted(server.workers())


def test_replacement_does_not_run_it_again(serve: Serve) -> None:
    """A worker that is forked later finds it done."""
    server = serve("stepped:app")
    server.answers(200)
    server.kill(*server.workers()[:2])
    server.has_markers(3, "ready")
    assert len(server.stage.pids("migrate.started")) == 1


def test_every_generation_runs_it(serve: Serve) -> None:
    """HUP may bring new code: the step runs once more, in one of the new workers."""
    server = serve("stepped:app")
    server.answers(200)
    old = server.workers()
    server.signal(signal.SIGHUP)
    again = runner(server.stage, 2)
    eventually(server.workers, lambda pids: len(pids) == 3 and not set(pids) & set(old))
    server.has_markers(3, "ready")
    server.answers(200)
    assert again not in old
    assert len(server.stage.pids("migrate.started")) == 2


def test_another_worker_takes_over_from_a_dead_runner(serve: Serve, tmp_path: Path) -> None:
    """kill -9 in the middle of the step: another worker runs it, and the gate opens."""
    stage = Stage(tmp_path / "stage", "migrate.wait")
    server = serve("stepped:app", workers=4, stage=stage)
    first = runner(stage, 1)
    server.kill(first)
    second = runner(stage, 2)
    assert second != first
    assert server.get().answer == (503, "not ready")
    stage.withdraw("migrate.wait")
    server.answers(200)
    assert stage.pids("migrate.finished") == [second]


def test_three_workers_take_over_no_fourth(serve: Serve, tmp_path: Path) -> None:
    """A step that kills its runner again and again is given up: not ready, but alive."""
    stage = Stage(tmp_path / "stage", "migrate.wait")
    server = serve("stepped:app", stage=stage)
    for number in range(1, 5):
        server.kill(runner(stage, number))
    server.has_markers(3, "failed")
    assert len(stage.pids("migrate.started")) == 4
    assert server.get().answer == (503, "not ready")
    assert server.get("/health/live").answer == (200, "ok")


def test_waiters_fail_with_the_reason_of_the_runner(serve: Serve, tmp_path: Path) -> None:
    """When it raises all workers are failed; one retry that succeeds clears them all."""
    stage = Stage(tmp_path / "stage", "migrate.raise")
    server = serve("stepped:app", stage=stage, env={"FLASK_HEALTH_DETAILS": "always"})
    server.has_markers(3, "failed")
    assert server.get().answer == (503, "not ready")

    def told() -> list[str]:
        # At once: one after the other may all be answered by the same worker.
        with ThreadPoolExecutor(8) as pool:
            seen = pool.map(lambda _: server.get("/health?format=json").body, range(20))
            return list(seen)

    waits = "in the worker that runs it"
    bodies = eventually(told, lambda bodies: any(waits in body for body in bodies), why=waits)
    assert all("migrate.told to raise" in body for body in bodies)
    assert server.log().count("migrate.told to raise") == 1
    stage.withdraw("migrate.raise")
    server.answers(200)
    assert len(stage.pids("migrate.finished")) == 1
    assert sorted(stage.pids("finished")) == sorted(server.workers())
