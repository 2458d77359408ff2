"""gunicorn as process 1 of a pid namespace, as in a container."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support import statedir
from support.gunicorn import Gunicorn, Serve
from support.mounts import can_unshare
from support.stage import Stage
from support.system import NAMESPACES
from support.waiting import eventually

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
OK, NOT_READY = (200, "ok"), (503, "not ready")

pytestmark = pytest.mark.skipif(
    not can_unshare("--pid", "--fork", "--mount-proc", "--kill-child"),
    reason=f"needs root and: {NAMESPACES.apt_get}",
)


def contained(serve: Serve, base: Path, stage: Stage) -> Gunicorn:
    """Start a gunicorn as process 1 of its own namespace, on a shared state directory.

    The hash seed is fixed: without it the boots would differ by luck alone.
    """
    env = {"PYTHONHASHSEED": "0"}
    return serve(wrapper=CONTAINER, state=base, stage=stage, env=env, workers=2, tidy=False)


def shared(tmp_path: Path) -> Path:
    """Return a volume that outlives a container."""
    base = tmp_path / "volume"
    base.mkdir()
    return base


def test_restart_as_process_1_believes_nothing_old(serve: Serve, tmp_path: Path) -> None:
    """The same pids, the same volume, a new boot: 503 until its own workers are ready."""
    base, stage = shared(tmp_path), Stage(tmp_path / "stage")
    server = contained(serve, base, stage)
    server.answers(200)
    pids = [m.pid for m in statedir.markers(base, "ready")]
    assert len(pids) == 2
    assert max(pids) < 100
    server.kill()
    (old,) = statedir.boots(base)
    stage.order("wait")
    with server.prober() as prober:
        server.start().listening()
        eventually(lambda: [m for m in statedir.markers(base, "starting") if m.held])
        eventually(lambda: prober.first(503))
        prober.sees(20)
        ordered = time.monotonic()
        stage.withdraw("wait")
        server.answers(200)
    early = [s for s in prober.seen if s.at + s.took < ordered and isinstance(s.code, int)]
    assert {s.answer for s in early} == {NOT_READY}
    eventually(old.exists, lambda there: not there, why=f"{old} is swept")


def test_two_containers_on_one_volume(serve: Serve, tmp_path: Path) -> None:
    """Two servers with the same pids and hash seed are independent."""
    base = shared(tmp_path)
    stages = [Stage(tmp_path / "one"), Stage(tmp_path / "two")]
    stages[1].order("wait")
    first = contained(serve, base, stages[0])
    second = contained(serve, base, stages[1])
    first.answers(200)
    eventually(lambda: len(stages[1].pids("started")), lambda number: number == 2)
    assert len(statedir.boots(base)) == 2
    with first.prober() as ready, second.prober() as waiting:
        eventually(lambda: min(len(ready.seen), len(waiting.seen)), lambda n: n > 100)
    assert {seen.answer for seen in ready.seen} == {OK}
    assert {seen.answer for seen in waiting.seen} == {NOT_READY}
    first.kill()
    stages[1].withdraw("wait")
    assert second.answers(200).answer == OK
