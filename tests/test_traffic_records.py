"""Records: what workers count is lost by nobody's death, and counted once, whoever is killed."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck as Check
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.local import Blocked, worker_gate
from support.waiting import eventually

from flask_health.model.traffic import measure
from flask_health.workers import process, records, statedir, tally
from flask_health.workers.boots import join
from flask_health.workers.records import (
    BOUNDS,
    BUCKETS,
    ERRORS,
    EVERY,
    NEVER,
    PROGRESS,
    REQUESTS,
    SPENT,
    Record,
)
from flask_health.workers.statedir import StateDir


def count(record: Record, number: int = 1, bucket: int = 0) -> None:
    """As requests that begin and end do, one of them with an error."""
    record.words[REQUESTS] += number
    record.words[ERRORS] += 1
    record.words[SPENT] += number * 0.25
    record.words[BUCKETS + bucket] += number
    record.words[PROGRESS] = time.monotonic()


def keep(record: Record, directory: StateDir) -> None:
    """What a keeper does, a snapshot later."""
    record._next = 0
    record.keep(directory, 1, True)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StateDir]:
    """A state directory of one boot."""
    found = join("boot", [str(tmp_path)], [])
    assert found
    yield found
    found.leave()


def requests(directory: StateDir) -> int:
    """What is told of all workers."""
    total, found = tally.read(directory)
    series = [*([total.series] if total.series else []), *(r.series for r in found)]
    return measure(series, 0, 1e9, BOUNDS).requests


def names(directory: StateDir) -> list[str]:
    """The files among the records, sorted."""
    return sorted(directory.names("records"))


def test_a_record_is_found_by_others(directory: StateDir) -> None:
    """What this process counts, before and after it has shared its record, is in its file."""
    record = Record()
    count(record, 3)
    record.keep(directory, 1, True, beat=1.5)
    assert record.shared
    assert record.due == NEVER
    count(record, 4, bucket=len(BOUNDS))
    record.words[REQUESTS] += 2
    (found,) = tally.read(directory)[1]
    assert (found.pid, found.alive, found.in_flight, found.beat) == (os.getpid(), True, 2, 1.5)
    assert found.series.last == (9, 2, 1.75, 3, *[0] * (len(BOUNDS) - 1), 4)
    assert abs(found.progress - time.monotonic()) < 5
    path = Path(directory.path, "records", found.name)
    assert path.stat().st_size == records.SIZE
    assert path.stat().st_blocks * 512 >= records.SIZE
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_record_is_small() -> None:
    """Three pages of memory, whatever happens."""
    assert records.SIZE <= 3 * 4096


def test_the_state_directory_does_not_seem_to_change(directory: StateDir) -> None:
    """Readers watch its modification time: neither counting nor folding touches it."""
    record = Record()
    record.keep(directory, 1, True)
    before = os.fstat(directory.fd).st_mtime_ns
    for _ in range(3):
        count(record)
        keep(record, directory)
    tally.fold(directory)
    assert os.fstat(directory.fd).st_mtime_ns == before


def test_a_full_disk_stops_nothing(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No room: said once, counted on in this process, and shared as soon as there is room."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    record = Record()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for _ in range(3):
            count(record)
            keep(record, directory)
    problem = "cannot keep the records of traffic: No space left on device"
    assert record.problem == problem
    assert [r.getMessage() for r in caplog.records] == [problem]
    assert names(directory) == []
    assert tally.survey(directory, record).requests == 3
    keep(record, directory)
    assert record.problem == ""
    assert record.shared
    assert requests(directory) == 3


@pytest.mark.parametrize(
    ("mounts", "fits"),
    [
        ("22 1 0:7 / /tmp rw shared:1 - tmpfs tmpfs rw\n", True),
        ("22 1 0:7 / / rw - overlay overlay rw\n", True),
        ("22 1 0:6 / / rw - tmpfs tmpfs rw\n23 1 0:7 / / rw - btrfs /dev/sda rw\n", False),
        ("22 1 0:6 / / rw - tmpfs tmpfs rw\n", False),
    ],
)
def test_only_where_allocated_room_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, fits: bool
) -> None:
    """A file system that copies on write could end the worker when the disk is full."""
    (tmp_path / "mountinfo").write_text(mounts)
    monkeypatch.setattr(
        records,
        "open",
        lambda path, **more: (tmp_path / Path(path).name).open(**more),
        raising=False,
    )
    assert records._keeps_room(os.makedev(0, 7)) is fits
    assert records._keeps_room(os.makedev(8, 7))


def test_a_record_follows_a_directory_that_was_made_anew(tmp_path: Path) -> None:
    """Nothing that this process counted is lost with its file, its folder or its directory."""
    first = join("boot", [str(tmp_path)], [])
    assert first
    directory: StateDir | None = first
    record = Record()
    count(record, 5)
    record.keep(first, 1, True)
    for lost in ("records/*", "records", "."):
        for path in [Path(first.path)] if lost == "." else Path(first.path).glob(lost):
            path.unlink() if path.is_file() else shutil.rmtree(path)
        count(record)
        directory = first if lost != "." else join("boot", [str(tmp_path)], [])
        assert directory
        keep(record, directory)
        count(record)
    assert directory
    assert requests(directory) == 11
    assert record.problem == ""


@pytest.mark.usefixtures("restless")
def test_nothing_is_lost_while_a_record_moves(tmp_path: Path) -> None:
    """Threads count on while the file is taken away again and again."""
    directory = join("boot", [str(tmp_path)], [])
    assert directory
    record = Record()
    stop = threading.Event()
    counted = [0] * 4

    def work(number: int) -> None:
        while not stop.is_set():
            record.words[REQUESTS] += 1
            counted[number] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        keep(record, directory)
        for name in directory.names("records"):
            directory.remove(f"records/{name}")
    stop.set()
    for thread in threads:
        thread.join(20)
    keep(record, directory)
    assert requests(directory) == sum(counted) > 1000


@pytest.mark.usefixtures("restless")
def test_threads_lose_no_count() -> None:
    """The interpreter switches threads at calls and jumps: a counter changes as a whole."""
    record = Record()
    each = 50_000

    def work() -> None:
        for _ in range(each):
            record.words[REQUESTS] += 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert record.words[REQUESTS] == 8 * each


def test_a_forked_child_does_not_count_for_its_parent(directory: StateDir) -> None:
    """It counts from nothing, in memory of its own, and is no worker."""
    record = Record()
    count(record, 7)
    record.keep(directory, 1, True)
    child = os.fork()
    if not child:
        count(record, 100)
        ok = record.words[REQUESTS] == 100 and not record.shared
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert requests(directory) == record.words[REQUESTS] == 7


def in_a_child(act: Callable[[], None]) -> int:
    """Has a forked process act and then wait; its pid, once it has acted."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(told)
        try:
            act()
            os.write(tell, b"x")
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(told, 1) == b"x"
    os.close(told)
    return child


