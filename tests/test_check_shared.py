"""One leader for the whole server: runners of several workers, in one process, turned by hand.

The state directory, its files and its locks are real.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.checking import Runs, Told, check, workers
from support.statedir import ours
from support.waiting import eventually

from flask_health import Status
from flask_health.model.check import Check
from flask_health.model.server import WorkerState
from flask_health.workers.presence import Presence
from flask_health.workers.publishing import UNPUBLISHED

FAIL, WARN, PASS = Status.FAIL, Status.WARN, Status.PASS


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Presence]]:
    """Two workers of a server whose gate is open."""
    with workers(tmp_path, 2) as made:
        yield made


class Team(list[Runs]):
    """The runners of all workers, turned one after the other."""

    def until(self, condition: Callable[[], Any], within: float = 10.0) -> Any:
        """Turn all until the condition holds."""

        def turned() -> Any:
            for runs in self[1:]:
                runs.runner.turn()
            return condition()

        return self[0].until(turned, within)

    def until_all(self, status: Status) -> None:
        """Turn all until each tells that its check has this status."""
        self.until(lambda: set(self.statuses()) == {status})

    def turn_for(self, seconds: float) -> None:
        """Turn all for a while: for what must not happen."""
        deadline = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > deadline)

    def statuses(self, name: str = "database") -> list[Status]:
        """What each worker tells of a check."""
        return [runs.result(name).status for runs in self]


def team(presences: list[Presence], *checks: Check) -> Team:
    """A runner for each worker; the first one is turned first, and so leads."""
    made = Team(Runs(checks, presence) for presence in presences)
    made[0].runner.turn()
    assert made[0].runner.leads
    return made


def allowed(presence: Presence) -> bool:
    """What every worker reads: whether the checks allow traffic."""
    return presence.watch.look().allowed


def counting(two: list[Presence]) -> tuple[Team, list[int]]:
    """Two workers of which the first leads, and the list to which each run adds its worker."""
    runs: list[int] = []
    calls = [lambda n=n: runs.append(n) for n in range(2)]
    both = Team(
        Runs([check(call, interval=0.1)], presence)
        for call, presence in zip(calls, two, strict=True)
    )
    both[0].runner.turn()
    return both, runs


def test_one_worker_runs_it_and_all_know(two: list[Presence]) -> None:
    """The same result, to the letter, in both."""
    both, runs = counting(two)
    both.until(lambda: len(runs) >= 5)
    assert set(runs) == {0}
    assert [runs.runner.leads for runs in both] == [True, False]
    both.until(lambda: both.statuses() == [PASS, PASS])
    assert all(allowed(presence) for presence in two)


def test_all_change_at_the_same_instant(two: list[Presence]) -> None:
    """A name in the state directory decides: no worker has to take its turn first."""
    told = Told()
    both = team(two, check(told, failure_threshold=1))
    both.until(lambda: allowed(two[0]))
    told.says = False
    both[0].until(lambda: not allowed(two[0]))  # the other one takes no turn
    assert not allowed(two[1])
    told.says = True
    both[0].until(lambda: allowed(two[0]))
    assert allowed(two[1])


def test_another_one_leads_when_the_leader_leaves(two: list[Presence]) -> None:
    """At its next turn, with the counts that were published; no edge is told twice."""
    told = Told()
    both = team(two, check(told, failure_threshold=1))
    both.until(lambda: both.statuses() == [PASS, PASS])
    told.says = OSError("gone")
    both.until(lambda: both.statuses() == [FAIL, FAIL])
    both[0].runner.stop()
    both[1].runner.turn()
    assert both[1].runner.leads
    assert not allowed(two[1])
    told.says = None
    both[1].until(lambda: allowed(two[1]))
    assert [(e.old, e.new) for e in both[0].told] == [(PASS, FAIL)]
    assert [(e.old, e.new) for e in both[1].told] == [(FAIL, PASS)]
    assert both[1].told[0].failures >= 1  # counted by the one before it
    assert [e.new for e in both[1].runner.transitions()] == [FAIL, PASS]


def test_a_follower_runs_what_a_stuck_leader_does_not(two: list[Presence]) -> None:
    """It still has its lock; results older than interval, timeout and 1 s are nobody's."""
    runs: list[int] = []
    calls = [lambda n=n: runs.append(n) for n in range(2)]
    options: dict[str, Any] = {"interval": 0.1, "timeout": 0.1}
    both = Team(
        Runs([check(call, **options)], presence) for call, presence in zip(calls, two, strict=True)
    )
    both[0].runner.turn()
    both.until(lambda: allowed(two[0]))
    began = time.monotonic()
    both[1].until(lambda: 1 in runs)
    assert 0.9 <= time.monotonic() - began < 2.5
    assert not both[1].runner.leads
    both[1].until(lambda: both[1].result("database").status is PASS)
    # The newest publication wins: the leader reads it when it is back, and goes on.
    both.until(lambda: len(runs) > 10)
    assert 0 in runs[-5:]


