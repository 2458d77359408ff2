"""The last runs of checks: the leader tells of them, others read, the next leader goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checking import workers

from flask_health import Status
from flask_health.model.check import Check, Outcome
from flask_health.workers.board import RUNS, Board
from flask_health.workers.presence import Presence
from flask_health.workers.trail import KEPT_RUNS, Trail

PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL
DATABASE = Check("database", lambda: None)
OWN = Check("own", lambda: None, scope="worker")


def outcome(duration: float, status: Status = PASS) -> Outcome:
    """A run that took so many seconds."""
    return Outcome(status, "", 0.0, 0.0, duration)


@pytest.fixture
def presence(tmp_path: Path) -> Iterator[Presence]:
    """A worker, and a place to tell others."""
    with workers(tmp_path, 1) as (one,):
        yield one


def test_the_last_thirty_are_kept() -> None:
    """Oldest first; where there is one process it leads."""
    trail = Trail(None)
    for n in range(KEPT_RUNS + 5):
        trail.add("database", outcome(float(n), FAIL if n % 2 else PASS))
    kept = trail.shown([DATABASE, OWN], leads=True)
    assert kept["database"][0] == (5.0, FAIL)
    assert kept["database"][-1] == (34.0, PASS)
    assert len(kept["database"]) == KEPT_RUNS
    assert kept["own"] == []


def test_others_see_what_the_leader_tells(presence: Presence) -> None:
    """Of checks that one worker runs for all; of their own they know themselves."""
    leader, other = Trail(Board(presence)), Trail(Board(presence))
    for status in (PASS, WARN, FAIL):
        leader.add("database", outcome(0.123456789, status))
    leader.add("own", outcome(1.0))
    other.add("database", outcome(9.0))
    other.add("own", outcome(2.0))
    leader.tell([DATABASE, OWN], 1.0)
    assert other.shown([DATABASE, OWN], leads=False) == {
        "database": [(0.12346, PASS), (0.12346, WARN), (0.12346, FAIL)],
        "own": [(2.0, PASS)],
    }


def test_the_next_leader_goes_on(presence: Presence) -> None:
    """What the one before it told is not lost with it."""
    first, second = Trail(Board(presence)), Trail(Board(presence))
    first.add("database", outcome(0.1))
    first.tell([DATABASE], 1.0)
    second.resume()
    second.add("database", outcome(0.2))
    assert second.shown([DATABASE], leads=True) == {"database": [(0.1, PASS), (0.2, PASS)]}


def test_it_is_told_now_and_then(presence: Presence) -> None:
    """At most every two seconds, and only what is new; nothing is forgotten for that."""
    leader, other = Trail(Board(presence)), Trail(Board(presence))

    def told() -> int:
        return len(other.shown([DATABASE], leads=False)["database"])

    leader.tell([DATABASE], 10.0)
    assert not presence.directory.exists(f"results/{RUNS}")
    seen = []
    for now in (10.0, 11.0, 11.9, 12.0, 12.1, 14.0):
        leader.add("database", outcome(0.1))
        leader.tell([DATABASE], now)
        seen.append(told())
    assert seen == [1, 1, 1, 4, 4, 6]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"checks": 1}',
        '{"checks": {"database": 1}}',
        '{"checks": {"database": {"durations": [1], "statuses": "x"}}}',
        '{"checks": {"database": {"durations": ["a"], "statuses": "p"}}}',
        '{"checks": {"database": {"durations": [1, 2], "statuses": "p"}}}',
    ],
)
def test_a_file_that_is_something_else_tells_nothing(presence: Presence, text: str) -> None:
    """As one of another version, or half of one."""
    presence.directory.make_folder("results")
    presence.directory.write(f"results/{RUNS}", text)
    assert Trail(Board(presence)).shown([DATABASE], leads=False) == {"database": []}


def test_a_full_disk_costs_the_others_their_view(
    presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else: the leader's own is in its memory."""

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    trail = Trail(Board(presence))
    trail.add("database", outcome(0.1))
    monkeypatch.setattr(presence.directory, "write", full)
    trail.tell([DATABASE], 1.0)
    assert trail.shown([DATABASE], leads=True) == {"database": [(0.1, PASS)]}
    assert trail.shown([DATABASE], leads=False) == {"database": []}


def test_thirty_runs_take_little_room(presence: Presence) -> None:
    """Less than 400 bytes for each check."""
    trail = Trail(Board(presence))
    for _ in range(KEPT_RUNS):
        trail.add("database", outcome(0.00123456))
    trail.tell([DATABASE], 1.0)
    assert len(presence.directory.read(f"results/{RUNS}")) < 400