def test_the_requests_of_the_killed_stay(directory: StateDir) -> None:
    """They are read from the record at first, then from the total; in flight they are no more, also
    while nobody has taken note of the death.
    """

    def act() -> None:
        record = Record()
        record.keep(directory, 1, False)
        count(record, 10)
        record.words[REQUESTS] += 1

    child = in_a_child(act)
    (reading,) = tally.read(directory)[1]
    assert (reading.alive, reading.in_flight) == (True, 1)
    os.kill(child, signal.SIGKILL)
    eventually(lambda: process.is_zombie(child), why="killed")
    for reap in (lambda: None, lambda: os.waitpid(child, 0)):
        reap()
        (reading,) = tally.read(directory)[1]
        assert (reading.alive, reading.in_flight, reading.series.last[0]) == (False, 0, 11)
    own = Record()
    count(own, 4)
    own.keep(directory, 1, True)
    assert len(tally.read(directory)[1]) == 1, "it was not folded"
    assert requests(directory) == 15
    assert f"record.{child}" not in " ".join(names(directory))
    told = tally.survey(directory, own)
    assert (told.requests, told.errors, told.in_flight) == (15, 2, 0)


def test_only_the_oldest_folds_unless_there_are_many(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All keepers look; one works. If it cannot, the dead do not pile up without bound."""
    folded: list[StateDir] = []
    monkeypatch.setattr(tally, "fold", folded.append)
    directory.make_folder("records")
    for number in range(5):
        directory.create(f"records/record.{number}.1")
    records._tidy(directory, 5, True)
    records._tidy(directory, 4, False)
    assert not folded
    records._tidy(directory, 4, True)
    assert folded == [directory]
    for number in range(80):
        directory.create(f"records/record.{number}.2")
    records._tidy(directory, 4, False)
    assert len(folded) == 2


def test_nobody_is_dead_because_no_file_can_be_opened(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot see whether a worker lives does not fold it: it would be counted twice."""
    record = Record()
    count(record, 3)
    record.keep(directory, 1, True)
    before = names(directory)
    with monkeypatch.context() as patch:
        patch.setattr(process, "stat_fields", lambda pid: [])
        tally.fold(directory)
        keep(record, directory)
        assert tally.survey(directory, record).requests == 3
    assert set(before) <= set(names(directory))
    keep(record, directory)
    assert requests(directory) == 3


def test_what_a_killed_worker_left_half_done_goes(directory: StateDir) -> None:
    """Temporary files of the dead are removed, those of the living stay."""
    gone = in_a_child(lambda: None)
    os.kill(gone, signal.SIGKILL)
    os.waitpid(gone, 0)
    directory.make_folder("records")
    for name in (f".tmp.{gone}.record", f".tmp.{gone}.17", f".tmp.{os.getpid()}.3", "unknown"):
        directory.create(f"records/{name}")
    tally.fold(directory)
    assert names(directory) == [f".tmp.{os.getpid()}.3", "lock", "unknown"]


def test_nobody_folds_while_another_does(directory: StateDir) -> None:
    """And nobody waits for that."""
    directory.make_folder("records")
    directory.create("records/record.999999.1")
    held = directory.claim("records/lock")
    tally.fold(directory)
    assert "record.999999.1" in names(directory)
    assert held


def test_foreign_files_are_not_read(directory: StateDir) -> None:
    """Other names, and records that are too short, count for nothing."""
    directory.make_folder("records")
    for name in ("record.1.2", "record.x.2", "record.3", "notes", "record.4.5.6"):
        directory.write(f"records/{name}", "short")
    assert tally.read(directory)[1] == []


def test_a_total_that_cannot_be_read_is_not_replaced(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without descriptors must not take it for missing: that would lose the dead."""
    directory.make_folder("records")
    directory.write("records/total", '{"folded": [], "points": [[1.0, 5, 0, 0, 0]]}')
    before = directory.read("records/total")
    real = os.open

    def no_more(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("total"):
            raise OSError(24, "Too many open files")
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", no_more)
    record = Record()
    keep(record, directory)
    directory.create("records/record.999999.1")
    keep(record, directory)
    monkeypatch.undo()
    assert record.problem == "cannot keep the records of traffic: Too many open files"
    assert directory.read("records/total") == before


# The ring


def test_the_ring_remembers_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that changes shows in each window as it was, after hours of counting."""
    now = 1_000_000.3
    monkeypatch.setattr(time, "monotonic", lambda: now)
    record = Record()
    record.due = NEVER
    wanted: list[tuple[float, float]] = []
    for second in range(4000):
        now += 1.0
        rate = second % 97
        record.words[REQUESTS] += rate
        record.words[BUCKETS] += rate
        record.words[PROGRESS] = now
        wanted.append((now, record.words[REQUESTS]))
        if now >= record._next:
            record.snapshot(now)
    reading = tally.Reading(1, 1, True, record.words)
    for then, number in wanted[-305:]:
        assert abs(reading.series.at(then)[0] - number) <= 5 * 97
    told = measure([reading.series], 0, now, BOUNDS)
    assert abs(told.windows["5m"].requests - (wanted[-1][1] - wanted[-301][1])) <= 5 * 97
    assert told.windows["boot"].requests == wanted[-1][1]


def test_a_rest_is_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where requests take the snapshots, time without any has none: a burst stays where it was."""
    now = 1_000_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    record = Record()
    for pause in [0.01] * 100 + [100.0] + [0.01] * 50:
        now += pause
        if now > record.due:
            record.snapshot(now)
        count(record)
    told = tally.survey(None, record)
    series = tally.Reading(1, 1, True, record.words).series
    assert series.at(1_000_050.0)[0] == 100
    assert told.requests == 151


# Killed between any two steps


class Killed(BaseException):
    """The process ended here."""


class Server(RuleBasedStateMachine):
    """Workers of one server that count, die and fold, and are killed while they do."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="records-"))
        found = join("boot", [str(self.base)], [])
        assert found
        self.directory = found
        self.workers: dict[int, Record] = {}
        self.counted = 0
        self.born = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(tally, "is_alive", lambda pid, start: start in self.workers)
        logging.getLogger("flask_health").disabled = True

    def teardown(self) -> None:
        """Leaves nothing behind."""
        self.patch.undo()
        logging.getLogger("flask_health").disabled = False
        self.directory.leave()
        shutil.rmtree(self.base)

    def keep(self, start: int) -> None:
        """A worker's keeper does its round."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "start_time", lambda pid: start)
            patch.setattr(records, "MANY", 3)
            self.workers[start]._next = 0
            self.workers[start].keep(self.directory, len(self.workers), start == min(self.workers))

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def boot_worker(self) -> None:
        self.born += 1
        self.workers[self.born] = Record()
        self.keep(self.born)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 9), number=st.integers(1, 5), in_flight=st.booleans())
    def work(self, which: int, number: int, in_flight: bool) -> None:
        record = self.workers[self.one(which)]
        count(record, number)
        record.words[REQUESTS] += in_flight
        self.counted += number + in_flight

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 9))
    def be_killed(self, which: int) -> None:
        del self.workers[self.one(which)]

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 9))
    def look_after_it(self, which: int) -> None:
        self.keep(self.one(which))

    @precondition(lambda self: self.born)
    @rule(steps=st.integers(0, 20), after=st.booleans())
    def be_killed_while_folding(self, steps: int, after: bool) -> None:
        left = steps
        calls: dict[str, Any] = {}

        def dying(name: str) -> Any:
            def call(*args: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0 and not after:
                    raise Killed
                done = calls[name](*args, **more)
                if left < 0:
                    if name == "open":
                        os.close(done)
                    raise Killed
                return done

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in ("rename", "unlink", "open", "pread"):
                calls[name] = getattr(os, name)
                patch.setattr(os, name, dying(name))
            try:
                tally.fold(self.directory)
            except Killed:
                pass

    def one(self, number: int) -> int:
        """One of the living."""
        return sorted(self.workers)[number % len(self.workers)]

    @invariant()
    def nothing_is_lost_or_twice(self) -> None:
        """Whatever happened, all that was ever counted is told, once."""
        assert requests(self.directory) == self.counted

    @invariant()
    def nothing_piles_up(self) -> None:
        """The names in the total are those of files that may still be there."""
        total, _ = tally.read(self.directory)
        assert len(total.folded) <= self.born


TestKilledAtAnyStep = Server.TestCase
TestKilledAtAnyStep.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(Check)
)


def test_readers_never_see_less_or_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While workers die and are folded, a reader in another thread sees every count, once."""
    directory = join("boot", [str(tmp_path)], [])
    assert directory
    living: set[int] = set()
    monkeypatch.setattr(tally, "is_alive", lambda pid, start: start in living)
    wrong: list[int] = []
    looks = 0
    stop = threading.Event()
    known = 0

    def look() -> None:
        nonlocal looks
        while not stop.is_set():
            least = known
            seen = requests(directory)
            most = known + 10
            looks += 1
            if not least <= seen <= most:
                wrong.append(seen - least)

    reader = threading.Thread(target=look)
    reader.start()
    for start in range(1, 60):
        living.add(start)
        monkeypatch.setattr(records, "start_time", lambda pid, start=start: start)
        record = Record()
        record.keep(directory, 1, False)
        for _ in range(random.randrange(1, 4)):
            count(record)
            known += 1
        living.discard(start)
        tally.fold(directory)
    stop.set()
    reader.join(20)
    assert not wrong
    assert looks > 10


def test_a_reader_looks_again_when_records_were_folded(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies and is folded between two steps of a reader is counted once."""
    living = {7}
    monkeypatch.setattr(tally, "is_alive", lambda pid, start: start in living)
    monkeypatch.setattr(records, "start_time", lambda pid: 7)
    record = Record()
    record.keep(directory, 1, True)
    count(record, 5)
    real = directory.names

    def fold_then_list(folder: str = ".") -> list[str]:
        monkeypatch.setattr(directory, "names", real)
        living.clear()
        tally.fold(directory)
        return real(folder)

    def list_then_fold(folder: str = ".") -> list[str]:
        found = real(folder)
        fold_then_list(folder)
        return found

    for meanwhile in (fold_then_list, list_then_fold):
        monkeypatch.setattr(directory, "names", meanwhile)
        assert requests(directory) == 5


# The gate keeps it


def test_the_gate_shares_the_record_of_its_worker(tmp_path: Path) -> None:
    """From the moment that it appears, with what was counted before."""
    step = Blocked()
    gate = worker_gate(tmp_path, step)
    count(gate.record, 2)
    gate.begin()
    try:
        assert gate.presence
        assert gate.record.shared
        assert requests(gate.presence.directory) == 2
        shutil.rmtree(gate.presence.directory.path)
        eventually(lambda: gate.presence and gate.presence.directory.in_place(), why="made anew")
        eventually(
            lambda: gate.presence and tally.read(gate.presence.directory)[1], why="shared again"
        )
        assert requests(gate.presence.directory) == 2
    finally:
        step.go.set()
        gate.leave()


def test_a_gate_of_one_has_no_file(tmp_path: Path) -> None:
    """It counts in its own memory, and tells of it just as well."""
    record = Record()
    count(record, 3)
    record.words[REQUESTS] += 1
    told = tally.survey(None, record)
    assert (told.requests, told.in_flight, told.errors) == (4, 1, 1)
    assert record.due < NEVER
    assert EVERY == 5.0
    assert statedir.available
