"""HUP makes new workers of the same boot; the old ones serve until those are ready."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support import statedir
from support.gunicorn import Gunicorn, Serve
from support.probing import Prober
from support.stage import Stage
from support.waiting import eventually

CLASSES: dict[str, tuple[str, ...]] = {
    "sync": (),
    "gthread": ("-k", "gthread", "--threads", "8"),
    "gevent": ("-k", "gevent"),
}
CAMPAIGN = "FLASK_HEALTH_ROUNDS" in os.environ
SLOWNESS = (3.0, 5.0, 30.0) if CAMPAIGN else (1.0, 2.0, 3.0)
"""Seconds that the import and the setup of new workers take, and that the load goes on at least."""

PATIENT = ("--graceful-timeout", "60")
"""For a loaded machine: what follows is not about the limit."""


def reloaded(server: Gunicorn, old: list[int], number: int = 3) -> list[int]:
    """Wait until none of the old workers is left, and as many as before are ready."""
    eventually(server.workers, lambda pids: not set(pids) & set(old), within=60.0)
    return [marker.pid for marker in server.has_markers(number, "ready")]


def unharmed(*probers: Prober) -> bool:
    """Every request was answered 200: none refused, none reset, none by a cold worker."""
    return all(prober.codes() == {200} for prober in probers)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_hup_runs_setup_in_every_new_worker(serve: Serve, preload: tuple[str, ...]) -> None:
    """Same boot, new ages; nothing is noticed, no marker left."""
    server = serve("served:app", *PATIENT, *preload)
    server.answers(200)
    server.all_answer(3)
    old = server.has_markers(3, "ready")
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        server.signal(signal.SIGHUP)
        eventually(lambda: server.stage.pids("started"), lambda pids: len(pids) == 6)
        server.has_markers(3, "leaving")
        load.sees(40)
        server.stage.withdraw("wait")
        new = reloaded(server, [marker.pid for marker in old])
        load.sees(20)
    assert unharmed(prober, load)
    assert not load.cold()
    assert sorted(new) == sorted(server.has_workers(3))
    found = server.markers()
    assert min(m.age for m in found) > old[-1].age
    assert {m.path.parent for m in found} == {m.path.parent for m in old}
    imported = server.stage.pids("imported")
    assert imported == [server.pid] if preload else len(imported) == 6


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_reload_is_not_noticed(serve: Serve, worker_class: str) -> None:
    """A slow import, which no marker shows, then a slow setup: nothing but 200, none cold."""
    env = {"IMPORT_SECONDS": SLOWNESS[0], "SETUP_SECONDS": SLOWNESS[1]}
    server = serve("served:app", *PATIENT, *CLASSES[worker_class], workers=2, env=env)
    server.answers(200)
    server.all_answer(2)
    server.stage.order("reload")
    old = server.workers()
    with server.prober() as prober, server.load() as load:
        load.sees(20)
        began = time.monotonic()
        server.signal(signal.SIGHUP)
        new = reloaded(server, old, 2)
        assert time.monotonic() - began >= sum(SLOWNESS[:2])
        eventually(load.pids, lambda pids: set(new) <= pids)
        eventually(lambda: time.monotonic() - began > SLOWNESS[2], within=SLOWNESS[2])
    assert unharmed(prober, load)
    assert not load.cold()
    assert load.pids() == {*old, *new}


def test_two_reloads_in_a_row(serve: Serve) -> None:
    """The second signal comes while the first generation sets up."""
    server = serve("served:app", *PATIENT, workers=2)
    server.answers(200)
    server.all_answer(2)
    old = server.workers()
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        server.signal(signal.SIGHUP)
        first = [marker.pid for marker in server.has_markers(2, "starting")]
        server.signal(signal.SIGHUP)
        load.sees(40)
        server.stage.withdraw("wait")
        eventually(lambda: server.log().count("Hang up"), lambda number: number == 2)
        # gunicorn before 24 ends the first ones while they are cold, later ones let them finish.
        reloaded(server, [*old, *first], 2)
        server.has_workers(2)
        load.sees(20)
    assert unharmed(prober, load)
    assert not load.cold()


def test_a_reload_before_the_gate_has_opened(serve: Serve, tmp_path: Path) -> None:
    """Workers that are cold when they are told to stop end at once; the new ones open the gate."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve("served:app", *PATIENT, workers=2, stage=stage)
    cold = [marker.pid for marker in server.has_markers(2, "starting")]
    server.signal(signal.SIGHUP)
    eventually(server.workers, lambda pids: not set(pids) & set(cold))
    server.has_markers(2, "starting")
    assert server.get().answer == (503, "not ready")
    stage.withdraw("wait")
    assert server.answers(200).body == "ok"


