"""The same story for every worker class, with and without --preload."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.waiting import eventually

OPTIONS = {
    "sync": [],
    "gthread": ["--threads", "4"],
    "gevent": [],
    "tornado": [],
}


def held_server(serve: Serve, tmp_path: Path, kind: str, *more: str) -> Gunicorn:
    """Start two workers of that class whose setup waits."""
    if kind in ("gevent", "tornado") and not importlib.util.find_spec(kind):
        pytest.skip(f"{kind} is not installed")
    stage = Stage(tmp_path / "stage", "wait")
    return serve("served:app", "-k", kind, *OPTIONS[kind], *more, workers=2, stage=stage)


@pytest.mark.matrix
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("kind", OPTIONS)
def test_worker_class(serve: Serve, tmp_path: Path, kind: str, preload: tuple[str, ...]) -> None:
    """Each worker sets up once, beside the probes; afterwards its gate is open and real."""
    server = held_server(serve, tmp_path, kind, *preload)
    stage = server.stage
    eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 2)
    probes = [server.get() for _ in range(8)]
    assert {seen.answer for seen in probes} == {(503, "not ready")}
    assert min(seen.took for seen in probes) < 0.1
    assert server.get("/health/live").answer == (200, "ok")

    stage.withdraw("wait")
    assert server.answers(200).body == "ok"
    assert server.get("/health/startup").answer == (200, "ok")

    workers = server.workers()
    told = {}
    with server.load(threads=2) as load:

        def open_in() -> set[int]:
            told.update({seen.json()["pid"]: seen.json() for seen in load.seen if seen.code == 200})
            return {pid for pid, facts in told.items() if facts["event"]}

        eventually(open_in, lambda pids: pids == set(workers))
    assert not load.cold()
    assert all(facts["real"] and facts["local"] for facts in told.values())
    assert {facts["state"] for facts in told.values()} == {"open"}
    assert sorted(stage.pids("started")) == sorted(workers)


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_waiting_for_the_gate_blocks_no_probe(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Requests that wait for `gate.event` leave the worker free to answer probes."""
    server = held_server(serve, tmp_path, kind)
    server.has_markers(2, "starting")
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(server.get, "/wait", timeout=20.0) for _ in range(3)]
        for _ in range(10):
            assert server.get(timeout=2.0).answer == (503, "not ready")
        assert not any(future.done() for future in waiting)
        server.stage.withdraw("wait")
        answers = [future.result() for future in waiting]
    assert [seen.code for seen in answers] == [200] * 3
    assert all(seen.json()["opened"] for seen in answers)


def test_native_thread_keeps_gevent_answering(serve: Serve, tmp_path: Path) -> None:
    """A computing step on a native thread leaves the hub free to answer probes."""
    pytest.importorskip("gevent")
    stage = Stage(tmp_path / "stage", "wait")
    server = serve("native:app", "-k", "gevent", workers=1, stage=stage)
    eventually(lambda: stage.facts("started"))
    probes = [server.get(timeout=20.0) for _ in range(6)]
    assert {seen.answer for seen in probes} == {(503, "not ready")}
    stage.withdraw("wait")
    server.answers(200)
    assert server.get("/work").answer == (200, "done")
