"""A replacement worker stays out of the accept loop while a sibling can serve."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import statedir
from support.environment import free_port
from support.gunicorn import Serve
from support.probing import get
from support.stage import Stage
from support.waiting import eventually


def test_replacement_serves_nobody_before_its_setup_ends(serve: Serve) -> None:
    """With HEALTH_HOLD=siblings requests and probes go to the siblings alone."""
    server = serve()
    server.answers(200)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        with prober.paused(), load.paused():
            new = server.replaced()
        load.sees(60)
        assert new not in load.pids()
        server.stage.withdraw("wait")
        eventually(load.pids, lambda pids: new in pids)
    assert prober.codes() == {200}
    assert load.codes() == {200}
    assert not load.cold()


def test_replacement_joins_when_the_last_ready_sibling_dies(serve: Serve) -> None:
    """A held worker goes on to answer 503 once nobody else can answer at all."""
    server = serve(workers=2)
    server.answers(200)
    server.stage.order("wait")
    first, last = server.workers()
    server.kill(first)
    eventually(lambda: server.stage.pids("started"), lambda pids: len(pids) == 3)
    assert server.get().code == 200
    server.kill(last)
    assert server.answers(503, within=5.0).body == "not ready"
    server.stage.withdraw("wait")
    server.answers(200)


def test_hold_never_lets_the_gate_answer(serve: Serve) -> None:
    """With HEALTH_HOLD=never a cold worker accepts: its own probe is 503, its gate too."""
    server = serve(workers=2, env={"FLASK_HEALTH_HOLD": "never"})
    server.answers(200)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        with prober.paused(), load.paused():
            server.replaced()
        eventually(prober.codes, lambda codes: codes == {200, 503})
        eventually(load.codes, lambda codes: codes == {200, 503})
        server.stage.withdraw("wait")
        server.has_markers(2, "ready")
    assert prober.codes() == {200, 503}
    assert not load.cold()


def test_hold_always_lets_everybody_wait(serve: Serve, tmp_path: Path) -> None:
    """With HEALTH_HOLD=always nothing is answered before setup has ended, and nothing refused; the
    second port tells meanwhile.
    """
    stage = Stage(tmp_path / "stage", "wait")
    second = free_port()
    always = {"FLASK_HEALTH_HOLD": "always", "FLASK_HEALTH_LISTEN": f"127.0.0.1:{second}"}
    server = serve(workers=2, stage=stage, env=always)
    eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 2)
    assert server.get(timeout=0.3).code == "timeout"
    assert get(second).answer == (503, "not ready")
    assert get(second, "/health/live").answer == (200, "ok")
    with server.load(threads=2) as load, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/work", timeout=20.0)
        stage.withdraw("wait")
        assert waiting.result().code == 200
        server.answers(200)
        server.signal(signal.SIGHUP)
        eventually(lambda: stage.pids("finished"), lambda pids: len(pids) == 4)
        eventually(lambda: load.pids() >= set(stage.pids("finished")[2:]))
    assert load.codes() == {200}
    assert not load.cold()


def test_reuse_port_holds_nobody(serve: Serve) -> None:
    """With --reuse-port, where waiting would hold a queue, the gate answers instead."""
    server = serve("served:app", "--reuse-port", workers=2)
    server.answers(200)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        with prober.paused(), load.paused():
            server.replaced()
        eventually(load.codes, lambda codes: codes == {200, 503})
        server.stage.withdraw("wait")
        server.has_markers(2, "ready")
        eventually(lambda: load.pids() >= set(server.workers()))
    assert prober.codes() <= {200, 503}
    assert load.codes() == {200, 503}
    assert not load.cold()


def test_recycled_workers_lose_no_request(serve: Serve) -> None:
    """--max-requests with jitter, most of five workers ready: all answers are 200, none cold."""
    server = serve("served:app", "--max-requests", "6", "--max-requests-jitter", "6", workers=5)
    # Not by asking: probes are requests too, and would recycle workers before the gate opens.
    eventually(lambda: list(statedir.ours(server.state).glob("v1-*/open")), why="the gate opens")
    health: list[Any] = []
    work: list[Any] = []
    while len(server.stage.pids("finished")) < 5 + 6:
        for seen, path in ((health, "/health"), (work, "/work")):
            eventually(lambda: len(server.markers("ready")), lambda ready: ready >= 4)
            seen.append(server.get(path))
    assert {seen.answer for seen in health} == {(200, "ok")}
    assert {seen.code for seen in work} == {200}
    assert not any(seen.json()["cold"] for seen in work)


def test_stopped_ready_worker_is_replaced_unnoticed(serve: Serve) -> None:
    """A worker under SIGSTOP is ended by gunicorn's timeout; siblings answer meanwhile."""
    server = serve("served:app", "--timeout", "2")
    server.answers(200)
    frozen = server.workers()[0]
    with server.prober() as prober, server.load() as load:
        # gunicorn's timeout holds for a worker from its first turn of the accept loop.
        eventually(load.pids, lambda pids: frozen in pids)
        with prober.paused(), load.paused():
            server.signal(signal.SIGSTOP, frozen)
        eventually(server.workers, lambda pids: frozen not in pids and len(pids) == 3)
        server.has_markers(3, "ready")
    assert prober.codes() == {200}
    assert load.codes() == {200}
    assert not load.cold()


@pytest.mark.parametrize("hold", ["siblings", "never"])
def test_first_boot_is_never_held(serve: Serve, hold: str) -> None:
    """At the first boot nobody is ready, so all workers accept and answer 503."""
    server = serve(env={"FLASK_HEALTH_HOLD": hold, "SETUP_SECONDS": 1})
    assert server.get(timeout=5.0).answer == (503, "not ready")
    server.answers(200)