def test_a_slow_check_does_not_make_its_leader_look_stuck(two: list[Presence]) -> None:
    """A result may be as old as an interval, a whole run and its publication."""
    runs: list[int] = []

    def slow(number: int) -> None:
        runs.append(number)
        time.sleep(0.4)

    calls = [lambda n=n: slow(n) for n in range(2)]
    both = Team(
        Runs([check(call, interval=0.5, timeout=0.5)], presence)
        for call, presence in zip(calls, two, strict=True)
    )
    both[0].runner.turn()
    both.until(lambda: len(runs) >= 4)
    assert set(runs) == {0}


def test_edges_are_told_once_per_server(two: list[Presence], caplog: Any) -> None:
    """By the leader, however many know; and logged once (E10)."""
    told = Told()
    both = team(two, check(told, failure_threshold=2))
    both.until(lambda: both.statuses() == [PASS, PASS])
    with caplog.at_level(logging.INFO, "flask_health"):
        for says, status in ((False, FAIL), (True, PASS)):
            told.says = says
            both.until_all(status)
        both.turn_for(0.2)
    assert [len(runs.told) for runs in both] == [2, 0]
    assert sum("check 'database'" in r.message for r in caplog.records) == 2


def test_a_worker_s_own_check_runs_in_each(two: list[Presence]) -> None:
    """And a worker that fails a critical one counts as not ready; the others do not mind."""
    one, other = Told(), Told()
    both = Team(
        Runs([check(told, "memory", scope="worker", failure_threshold=1)], presence)
        for told, presence in zip((one, other), two, strict=True)
    )
    both.until(lambda: allowed(two[0]) and one.runs and other.runs)
    other.says = MemoryError("full")
    both.until(lambda: two[1].state is WorkerState.FAILED)
    assert two[0].state is WorkerState.READY
    assert both.statuses("memory") == [PASS, FAIL]
    assert allowed(two[0])
    other.says = None
    both.until(lambda: two[1].state is WorkerState.READY)


def test_a_follower_s_own_check_is_not_published(two: list[Presence]) -> None:
    """Nor does it decide for the server, not even in the first moments of its worker."""
    one, other = Told(), Told()
    first = Runs([check(one, "memory", scope="worker")], two[0])
    first.until(lambda: allowed(two[0]))
    follower = Runs([check(other, "memory", scope="worker", interval=0.1)], two[1])

    def goes_on() -> bool:
        assert not follower.runner.leads
        assert allowed(two[0])
        return other.runs >= 4

    before = json.loads(two[0].directory.read("results/checks.json"))
    follower.until(goes_on)
    assert json.loads(two[0].directory.read("results/checks.json")) == before


def test_a_leader_that_has_just_come_turns_nothing_red(two: list[Presence]) -> None:
    """It leads before its own check has had a result: the server has long been informed."""
    one, other = Told(), Told()
    first = Runs([check(one, "memory", scope="worker")], two[0])
    first.until(lambda: allowed(two[0]))
    second = Runs([check(other, "memory", scope="worker")], two[1])
    with other.hanging():
        first.runner.stop()
        for _ in range(5):
            second.runner.turn()
            assert second.runner.leads
            assert allowed(two[1])
        assert not second.runner.informed.is_set()
    second.until(second.runner.informed.is_set)
    assert allowed(two[1])


