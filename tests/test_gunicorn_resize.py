"""TTIN and TTOU: the expected number of workers is gunicorn's, live."""

from __future__ import annotations

import signal
from pathlib import Path

from support.gunicorn import Serve
from support.stage import Stage
from support.waiting import eventually


def test_growing_keeps_the_server_ready(serve: Serve) -> None:
    """TTIN: probes stay 200 while the new worker sets up, which serves nobody before."""
    server = serve()
    server.answers(200)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        server.signal(signal.SIGTTIN)
        server.has_markers(1, "starting")
        assert len(server.has_workers(4)) == 4
        server.stage.withdraw("wait")
        newest = server.has_markers(4, "ready")[-1]
        eventually(load.pids, lambda pids: newest.pid in pids)
    assert newest.expected == 4
    assert prober.codes() == {200}
    assert load.codes() == {200}
    assert not load.cold()


def test_shrinking_keeps_the_server_ready(serve: Serve) -> None:
    """TTOU: the target follows down although no worker was forked."""
    server = serve()
    server.answers(200)
    with server.prober() as prober:
        server.signal(signal.SIGTTOU)
        server.has_workers(2)
        server.has_markers(2, "ready")
        prober.sees(20)
    assert prober.codes() == {200}


def test_shrinking_during_start_up_opens_the_gate(serve: Serve, tmp_path: Path) -> None:
    """TTOU before the gate has opened: the workers that are left are enough."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage)
    server.has_markers(3, "starting")
    server.signal(signal.SIGTTOU)
    server.has_workers(2)
    assert server.get().answer == (503, "not ready")
    stage.withdraw("wait")
    assert server.answers(200).body == "ok"
    with server.load(threads=2) as load:
        eventually(lambda: [s for s in load.seen if s.code == 200 and s.json()["event"]])
    assert not load.cold()
