"""The verdict of the second port: the server's, while the worker that tells it is cold or stuck."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checking import Runs, Told, check, workers
from support.local import NoChecks
from support.waiting import eventually

from flask_health import Status
from flask_health.model.movement import Movement
from flask_health.model.server import Census, Marker, WorkerState
from flask_health.workers import movement
from flask_health.workers.gate import Gate, GateOptions
from flask_health.workers.gunicorn import _beat_of
from flask_health.workers.presence import Presence
from flask_health.workers.process import start_time
from flask_health.workers.publishing import UNPUBLISHED
from flask_health.workers.records import PROGRESS, REQUESTS, Record
from flask_health.workers.server import Server
from flask_health.workers.servertruth import Published, ServerVerdict
from flask_health.workers.verdict import Verdict


class Teller:
    """A worker that tells of its server, and the worker that leads the checks; in one process."""

    def __init__(self, told: Told, leader: Presence, own: Presence) -> None:
        self.leader = Runs([check(told, interval=0.05)], leader)
        self.own = Runs(self.leader.runner.checks, own)
        self.gate = Gate(
            Server("worker", "", os.getpid(), 2, 2),
            0,
            GateOptions("boot"),
            steps=lambda: [],
            call=lambda step: None,
            testing=lambda: False,
            checks=NoChecks(),
        )
        self.gate.presence = own
        worker = Verdict(self.gate)
        worker.runner = self.own.runner
        self.truth = ServerVerdict(self.gate, worker, patience=10.0)

    def ready(self) -> bool:
        """What the second port answers now."""
        self.truth.attend()
        return self.truth.ready()


@pytest.fixture
def told() -> Told:
    """What the check is told to do."""
    return Told()


@pytest.fixture
def teller(tmp_path: Path, told: Told) -> Iterator[Teller]:
    """Both are ready, but only the leader's runner turns."""
    with workers(tmp_path, 2) as (leader, own):
        made = Teller(told, leader, own)
        made.leader.until(lambda: leader.directory.exists("allowed"))
        yield made


def test_a_cold_worker_knows_what_was_published(teller: Teller) -> None:
    """It runs no checks yet, and reads what the others have found out."""
    assert teller.ready()
    assert isinstance(teller.truth.runner, Published)
    assert [r.status for r in teller.truth.runner.results("ready")] == [Status.PASS]
    assert teller.own.result("database").time is None


def test_a_worker_that_follows_tells_what_it_knows(teller: Teller) -> None:
    """Nothing is read a second time."""
    teller.gate.local.set()
    teller.own.until(lambda: teller.own.result("database").time)
    assert teller.ready()
    assert teller.truth.runner is teller.own.runner


def test_a_stuck_worker_does_not_make_the_server_red(teller: Teller) -> None:
    """Its own results have become stale: those that others have published have not."""
    teller.gate.local.set()
    teller.own.until(lambda: teller.own.result("database").time)
    until = teller.own.runner.outlook.good_until["ready"]
    teller.leader.until(lambda: time.monotonic() > until)
    teller.leader.until(teller.ready, within=2.0)
    assert not teller.own.runner.outlook.is_fresh("ready")
    assert isinstance(teller.truth.runner, Published)


def test_what_nobody_publishes_any_more_is_stale(teller: Teller) -> None:
    """The name that allows traffic is there, but whoever made it is stuck."""
    assert teller.ready()
    eventually(lambda: not teller.ready(), why="stale")
    assert teller.leader.presence
    assert teller.leader.presence.directory.exists("allowed")


def test_where_nothing_can_be_published_its_own_results_count(teller: Teller) -> None:
    """Each worker runs all checks for itself then."""
    assert teller.leader.presence
    teller.leader.presence.directory.create(UNPUBLISHED)
    teller.truth.attend()
    assert teller.truth.runner is teller.own.runner


def test_nothing_is_run_or_told_by_who_only_reads(teller: Teller, told: Told) -> None:
    """Nor does it make anything true for others."""
    assert teller.ready()
    assert teller.leader.presence
    runs, names = told.runs, teller.leader.presence.directory.names()
    for _ in range(5):
        assert teller.ready() in (True, False)
    assert told.runs == runs
    assert teller.leader.presence.directory.names() == names
    assert not teller.own.told


# Movements


@pytest.fixture
def marker() -> Marker:
    """The marker of this process."""
    return Marker(1, os.getpid(), start_time(os.getpid()), 2, WorkerState.READY)


def test_movements_are_read_from_records(teller: Teller, marker: Marker) -> None:
    """What a worker has kept in its own memory and what others read of it are the same."""
    assert teller.leader.presence
    directory = teller.leader.presence.directory
    assert movement.of_worker(directory, marker) is None
    record = Record()
    record.words[REQUESTS] = 3
    record.words[PROGRESS] = 7.0
    record.keep(directory, 1, True, beat=5.5)
    assert movement.of_worker(directory, marker) == Movement(3, 7.0)
    assert movement.of_words(record.words) == Movement(3, 7.0)
    record.keep(directory, 1, True, beat=8.5)
    assert movement.of_worker(directory, marker) == Movement(3, 8.5)


def test_movements_of_a_server_are_read_once_a_second(
    teller: Teller, marker: Marker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask; but anew as soon as the workers are others."""
    assert teller.leader.presence
    directory = teller.leader.presence.directory
    record = Record()
    record.words[REQUESTS] = 1
    record.keep(directory, 1, True)
    census = Census((marker,))
    assert movement.of_server(directory, census, None) == {marker.pid: (1, None)}
    record.words[REQUESTS] = 2
    assert movement.of_server(directory, census, None) == {marker.pid: (1, None)}
    monkeypatch.setattr(movement, "REMEMBERED", 0.0)
    census = Census((marker,))
    assert movement.of_server(directory, census, None) == {marker.pid: (2, None)}
    record.words[REQUESTS] = 3
    assert movement.of_server(directory, census, None) == {marker.pid: (3, None)}


def test_without_a_beat_nobody_knows(teller: Teller, marker: Marker) -> None:
    """Requests alone do not tell whether an idle loop moves."""
    assert teller.leader.presence
    record = Record()
    record.keep(teller.leader.presence.directory, 1, True)
    assert movement.of_worker(teller.leader.presence.directory, marker) == Movement(0, 0.0)


def test_a_record_that_is_cut_short_tells_nothing(teller: Teller, marker: Marker) -> None:
    """As one of another version might be."""
    assert teller.leader.presence
    directory = teller.leader.presence.directory
    directory.make_folder("records")
    Path(directory.path, "records", f"record.{marker.pid}.{marker.start}").write_bytes(b"x" * 50)
    assert movement.of_worker(directory, marker) is None


def test_stalled(teller: Teller) -> None:
    """All workers, by their records; one whose own record moves need not read another."""
    assert teller.leader.presence
    directory, record = teller.leader.presence.directory, teller.gate.record
    long_ago = time.monotonic() - 20.0
    record.words[PROGRESS] = long_ago
    record.keep(directory, 2, True, beat=long_ago)
    assert teller.truth.stalled() == "no worker has moved for 20 s"
    assert not teller.ready()
    assert not teller.truth.live()
    record.keep(directory, 2, True, beat=time.monotonic())
    assert teller.truth.stalled() == ""
    assert teller.ready()
    assert teller.truth.live()


def test_a_beat_that_cannot_be_seen_any_more() -> None:
    """gunicorn closes the file before it says that the worker ends."""

    class Closed:
        def last_update(self) -> float:
            raise ValueError("I/O operation on closed file")

    assert _beat_of(Closed())() == 0.0