def test_a_leader_that_serves_alone_is_asked_first(two: list[Presence]) -> None:
    """It has come after all others have gone: what they had found says nothing of it."""
    one, other = Told(), Told()
    first = Runs([check(one, "memory", scope="worker")], two[0])
    first.until(lambda: allowed(two[0]))
    two[0].say(WorkerState.FAILED)
    second = Runs([check(other, "memory", scope="worker")], two[1])
    with other.hanging():
        first.runner.stop()
        second.until(lambda: not allowed(two[1]))
        assert second.runner.leads
    second.until(lambda: allowed(two[1]))


def test_a_worker_s_own_check_that_is_not_critical_only_warns(two: list[Presence]) -> None:
    """It stays ready."""
    told = Told(False)
    both = team(two, check(told, "memory", scope="worker", critical=False))
    both.until(lambda: both.statuses("memory") == [FAIL, FAIL] and told.runs > 4)
    assert [p.state for p in two] == [WorkerState.READY] * 2
    assert allowed(two[0])


def test_a_worker_s_own_check_never_speaks_for_the_server(two: list[Presence]) -> None:
    """Workers that fail one count as not ready, whatever its probe: nobody restarts them all."""
    told = Told()
    options: dict[str, Any] = {"scope": "worker", "failure_threshold": 1}
    both = team(two, check(told, "thread", probes=("live", "startup"), **options))
    both.until(lambda: allowed(two[0]))
    told.says = RuntimeError("dead")
    both.until(lambda: [p.state for p in two] == [WorkerState.FAILED] * 2)
    for runs in both:
        assert runs.allows("live") and runs.allows("startup")


def test_a_stale_check_of_one_worker_does_not_speak_for_the_server(two: list[Presence]) -> None:
    """Its marker does: freshness of readiness is that of what all share."""
    told = Told()
    both = team(two, check(told, "memory", scope="worker", interval=0.1, timeout=0.05))
    both.until(lambda: allowed(two[0]))
    with told.hanging():
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            assert both[1].runner.outlook.is_fresh("ready")
            time.sleep(0.01)


def test_the_first_ok_waits_until_each_worker_knows_itself(tmp_path: Path) -> None:
    """A server of which every worker fails a check of its own is at no time allowed traffic."""
    with workers(tmp_path, 2, opened=False) as two:
        told = Told(OSError("no"))
        both = team(two, check(told, "memory", scope="worker"))
        both.until(lambda: told.runs >= 4)
        two[0].decide("open")
        deadline = time.monotonic() + 0.5

        def decided() -> bool:
            failed = all(p.state is WorkerState.FAILED for p in two)
            assert failed or not allowed(two[0])
            return failed and time.monotonic() > deadline

        both.until(decided)


def test_startup_is_decided_for_all_and_for_good(two: list[Presence]) -> None:
    """The latch is a name in the state directory: a worker that comes later finds it."""
    told = Told(False)
    both = team(two, check(told, probes=("startup",), failure_threshold=1))
    both.until(lambda: told.runs >= 2)
    assert not two[1].watch.look().started
    told.says = True
    both.until(lambda: both[1].runner.started)
    assert two[1].watch.look().started
    told.says = False
    both.until(lambda: both.statuses() == [FAIL, FAIL])
    assert all(runs.runner.started for runs in both)
    assert allowed(two[0])


