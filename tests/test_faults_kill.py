"""kill -9 of workers, of the master, of everything."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support import statedir
from support.gunicorn import Serve
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")


@pytest.mark.parametrize("number", [1, 2])
def test_killed_workers_are_not_noticed(serve: Serve, number: int) -> None:
    """While one of three is ready, probes and requests see nothing but 200."""
    server = serve()
    server.answers(200)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        with prober.paused(), load.paused():
            server.kill(*server.workers()[:number])
        server.has_markers(number, "starting")
        assert len(server.markers("ready")) == 3 - number
        load.sees(60)
        server.stage.withdraw("wait")
        server.has_markers(3, "ready")
    assert prober.codes() == {200}
    assert load.codes() == {200}
    assert not load.cold()


def test_all_workers_killed_at_once(serve: Serve) -> None:
    """503 from the replacements until they are ready; no dead marker is believed."""
    server = serve()
    server.answers(200)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        with prober.paused(), load.paused():
            server.kill(*server.workers())
            killed = time.monotonic()
        server.has_markers(3, "starting")
        server.answers(503)
        ordered = time.monotonic()
        server.stage.withdraw("wait")
        server.has_markers(3, "ready")
        server.answers(200)
    during = [s for s in prober.since(killed) if s.at + s.took < ordered]
    assert {seen.answer for seen in during} == {NOT_READY}
    assert load.codes() <= {200, 503}
    assert not load.cold()


def test_worker_killed_during_setup(serve: Serve, tmp_path: Path) -> None:
    """The gate waits for the replacement of a worker that died in its setup."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage)
    with server.prober() as prober:
        first = eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 3)
        stage.order(*(f"go.{pid}" for pid in first[:2]))
        server.has_markers(2, "ready")
        server.kill(first[2])
        eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 4)
        assert server.get().answer == NOT_READY
        last = time.monotonic()
        stage.withdraw("wait")
        server.answers(200)
    assert prober.flips() == 0
    assert all(seen.at + seen.took > last for seen in prober.seen if seen.code == 200)


def test_workers_of_a_killed_master_are_not_ready(serve: Serve) -> None:
    """Orphans answer 503 until they exit, and their markers are released."""
    server = serve()
    server.answers(200)
    server.kill(server.pid)
    killed = time.monotonic()
    # "ok" may be 100 ms old. An idle sync worker looks for its master after its next request.
    eventually(lambda: time.monotonic() - killed, lambda age: age > 0.15)
    seen = [server.get()]
    while seen[-1].code not in ("refused", "reset"):
        seen.append(server.get())
    answers = [one.answer for one in seen if isinstance(one.code, int)]
    assert set(answers) == {NOT_READY}
    eventually(server.markers, lambda found: not found)


def test_restart_after_everything_was_killed(serve: Serve) -> None:
    """The markers of a dead boot are never believed by the next one, and swept."""
    server = serve()
    server.answers(200)
    (old,) = statedir.boots(server.state)
    assert len(list(old.glob("worker.*.ready"))) == 3
    server.kill()
    assert not server.markers()
    assert len(list(old.glob("worker.*.ready"))) == 3

    server.stage.order("wait")
    with server.prober() as prober:
        server.start().listening()
        eventually(lambda: [s for s in prober.seen if isinstance(s.code, int)])
        server.has_markers(3, "starting")
        ordered = time.monotonic()
        server.stage.withdraw("wait")
        server.answers(200)
    answered = [s for s in prober.seen if isinstance(s.code, int)]
    assert answered[0].answer == NOT_READY
    assert all(s.at + s.took > ordered for s in answered if s.code == 200)
    eventually(old.exists, lambda there: not there, why=f"{old} is swept")
