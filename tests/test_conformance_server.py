"""Cases of the conformance list that need a server of several workers."""

from __future__ import annotations

from pathlib import Path

from support.gunicorn import Serve
from support.stage import Stage
from support.waiting import eventually


def test_no_worker_says_ok_alone(serve: Serve, tmp_path: Path) -> None:
    """F17: 200 readiness probes of four workers while setup runs: none is good; then all are."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(workers=4, stage=stage)
    workers = eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 4)
    for pid in workers[:3]:
        stage.order(f"go.{pid}")
    server.has_markers(3)
    assert {server.get("/health/ready").code for _ in range(200)} == {503}
    stage.order(f"go.{workers[3]}")
    server.answers(200, "/health/ready")
    assert {server.get("/health/ready").code for _ in range(200)} == {200}


def test_once_per_server(serve: Serve, tmp_path: Path) -> None:
    """F19: of four workers one runs the step; when it dies in the middle, another one does."""
    stage = Stage(tmp_path / "stage", "migrate.wait")
    server = serve("stepped:app", workers=4, stage=stage)
    [first] = eventually(lambda: stage.pids("migrate.started"))
    server.kill(first)
    started = eventually(lambda: stage.pids("migrate.started"), lambda pids: len(pids) == 2)
    assert started[1] != first
    stage.withdraw("migrate.wait")
    server.answers(200)
    assert stage.pids("migrate.started") == started
    assert stage.pids("migrate.finished") == started[1:]