def test_a_leader_that_cannot_publish_says_so_by_name(
    two: list[Presence], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then each worker runs the checks for itself, until publishing works again."""
    full = [True]
    write = type(two[0].directory).write

    def no_room(directory: Any, name: str, text: str) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        write(directory, name, text)

    monkeypatch.setattr(type(two[0].directory), "write", no_room)
    both, runs = counting(two)
    both.until(lambda: set(runs) == {0, 1})
    assert two[1].directory.exists(UNPUBLISHED)
    assert both.until(lambda: both.statuses() == [PASS, PASS] and allowed(two[1]))
    assert "No space left on device" in both[0].runner.problem
    full[0] = False
    both.until(lambda: not two[1].directory.exists(UNPUBLISHED))
    both.until(lambda: both[0].runner.problem == "")
    both.turn_for(0.3)
    runs.clear()
    both.until(lambda: len(runs) >= 5)
    assert set(runs) == {0}
    assert sum("cannot publish" in record.message for record in caplog.records) <= 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"sequence": 99999, "checks": []}',
        '{"sequence": "9", "checks": {}}',
        '{"sequence": 99999, "checks": {"database": {"status": "FATAL"}}}',
        '{"sequence": 99999, "checks": {"database": null}}',
        '{"sequence": 99999, "checks": {"unknown": {}}}',
    ],
)
def test_a_file_that_cannot_be_read_is_no_publication(two: list[Presence], text: str) -> None:
    """Half-written, foreign, of another format: what was known stays, and the next one is read."""
    told = Told()
    both = team(two, check(told, interval=0.1))
    both.until(lambda: both.statuses() == [PASS, PASS])
    for name in ("checks.json", "transitions.json"):
        two[0].directory.write(f"results/{name}", text)
    both[1].runner.turn()
    assert both[1].result("database").status is PASS
    told.says = False
    both.until(lambda: both.statuses() == [FAIL, FAIL])
    assert [e.new for e in both[0].runner.transitions()] == [FAIL]


def test_the_files_are_readable(two: list[Presence], tmp_path: Path) -> None:
    """What lies in the state directory: JSON, the writer and a number that only grows."""
    told = Told()
    both = team(two, check(told))
    both.until(lambda: both.statuses() == [PASS, PASS])
    file = next(ours(tmp_path).glob("v1-*/results/checks.json"))
    first = json.loads(file.read_text())
    assert set(first) == {"pid", "sequence", "checks"}
    told.says = False
    both.until(lambda: both.statuses() == [FAIL, FAIL])
    second = json.loads(file.read_text())
    assert second["sequence"] > first["sequence"]
    assert second["checks"]["database"]["status"] == "fail"
    names = {"checks.json", "runs.json", "transitions.json"}
    eventually(lambda: {p.name for p in file.parent.iterdir()}, lambda found: found == names)


def test_results_do_not_look_like_a_change_of_workers(two: list[Presence]) -> None:
    """A new result every few seconds must not cost every probe a full look."""
    told = Told()
    both = team(two, check(told, interval=0.1))
    both.until(lambda: allowed(two[1]))
    time.sleep(0.05)  # older than a tick of the clock, so that a look is believed
    two[1].watch.look()
    before = told.runs
    both.until(lambda: told.runs >= before + 15, within=20.0)
    assert two[1].watch.unchanged()


def test_one_leads_after_the_directory_was_taken_away(two: list[Presence]) -> None:
    """A cleaner of temporary files removes all: the workers meet anew, and have one leader."""
    told = Told()
    both = team(two, check(told, interval=0.1))
    both.until(lambda: allowed(two[0]))
    shutil.rmtree(two[0].directory.path)
    for presence in reversed(two):
        presence.mend()
    both[1].runner.turn()  # the follower is the first to find the lock free
    both.until(lambda: allowed(two[0]) and allowed(two[1]))
    both.turn_for(0.1)
    assert sorted(runs.runner.leads for runs in both) == [False, True]


def test_one_leads_after_the_lock_s_file_was_taken_away(two: list[Presence]) -> None:
    """The lock on a file without a name keeps nobody out."""
    both = team(two, check(Told()))
    two[0].directory.remove("leader")
    both[1].runner.turn()
    both.until(lambda: True)
    both.turn_for(0.1)
    assert sorted(runs.runner.leads for runs in both) == [False, True]


def test_a_secret_is_not_written_to_disk(two: list[Presence], tmp_path: Path) -> None:
    """Files are masked like answers."""
    both = team(two, check(Told(OSError("postgresql://shop:hunter2@db/shop refused"))))
    both.until(lambda: both.statuses() == [FAIL, FAIL])
    found = [p.read_text() for p in ours(tmp_path).glob("v1-*/results/*")]
    assert sum("***" in text for text in found) == 2
    assert not any("hunter2" in text for text in found)


def test_a_hundred_long_reasons_are_published_whole(two: list[Presence]) -> None:
    """What one worker may write another can read."""
    says = OSError("\U0001f4a5" * 1000)
    both = team(two, *(check(Told(says), f"check{n}") for n in range(100)))
    both.until(both[1].runner.informed.is_set, within=20.0)
    assert both[1].result("check99").status is FAIL
    assert len(both[1].runner.transitions()) == 100
