"""The number of changes: it is the server's, and never goes down while its workers come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checking import Runs, Told, check, workers
from support.waiting import eventually

from flask_health.model.status import Status
from flask_health.workers.board import KEPT_TRANSITIONS, Board, Transition
from flask_health.workers.presence import Presence

PASS, FAIL = Status.PASS, Status.FAIL


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Presence]]:
    """Two workers of one server whose gate is open."""
    with workers(tmp_path) as made:
        yield made


def change(name: str = "database", output: str = "") -> Transition:
    """A change of a check."""
    return Transition(name, PASS, FAIL, 1.0, output, 1, 0.0)


def test_changes_are_counted_beyond_those_that_are_kept(two: list[Presence]) -> None:
    """By check; all workers read the same number."""
    board, other = Board(two[0]), Board(two[1])
    for number in range(KEPT_TRANSITIONS + 5):
        board.add_transition(change("database" if number else "cache", str(number)))
    assert other.counts() == {"cache": 1, "database": KEPT_TRANSITIONS + 4}
    total, kept = other.numbered()
    assert total == KEPT_TRANSITIONS + 5
    assert [row.output for row in kept] == [str(n) for n in range(5, KEPT_TRANSITIONS + 5)]


def test_the_next_leader_goes_on_counting(two: list[Presence]) -> None:
    """It takes up where a leader that died has left off."""
    told = Told()
    runs = [Runs([check(told, failure_threshold=1)], presence) for presence in two]
    for _ in range(2):
        for says, status in ((False, FAIL), (None, PASS)):
            told.says = says
            runs[0].until(lambda: runs[0].result("database").status is status)
    assert runs[1].runner.transition_counts() == {"database": 4}
    runs[0].runner.stop()
    told.says = False
    runs[1].until(lambda: runs[1].result("database").status is FAIL)
    assert runs[1].runner.leads
    for run in runs:
        assert run.runner.transition_counts() == {"database": 5}
        total, kept = run.runner.numbered_transitions()
        assert (total, len(kept)) == (5, 5)


def test_workers_that_tell_at_once_lose_no_change(two: list[Presence]) -> None:
    """What each finds out about itself is counted and kept, in some order."""

    def tell(presence: Presence) -> None:
        board = Board(presence)
        for number in range(20):
            board.add_transition(change("own", f"{id(presence)} {number}"))

    threads = [threading.Thread(target=tell, args=(presence,)) for presence in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    total, kept = Board(two[0]).numbered()
    assert total == len({row.output for row in kept}) == 40


def test_a_writer_that_hangs_holds_nobody_up(two: list[Presence]) -> None:
    """A worker that is stopped while it writes keeps its lock: others do not wait for it long."""
    Board(two[0]).add_transition(change())
    with two[0].directory.having("results"):
        Board(two[1]).add_transition(change())
    assert Board(two[0]).counts() == {"database": 2}


@pytest.mark.parametrize("content", ["", "[]", '{"counts": 3}', '{"counts": {"database": "x"}}'])
def test_a_file_that_is_not_ours_counts_nothing(two: list[Presence], content: str) -> None:
    """And the next change begins anew."""
    board = Board(two[0])
    board.add_transition(change())
    two[0].directory.write("results/transitions.json", content)
    assert board.counts() == {}
    board.add_transition(change())
    assert board.counts() == {"database": 1}


def test_a_server_of_one_counts_too() -> None:
    """Without any file."""
    told = Told()
    alone = Runs([check(told, failure_threshold=1)])
    alone.until_result()
    told.says = False
    alone.until(lambda: alone.result("database").status is FAIL)
    assert alone.runner.transition_counts() == {"database": 1}
    total, kept = alone.runner.numbered_transitions()
    assert total == len(kept) == 1
    eventually(lambda: alone.told)


def test_a_change_says_which_worker_it_is_about(two: list[Presence]) -> None:
    """That of a worker's own check; that of the server's says none."""
    runs = Runs(
        [
            check(Told(False), "own", scope="worker", failure_threshold=1),
            check(Told(False), "shared", failure_threshold=1),
        ],
        two[0],
    )
    runs.until(lambda: len(runs.runner.transitions()) == 2)
    found = {row.check: row.worker for row in runs.runner.transitions()}
    assert found["shared"] == 0
    assert found["own"] == two[0].pid
