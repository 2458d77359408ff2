"""HUP makes new workers of the same boot, USR2 a new boot."""

from __future__ import annotations

import signal

import pytest
from support import processes, statedir
from support.gunicorn import Gunicorn, Serve
from support.waiting import eventually


def two_masters(server: Gunicorn) -> tuple[int, list[int]]:
    """Send USR2; return the new master and its three workers, whose setup has begun."""
    known = set(server.stage.pids("started"))
    server.signal(signal.SIGUSR2)
    new = server.new_master()
    eventually(lambda: set(server.stage.pids("started")) - known, lambda pids: len(pids) >= 3)
    return new, eventually(lambda: server.workers(new), lambda pids: len(pids) == 3)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_hup_runs_setup_in_every_new_worker(serve: Serve, preload: tuple[str, ...]) -> None:
    """HUP: same boot, new ages; never a false "ok", never a cold answer, no marker left."""
    server = serve("served:app", *preload)
    server.answers(200)
    old = server.markers()
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        server.signal(signal.SIGHUP)
        eventually(lambda: server.stage.pids("started"), lambda pids: len(pids) == 6)
        server.stage.withdraw("wait")
        new = eventually(
            lambda: server.markers("ready"),
            lambda found: len(found) == 3 and found[0].age > old[-1].age,
        )
        server.answers(200)
    assert prober.codes() <= {200, 503}
    assert load.codes() <= {200, 503}
    assert not load.cold()
    assert sorted(m.pid for m in new) == sorted(server.has_workers(3))
    assert {m.path.parent for m in new} == {m.path.parent for m in old}
    imported = server.stage.pids("imported")
    assert imported == [server.pid] if preload else len(imported) == 6


def test_usr2_hands_over_to_the_new_master(serve: Serve) -> None:
    """USR2, then TERM to the old master: two boots, then only the new one, ready."""
    server = serve()
    server.answers(200)
    old = server.markers("ready")
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        master, workers = two_masters(server)
        server.has_markers(3, "starting")
        assert len(statedir.boots(server.state)) == 2
        server.stage.withdraw("wait")
        server.has_markers(6, "ready")
        server.signal(signal.SIGTERM)
        server.wait()
        server.pid = master
        ended = server.answers(200).at
        prober.sees(20)
    assert prober.codes() <= {200, 503}
    assert prober.codes(since=ended) == {200}
    assert load.codes(since=ended) == {200}
    assert not load.cold()
    found = server.markers()
    assert sorted(m.pid for m in found) == sorted(workers) == sorted(server.workers())
    assert not {m.path.parent for m in found} & {m.path.parent for m in old}


def test_usr2_rollback_leaves_the_old_master_ready(serve: Serve) -> None:
    """USR2 to code whose setup fails, TERM to the new master: the old one serves on."""
    server = serve()
    server.answers(200)
    old = server.workers()
    server.stage.order("raise")
    with server.prober() as prober, server.load() as load:
        master, _ = two_masters(server)
        server.has_markers(3, "failed")
        server.signal(signal.SIGTERM, master)
        eventually(lambda: processes.running(master), lambda runs: not runs)
        ended = server.answers(200).at
        prober.sees(20)
    assert prober.codes() <= {200, 503}
    assert prober.codes(since=ended) == {200}
    assert load.pids() <= set(old)
    assert not load.cold()
    assert server.workers() == old
