"""Markers that must not be believed, and locks that must not outlive their worker."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import processes, statedir
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")


@contextmanager
def forged(boot: Path, *, start: int, lock: bool, number: int = 4) -> Iterator[list[Path]]:
    """Plant ready markers with this process's id into a boot, locked or not."""
    paths, descriptors = [], []
    for age in range(90, 90 + number):
        path = boot / f"worker.{age}.{os.getpid()}.{start}.3.ready"
        descriptors.append(os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600))
        if lock:
            fcntl.flock(descriptors[-1], fcntl.LOCK_EX)
        paths.append(path)
    try:
        yield paths
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        for path in paths:
            path.unlink(missing_ok=True)


def own_start() -> int:
    """Return the start time of this process, in clock ticks."""
    me = processes.process(os.getpid())
    assert me
    return me.start


@pytest.mark.parametrize("kind", ["unlocked", "reused pid"])
def test_forged_markers_count_for_nothing(serve: Serve, tmp_path: Path, kind: str) -> None:
    """A free lock, or a pid with another start time, is a dead worker: no "ok", no hold."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage)
    server.has_markers(3, "starting")
    (boot,) = statedir.boots(server.state)
    fake = {"start": own_start(), "lock": False}
    if kind == "reused pid":
        fake = {"start": own_start() + 1, "lock": True}
    with forged(boot, start=fake["start"], lock=bool(fake["lock"])), server.prober() as prober:
        server.kill(server.workers()[0])
        eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 4)
        prober.sees(20)
        assert prober.codes() <= {503, "reset"}

        server.kill(*server.workers())
        server.answers(503, within=10.0)
        stage.withdraw("wait")
        server.answers(200)


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_forks_of_user_code_are_not_workers(serve: Serve, how: str) -> None:
    """A child runs no setup and holds no lock; the death of its worker is noticed."""
    server = serve("forking:app", env={"FLASK_HEALTH_MIN_WORKERS": 3}, tidy=False)
    server.answers(200)
    made = server.get(f"/{how}").json()
    assert processes.running(made["child"])
    assert len(server.stage.pids("started")) == 3
    # The child lets go as its first act, which may come after the answer.
    eventually(lambda: processes.locks(made["child"]), lambda held: not held)

    server.stage.order("wait")
    server.kill(made["pid"])
    # HEALTH_MIN_WORKERS is 3: only if the dead one does not count is this 503.
    server.answers(503, within=5.0)
    assert processes.running(made["child"])
    assert made["pid"] not in [m.pid for m in server.markers()]
    # The replacement alone runs setup, and a sibling may remember its last ok for a moment more.
    eventually(lambda: server.stage.pids("started"), lambda started: len(started) == 4)
    server.stage.withdraw("wait")
    server.has_markers(3)
    server.answers(200)
    assert len(server.stage.pids("started")) == 4
    server.stage.order("end")
    eventually(lambda: processes.running(made["child"]), lambda runs: not runs)


def test_lock_leaked_to_a_child_keeps_no_marker_alive(serve: Serve) -> None:
    """A marker of a dead worker whose lock somebody still holds is void all the same."""
    server = serve(env={"FLASK_HEALTH_MIN_WORKERS": 3}, tidy=False)
    server.answers(200)
    victim = server.markers("ready")[0]
    server.stage.order("wait")
    server.kill(victim.pid)
    with locked_again(victim):
        server.has_markers(1, "starting")
        assert server.answers(503, within=5.0).answer == NOT_READY
        server.stage.withdraw("wait")
        server.answers(200)


@contextmanager
def locked_again(victim: statedir.Marker) -> Iterator[None]:
    """Hold the lock of a dead worker's marker, planted anew if it has been swept."""
    descriptor = os.open(victim.path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
        victim.path.unlink(missing_ok=True)


def test_two_servers_share_a_directory(serve: Serve, tmp_path: Path) -> None:
    """Each has its own truth: one is ready while the other is not, and may die."""
    stage = Stage(tmp_path / "stage", "wait")
    base = tmp_path / "shared"
    base.mkdir()
    first = serve(state=base, workers=2, tidy=False)
    second = serve(state=base, workers=2, stage=stage, tidy=False)
    first.answers(200)
    eventually(lambda: len(stage.pids("started")), lambda number: number == 2)
    assert len(statedir.boots(base)) == 2
    with first.prober() as ready, second.prober() as waiting:
        eventually(lambda: min(len(ready.seen), len(waiting.seen)), lambda n: n > 30)
        assert {seen.answer for seen in waiting.seen} == {NOT_READY}
    assert {seen.answer for seen in ready.seen} == {OK}
    first.kill()
    assert second.get().answer == NOT_READY
    stage.withdraw("wait")
    assert second.answers(200).answer == OK


def test_two_apps_in_one_process(serve: Serve, tmp_path: Path) -> None:
    """Apps of one name behind a dispatcher have a gate each, in the same directory."""
    stage = Stage(tmp_path / "stage", "right.wait")
    server = serve("pair:app", stage=stage)
    server.answers(200)
    assert server.get("/right/health").answer == NOT_READY
    assert server.get("/work").code == 200
    assert server.get("/right/work").code == 503
    stage.withdraw("right.wait")
    server.answers(200, "/right/health")
    assert server.get().answer == OK
    for side in ("left", "right"):
        assert sorted(stage.pids(f"{side}.started")) == sorted(server.workers())
    assert len(statedir.boots(server.state)) == 2


@pytest.mark.parametrize("slow", ["left", "right"])
def test_replacement_of_two_apps_is_held_for_both(serve: Serve, slow: str) -> None:
    """A worker with two gates serves nobody before both setups have ended."""
    server = serve("pair:app")
    stage = server.stage
    server.answers(200)
    server.answers(200, "/right/health")
    stage.order(f"{slow}.wait")
    quick = "right" if slow == "left" else "left"
    with server.load() as left, server.prober("/right/work") as right:
        known = stage.pids(f"{slow}.started")
        with left.paused(), right.paused():
            server.kill(server.workers()[0])
        eventually(lambda: stage.pids(f"{quick}.finished"), lambda pids: len(pids) == 4)
        new = eventually(lambda: set(stage.pids(f"{slow}.started")) - set(known)).pop()
        left.sees(60)
        assert new not in left.pids()
        stage.withdraw(f"{slow}.wait")
        eventually(left.pids, lambda pids: new in pids)
    assert left.codes() == {200}
    assert right.codes() == {200}


def markers_by_state(server: Gunicorn) -> dict[str, int]:
    """Count the held markers of each state."""
    states = [m.state for m in server.markers()]
    return {state: states.count(state) for state in set(states)}


def test_the_directory_can_be_read_with_ls(serve: Serve, tmp_path: Path) -> None:
    """Names tell age, process, start time, expected number and state; files are empty."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage)
    first = server.has_markers(3, "starting")
    assert sorted(m.pid for m in first) == sorted(server.workers())
    assert len({m.age for m in first}) == 3
    for found in first:
        kernel = processes.process(found.pid)
        assert kernel
        assert kernel.start == found.start
        assert found.expected == 3
        assert found.path.stat().st_size == 0
    ours = statedir.ours(server.state)
    assert ours.stat().st_mode & 0o777 == 0o700
    (boot,) = statedir.boots(server.state)
    assert not (boot / "open").exists()
    stage.withdraw("wait")
    server.answers(200)
    assert markers_by_state(server) == {"ready": 3}
    assert (boot / "open").exists()
    inodes = {m.pid: m.path.stat().st_ino for m in server.markers()}
    assert len(inodes) == 3
