"""USR2 makes a new boot, whose workers take over when they are ready."""

from __future__ import annotations

import signal

import pytest
from support import processes, statedir
from support.gunicorn import Gunicorn, Serve
from support.waiting import eventually

CLASSES: dict[str, tuple[str, ...]] = {
    "sync": (),
    "gthread": ("-k", "gthread", "--threads", "8"),
    "gevent": ("-k", "gevent"),
}
PATIENT = ("--graceful-timeout", "60")


def two_masters(server: Gunicorn) -> tuple[int, list[int]]:
    """Send USR2; return the new master and its workers, whose setup has begun."""
    known, number = set(server.stage.pids("started")), len(server.workers())
    server.signal(signal.SIGUSR2)
    new = server.new_master()
    begun = lambda: set(server.stage.pids("started")) - known  # noqa: E731
    eventually(begun, lambda pids: len(pids) >= number)
    return new, eventually(lambda: server.workers(new), lambda pids: len(pids) == number)


@pytest.mark.parametrize("worker_class", CLASSES)
def test_an_upgrade_is_not_noticed(serve: Serve, worker_class: str) -> None:
    """USR2, then TERM to the old master: nothing but 200, none cold; then only the new boot."""
    delay = {"FLASK_HEALTH_DRAIN_DELAY": 2}
    server = serve("served:app", *PATIENT, *CLASSES[worker_class], workers=2, env=delay)
    server.answers(200)
    server.all_answer(2)
    old = server.has_markers(2, "ready")
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        master, workers = two_masters(server)
        server.has_markers(2, "starting")
        assert len(statedir.boots(server.state)) == 2
        load.sees(40)
        assert not load.pids() & set(workers)
        server.stage.withdraw("wait")
        server.has_markers(4, "ready")
        eventually(load.pids, lambda pids: set(workers) <= pids)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        server.pid = master
        load.sees(40)
    assert prober.codes() == load.codes() == {200}
    assert not load.cold()
    found = server.markers()
    assert sorted(m.pid for m in found) == sorted(workers) == sorted(server.workers())
    assert not {m.path.parent for m in found} & {m.path.parent for m in old}


def test_an_old_master_that_is_stopped_early(serve: Serve) -> None:
    """Its workers serve until the new gate is open."""
    server = serve("served:app", *PATIENT, workers=2)
    server.answers(200)
    server.all_answer(2)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        master, workers = two_masters(server)
        server.has_markers(2, "starting")
        server.signal(signal.SIGTERM)
        server.has_markers(2, "leaving")
        load.sees(40)
        server.stage.withdraw("wait")
        assert server.wait() == 0
        server.pid = master
        eventually(load.pids, lambda pids: set(workers) <= pids)
    assert prober.codes() == load.codes() == {200}
    assert not load.cold()


def test_a_rollback_is_not_noticed(serve: Serve) -> None:
    """USR2 to code whose setup fails, TERM to the new master: nobody has met it."""
    server = serve("served:app", *PATIENT, workers=2)
    server.answers(200)
    old = server.workers()
    server.stage.order("raise")
    with server.prober() as prober, server.load() as load:
        master, _ = two_masters(server)
        server.has_markers(2, "failed")
        load.sees(40)
        server.signal(signal.SIGTERM, master)
        eventually(lambda: processes.running(master), lambda runs: not runs)
        load.sees(40)
    assert prober.codes() == load.codes() == {200}
    assert load.pids() <= set(old)
    assert server.workers() == old