def test_term_during_a_reload_drains(serve: Serve) -> None:
    """It is red before it ends, a request is answered or refused, and none is cold."""
    server = serve("served:app", *PATIENT, workers=2, env={"FLASK_HEALTH_DRAIN_DELAY": 2})
    server.answers(200)
    server.all_answer(2)
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        server.signal(signal.SIGHUP)
        server.has_markers(2, "starting")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        load.sees(20)
        server.stage.withdraw("wait")
        assert server.wait() == 0
    red = prober.first(503)
    assert red
    lost = next(seen for seen in load.since(began) if seen.code != 200)
    assert lost.at - red.at >= 1.0
    assert not load.cold()
    assert not statedir.boots(server.state)


def test_a_slow_generation_is_not_waited_for_for_ever(serve: Serve) -> None:
    """The old workers leave when `graceful_timeout` is near, and log both numbers."""
    server = serve("served:app", "--graceful-timeout", "5", workers=2)
    server.answers(200)
    server.all_answer(2)
    old = server.workers()
    server.stage.order("wait")
    server.signal(signal.SIGHUP)
    eventually(server.workers, lambda pids: not set(pids) & set(old))
    assert "than the 2.0 s that a graceful_timeout of 5 s leaves for them" in server.log()
    server.answers(503)
    server.stage.withdraw("wait")
    server.answers(200)


def test_a_generation_that_fails_replaces_nobody(serve: Serve) -> None:
    """The old workers serve on, beyond the limit, and say so; the next reload may do better."""
    server = serve("served:app", "--graceful-timeout", "14", workers=2)
    server.answers(200)
    server.all_answer(2)
    old = server.workers()
    server.stage.order("raise")
    with server.prober() as prober, server.load() as load:
        server.signal(signal.SIGHUP)
        server.has_markers(2, "failed")
        # gunicorn waits for as long as `graceful_timeout`, and then tells them again and again.
        beyond = time.monotonic() + 12.0
        eventually(lambda: time.monotonic() > beyond)
        assert set(old) <= set(server.workers())
        assert f"the new workers fail: worker {old[0]} serves on" in server.log()
        server.stage.withdraw("raise")
        server.signal(signal.SIGHUP)
        reloaded(server, old, 2)
        load.sees(20)
    assert unharmed(prober, load)
    assert not load.cold()


def test_new_workers_that_are_killed_replace_nobody(serve: Serve) -> None:
    """Nor does it look like the end of the server, although all that are left were told to stop."""
    # gunicorn, which waits for the old ones, comes to another signal only later.
    server = serve("served:app", *PATIENT, workers=2, tidy=False)
    server.answers(200)
    server.all_answer(2)
    old = server.workers()
    server.stage.order("wait")
    with server.prober() as prober, server.load() as load:
        server.signal(signal.SIGHUP)
        new = [marker.pid for marker in server.has_markers(2, "starting")]
        server.kill(*new)
        load.sees(100)
        assert set(old) <= set(server.workers())
    assert unharmed(prober, load)


# One worker less, and one after the other


def test_down_to_one_worker(serve: Serve) -> None:
    """TTOU, again and again: readiness stays green, and nothing is lost."""
    server = serve(workers=3)
    server.answers(200)
    server.all_answer(3)
    with server.prober() as prober, server.load() as load:
        for number in (2, 1):
            server.signal(signal.SIGTTOU)
            server.has_workers(number)
            load.sees(20)
    assert unharmed(prober, load)


@pytest.mark.parametrize("worker_class", CLASSES)
def test_recycling_under_load(serve: Serve, worker_class: str) -> None:
    """`--max-requests 20`, far fewer than come: workers are recycled one at a time."""
    limit: tuple[Any, ...] = ("--max-requests", "20", "--max-requests-jitter", "20")
    server = serve("served:app", *limit, *CLASSES[worker_class], env={"SETUP_SECONDS": 0.2})
    server.answers(200)
    with server.prober() as prober, server.load() as load:
        eventually(load.pids, lambda pids: len(pids) >= 6, within=60.0)
    assert unharmed(prober, load)
    assert not load.cold()


def test_recycling_the_only_worker_is_no_drain(serve: Serve) -> None:
    """`-w 1 --max-requests`: no answer but 200 from it; the next one answers when it has come."""
    server = serve("served:app", "--max-requests", "20", workers=1)
    server.answers(200)
    first = server.workers()
    with server.load(threads=2) as load:
        eventually(server.workers, lambda pids: pids and pids != first)
        server.answers(200)
        load.sees(10)
    assert load.codes() <= {200, 503}
    assert not load.cold()
    assert "drains" not in server.log()
    assert len(statedir.boots(server.state)) == 1
