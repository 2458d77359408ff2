"""Checks in a real gunicorn: one worker runs them, all workers tell the same."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from support.gunicorn import Gunicorn, Serve
from support.mounts import can_unshare, fill, tmpfs
from support.probing import Prober, Seen
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")
ACCESS = ("--access-logfile", "-", "--access-logformat", "answered %(p)s %(s)s %(U)s")
TOGETHER = 0.2  # seconds within which all workers change their answer


class Run(NamedTuple):
    """One run of a check: in which worker, and when on the monotonic clock."""

    pid: int
    at: float


def runs(stage: Stage, name: str = "database") -> list[Run]:
    """Return the runs of a check so far, oldest first."""
    rows = (line.split() for line in stage.facts(name))
    return [Run(int(pid), float(at)) for pid, at in rows]


def runs_again(stage: Stage, times: int = 1, name: str = "database") -> list[Run]:
    """Wait until a check has run that many times more; return those runs."""
    known = len(runs(stage, name))
    return eventually(lambda: runs(stage, name)[known:], lambda new: len(new) >= times)


def runs_since(stage: Stage, moment: float) -> list[Run]:
    """Return the runs of the check that began after a moment on the monotonic clock."""
    return [run for run in runs(stage) if run.at > moment]


def leader(server: Gunicorn) -> int:
    """Return the worker that ran the check last."""
    return runs_again(server.stage)[-1].pid


def told(server: Gunicorn, path: str = "/health") -> dict[str, object]:
    """Return the members of the JSON answer."""
    members: dict[str, object] = server.get(f"{path}?format=json").json()
    return members


def answered(server: Gunicorn, code: int) -> set[int]:
    """Return the workers that have answered a probe with this code."""
    lines = re.findall(r"answered <(\d+)> (\d+) /health$", server.log(), re.MULTILINE)
    return {int(pid) for pid, found in lines if int(found) == code}


# One leader


def test_one_worker_runs_a_check(serve: Serve) -> None:
    """Of four, at its interval."""
    server = serve("checked:app", workers=4)
    server.answers(200)
    found = runs_again(server.stage, 10)
    assert len(Counter(run.pid for run in runs(server.stage))) == 1
    assert found[0].pid in server.workers()
    gaps = [b.at - a.at for a, b in pairwise(found)]
    assert min(gaps) >= 0.17


def test_another_worker_takes_over_from_a_dead_leader(serve: Serve) -> None:
    """At once; the answer stays `ok` throughout."""
    server = serve("checked:app", workers=4)
    server.answers(200)
    with server.prober() as prober:
        for _ in range(3):
            dead = leader(server)
            with prober.paused():
                killed = time.monotonic()
                server.kill(dead)
            first = eventually(partial(runs_since, server.stage, killed))[0]
            assert first.pid != dead
            assert first.at - killed < 1.0
            server.has_markers(4)
    assert prober.codes() == {200}
    assert len({run.pid for run in runs_again(server.stage, 5)}) == 1


def test_followers_run_what_a_stopped_leader_does_not(serve: Serve) -> None:
    """It still has its lock. Results never grow stale, and it goes on when it is back."""
    server = serve("checked:app", workers=4, env={"INTERVAL": 1.5, "RETRY_INTERVAL": 0.5})
    server.answers(200)
    stopped = leader(server)
    with server.prober(every=0.05) as prober:
        with prober.paused():
            server.signal(signal.SIGSTOP, stopped)
        since = time.monotonic()
        found = eventually(lambda: runs_since(server.stage, since + 0.1))
        # Later than interval, timeout and 1 s after the last result, which was up to 1.5 s old.
        assert found[0].at - since < 3.6
        stood_in = runs_again(server.stage, 4)[-1].pid  # All three may begin, then one goes on.
        assert stood_in != stopped
        assert prober.codes() == {200}
        server.stage.order("fail")
        server.answers(503)
        assert {run.pid for run in runs_again(server.stage, 2)} == {stood_in}
        server.stage.withdraw("fail")
        server.answers(200)
        server.signal(signal.SIGCONT, stopped)
        eventually(lambda: {r.pid for r in runs_again(server.stage, 2)}, {stopped}.__eq__)
    assert prober.flips() == 1


def test_a_reload_hands_the_lead_over(serve: Serve) -> None:
    """HUP: one of the new workers leads, with the results of the old one: no edge is told."""
    server = serve("checked:app", workers=2, env={"INTERVAL": 1})
    server.answers(200)
    old = server.workers()
    server.signal(signal.SIGHUP)
    eventually(server.workers, lambda pids: len(pids) == 2 and not set(pids) & set(old))
    new = set(server.workers())
    eventually(lambda: {run.pid for run in runs_again(server.stage, 2)}, new.issuperset)
    eventually(
        lambda: {run.pid for run in runs_again(server.stage, 2)}, lambda pids: len(pids) == 1
    )
    assert server.get().answer == OK
    assert "check 'database'" not in server.log()


# One truth


def assert_together(seen: list[Seen], code: int) -> None:
    """Every request sent `TOGETHER` after the first answer of this code has the same one."""
    first = min(s.at + s.took for s in seen if s.code == code)
    late = [s for s in seen if s.at > first + TOGETHER and s.code != code]
    assert not late, (first, late)


def test_all_workers_change_their_answer_together(serve: Serve) -> None:
    """Within 0.2 s of one another, three times down and up; each of them was asked."""
    server = serve("checked:app", *ACCESS, workers=4)
    server.answers(200)
    with Prober(server.address, every=0.004, threads=4) as prober:
        for _ in range(3):
            for order, code in ((server.stage.order, 503), (server.stage.withdraw, 200)):
                changed = time.monotonic()
                order("fail")
                server.answers(code)
                eventually(partial(prober.since, time.monotonic() + TOGETHER))
                prober.sees(100)
                assert_together(prober.since(changed), code)
    assert prober.codes() == {200, 503}
    assert {s.answer for s in prober.seen} == {OK, NOT_READY}
    for code in (200, 503):
        eventually(partial(answered, server, code), set(server.workers()).__eq__)


def test_each_worker_tells_the_same_result(serve: Serve) -> None:
    """Whoever answers: the same value, time and status, as soon as all have read the result."""
    server = serve("checked:app", workers=4, env={"INTERVAL": 5})
    server.answers(200)
    eventually(
        lambda: [told(server)["checks"] for _ in range(40)],
        lambda rows: all(row == rows[0] for row in rows) and "time" in str(rows[0]),
    )


def test_the_first_ok_is_an_informed_one(serve: Serve, tmp_path: Path) -> None:
    """A dependency that was never there: not ready from the first answer on, in all workers."""
    stage = Stage(tmp_path / "stage", "fail")
    server = serve("checked:app", workers=4, stage=stage)
    with server.prober(every=0.005, threads=2) as prober:
        server.has_markers(4)
        server.answers(200, "/health/startup")  # the gate does not wait for checks
        runs_again(stage, 5)
        prober.sees(50)
        assert prober.codes() == {503}
        assert server.get("/health/live").answer == OK
        stage.withdraw("fail")
        server.answers(200)
    assert prober.flips() == 0


def test_not_ready_until_a_slow_check_has_its_first_result(serve: Serve, tmp_path: Path) -> None:
    """Its timeout is a result too."""
    stage = Stage(tmp_path / "stage", "stuck")
    server = serve("checked:app", workers=2, stage=stage, env={"TIMEOUT": 1.0})
    with server.prober() as prober:
        server.answers(200, "/health/startup")
        eventually(lambda: "timed out after 1.0 s" in str(told(server).get("output")))
        assert prober.codes() == {503}
        stage.withdraw("stuck")
        server.answers(200)
    assert len({run.pid for run in runs(stage)}) == 1


# Checks of a worker


def test_one_worker_that_fails_its_own_check(serve: Serve) -> None:
    """It alone counts as not ready; the server is ready, with a warning, until all fail."""
    server = serve("checked:app", workers=3, env={"CHECKS": "own"})
    server.answers(200)
    eventually(lambda: {r.pid for r in runs(server.stage, "own")}, set(server.workers()).__eq__)
    victims = server.workers()
    with server.prober() as prober:
        server.stage.order(f"own.{victims[0]}")
        assert [m.pid for m in server.has_markers(1, "failed")] == [victims[0]]
        assert told(server)["status"] == "warn"
        prober.sees(20)
        assert prober.codes() == {200}
    for pid in victims[1:]:
        server.stage.order(f"own.{pid}")
    server.answers(503)
    assert server.get("/health/live").answer == OK
    server.stage.withdraw(*(f"own.{pid}" for pid in victims))
    server.has_markers(3)
    server.answers(200)
    eventually(lambda: told(server)["status"] == "pass")


# Trouble


def test_a_hanging_dependency_hurts_nobody(serve: Serve) -> None:
    """Probes and business requests are answered as ever; after the timeout it is not ready."""
    server = serve("checked:app", workers=2, env={"FAILURES": 3})
    server.answers(200)
    with server.load() as load, server.prober() as prober:
        prober.sees(20)
        server.stage.order("stuck")
        hung = time.monotonic()
        runs_again(server.stage)
        server.answers(503)
        # interval, two retries and the timeout, and what the machine takes
        assert time.monotonic() - hung < 0.2 + 2 * 0.1 + 0.5 + 0.6
        prober.sees(50)
        while_hung = runs(server.stage)
        prober.sees(50)
        assert runs(server.stage) == while_hung
        server.stage.withdraw("stuck")
        server.answers(200)
    assert load.codes() == {200}
    assert prober.codes() == {200, 503}
    assert prober.slowest() < 1.0
    assert load.slowest() < 1.0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_check_may_call_the_app(serve: Serve, workers: int) -> None:
    """Over HTTP: it runs when the server accepts, also when there is only one worker."""
    server = serve("checked:app", workers=workers, env={"CHECKS": "itself", "TIMEOUT": 5})
    (server.stage.root / "port").write_text(str(server.address))
    server.answers(200)
    runs_again(server.stage, 3, "itself")
    assert server.get().answer == OK


@pytest.mark.skipif(os.geteuid() != 0 or not can_unshare("--mount"), reason="needs: root, mount")
def test_a_full_disk(serve: Serve, tmp_path: Path) -> None:
    """The leader says that it cannot publish; the server still tells the truth, in each worker."""
    with tmpfs(tmp_path / "small", "size=1m") as base:
        server = serve("checked:app", *ACCESS, workers=3, state=base)
        server.answers(200)
        fill(base)
        eventually(lambda: "cannot publish the results of checks" in server.log())
        eventually(lambda: len({run.pid for run in runs_again(server.stage, 6)}) == 3)
        notes = eventually(lambda: told(server).get("notes"))
        assert "No space left on device" in str(notes)
        assert server.get().answer == OK
        with Prober(server.address, every=0.01, threads=2) as prober:
            for order, code in ((server.stage.order, 503), (server.stage.withdraw, 200)):
                changed = time.monotonic()
                order("fail")
                server.answers(code)
                prober.sees(100)
                settled = time.monotonic()
                prober.sees(50)
                assert prober.codes(settled) == {code}, changed
        (base / "ballast").unlink()
        eventually(lambda: "notes" not in told(server))
        eventually(lambda: len({run.pid for run in runs_again(server.stage, 6)}) == 1)


# Worker classes


def test_gevent(serve: Serve) -> None:
    """Greenlets run the checks; async ones have a native thread and a loop of their own."""
    env = {"CHECKS": "database waits own"}
    server = serve("checked:app", "-k", "gevent", workers=2, env=env)
    server.answers(200)
    for name in ("database", "waits"):
        assert len({run.pid for run in runs_again(server.stage, 5, name)}) == 1
    with server.load() as load, server.prober() as prober:
        server.stage.order("stuck")
        server.answers(503)
        runs_again(server.stage, 3, "waits")  # the one that hangs delays no other
        server.stage.withdraw("stuck")
        server.answers(200)
        server.stage.order("fail")
        server.answers(503)
        refused = "waits: ConnectionError: connection refused"
        eventually(lambda: refused in str(told(server).get("output")))
        server.stage.withdraw("fail")
        server.answers(200)
    assert load.codes() == {200}
    assert prober.slowest() < 1.0
    assert not server.log().count("Traceback")


def test_threads(serve: Serve) -> None:
    """gthread: the same."""
    env = {"CHECKS": "database waits"}
    server = serve("checked:app", "-k", "gthread", "--threads", "4", workers=2, env=env)
    server.answers(200)
    server.stage.order("fail")
    server.answers(503)
    server.stage.withdraw("fail")
    server.answers(200)
    assert len({run.pid for run in runs(server.stage)}) == 1
