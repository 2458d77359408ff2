"""Looking at the workers: a look that is believed again never survives a change."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.actors import Actors
from support.local import sibling
from support.waiting import eventually

from flask_health.model.server import Census, Marker, WorkerState
from flask_health.workers import process
from flask_health.workers.boots import join
from flask_health.workers.process import start_time
from flask_health.workers.statedir import StateDir
from flask_health.workers.watch import COARSE_CLOCK, Lifelines, Watch

ME = os.getpid()


@pytest.fixture
def directory(tmp_path: Path) -> StateDir:
    """A boot's directory."""
    found = join("boot", [str(tmp_path)], [])
    assert found
    return found


def put(directory: StateDir, name: str) -> int:
    """Puts a locked file there, as a worker does; the descriptor holds the lock."""
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=directory.fd)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def name(age: int = 1, pid: int = ME, start: int | None = None, state: str = "ready") -> str:
    """The name of a marker, by default of this process."""
    start = start_time(pid) if start is None else start
    return Marker(age, pid, start, 2, WorkerState(state)).name


def pids(census: Census) -> list[int]:
    """The workers that a look has seen."""
    return [marker.pid for marker in census.markers]


class Counting:
    """Counts the listings of a directory."""

    def __init__(self, directory: StateDir, patch: pytest.MonkeyPatch) -> None:
        self.scans = 0
        self._names = directory.names
        patch.setattr(directory, "names", self._list)

    def _list(self) -> list[str]:
        self.scans += 1
        return self._names()


def age_of(directory: StateDir, seconds: float) -> None:
    """Makes the last change of a directory that long ago."""
    then = time.time_ns() - round(seconds * 1e9)
    os.utime(directory.path, ns=(then, then))


# What is believed


def test_an_unchanged_directory_is_not_listed_again(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the last change is longer ago than a clock tick, a look is believed again."""
    fd = put(directory, name())
    counting = Counting(directory, monkeypatch)
    watch = Watch(directory, os.getppid())
    age_of(directory, 1.0)
    first = watch.look()
    assert pids(first) == [ME]
    assert watch.unchanged()
    assert all(watch.look() is first for _ in range(100))
    assert counting.scans == 1
    os.close(fd)


@pytest.mark.parametrize("change", ["appear", "rename", "remove"])
def test_a_change_in_the_same_tick_is_seen(directory: StateDir, change: str) -> None:
    """Timestamps are coarse: a change that leaves the modification time as it was is not missed,
    for the look before it was too young to be believed.
    """
    fds = [put(directory, name(1))]
    watch = Watch(directory, os.getppid())
    os.utime(directory.path)
    before = os.stat(directory.path)
    assert len(watch.look().markers) == 1
    if change == "appear":
        fds.append(put(directory, name(2)))
    elif change == "rename":
        directory.rename(name(1), name(1, state="failed"))
    else:
        directory.remove(name(1))
    os.utime(directory.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert time.time_ns() - before.st_mtime_ns < COARSE_CLOCK * 50
    states = [str(marker.state) for marker in watch.look().markers]
    assert states == {"appear": ["ready"] * 2, "rename": ["failed"], "remove": []}[change]
    for fd in fds:
        os.close(fd)


def test_the_clock_decides_when_a_look_is_believed(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just below the coarseness of timestamps it is not, just above it is."""
    watch = Watch(directory, os.getppid())
    modified = os.stat(directory.path).st_mtime_ns
    for elapsed, believed in [(0, False), (COARSE_CLOCK, False), (COARSE_CLOCK + 1, True)]:
        now = modified + elapsed
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        watch.look()
        assert watch.unchanged() is believed, elapsed
    monkeypatch.setattr(time, "time_ns", lambda: modified - 3600 * 10**9)
    watch._scanned_at = -1
    watch.look()
    assert not watch.unchanged(), "the clock was set back"


def test_a_change_during_a_look_is_seen_by_the_next(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The modification time is read before the names are."""
    fds = [put(directory, name(1))]
    age_of(directory, 1.0)
    watch = Watch(directory, os.getppid())
    names = directory.names

    def names_then_change() -> list[str]:
        found = names()
        monkeypatch.setattr(directory, "names", names)
        fds.append(put(directory, name(2)))
        return found

    monkeypatch.setattr(directory, "names", names_then_change)
    assert len(watch.look().markers) == 1
    assert len(watch.look().markers) == 2
    for fd in fds:
        os.close(fd)


# Deaths


@pytest.fixture(scope="module")
def actors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Actors]:
    """Workers that are processes."""
    home = tmp_path_factory.mktemp("actors")
    with Actors(home / "home", home) as made:
        yield made


@pytest.fixture
def acted(actors: Actors) -> Iterator[StateDir]:
    """The directory in which actors meet."""
    found = join("acted", [str(actors.base)], [])
    assert found
    yield found
    actors.end()


def test_a_death_is_seen_at_once(actors: Actors, acted: StateDir) -> None:
    """It changes nothing in the directory: the process descriptor tells."""
    first, second = (actors.spawn("acted", age, 2, "ready") for age in (1, 2))
    age_of(acted, 1.0)
    watch = Watch(acted, ME)
    assert pids(watch.look()) == [first.pid, second.pid]
    assert watch.unchanged()
    actors.kill(first)
    assert not watch.unchanged()
    assert pids(watch.look()) == [second.pid]
    assert watch.unchanged()
    actors.kill(second)
    assert pids(watch.look()) == []


def test_a_death_is_seen_without_process_descriptors(
    actors: Actors, acted: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On older kernels, or on another system, every look looks at the locks."""
    monkeypatch.delattr(os, "pidfd_open")
    first, second = (actors.spawn("acted", age, 2, "ready") for age in (1, 2))
    age_of(acted, 1.0)
    watch = Watch(acted, ME)
    assert pids(watch.look()) == [first.pid, second.pid]
    assert not watch.unchanged()
    actors.kill(first)
    assert pids(watch.look()) == [second.pid]


def test_a_death_is_seen_when_no_more_files_can_be_opened(
    actors: Actors, acted: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that may open no descriptor for it is not taken for watched."""

    def refused(pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    opens = os.pidfd_open
    monkeypatch.setattr(os, "pidfd_open", refused)
    worker = actors.spawn("acted", 1, 1, "ready")
    age_of(acted, 1.0)
    watch = Watch(acted, ME)
    assert pids(watch.look()) == [worker.pid]
    assert not watch.unchanged()
    monkeypatch.setattr(os, "pidfd_open", opens)
    assert pids(watch.look()) == [worker.pid]
    assert watch.unchanged()
    actors.kill(worker)
    assert pids(watch.look()) == []


def test_a_stopped_worker_is_not_dead(actors: Actors, acted: StateDir) -> None:
    """SIGSTOP takes no lock away."""
    worker = actors.spawn("acted", 1, 1, "ready")
    os.kill(worker.pid, signal.SIGSTOP)
    watch = Watch(acted, ME)
    assert pids(watch.look()) == [worker.pid]
    actors.kill(worker)
    assert pids(watch.look()) == []


def test_a_look_during_another_look_is_as_true(actors: Actors, acted: StateDir) -> None:
    """While one thread finds out who has died, no other is answered from before that death."""
    worker = actors.spawn("acted", 1, 1, "ready")
    age_of(acted, 1.0)
    watch = Watch(acted, ME)
    assert pids(watch.look()) == [worker.pid]
    assert watch.unchanged()
    actors.kill(worker)
    meanwhile: list[Census] = []
    count = watch._count

    def slow_count(lifelines: Lifelines) -> Census:
        if not meanwhile:
            meanwhile.append(Census())
            other = threading.Thread(target=lambda: meanwhile.append(watch.look()))
            other.start()
            other.join(10)
        return count(lifelines)

    watch._count = slow_count  # type: ignore[method-assign]
    assert pids(watch.look()) == []
    assert len(meanwhile) == 2, "a look waited for another"
    assert pids(meanwhile[1]) == []


# Markers that lie


@pytest.mark.parametrize("watching", [True, False])
def test_an_unlocked_marker_is_void(directory: StateDir, watching: bool) -> None:
    """Whatever its name says: a name alone proves nothing."""
    parent = os.getppid()
    for forged in (name(1, parent), name(2, 1), name(3, 2**22 + 1, 5), name(4, parent, 0)):
        directory.create(forged)
    watch = Watch(directory, parent)
    watch._lifelines = Lifelines(watching)
    assert watch.look().markers == ()


@pytest.mark.parametrize("watching", [True, False])
@pytest.mark.parametrize("off", [-1, 1, 100])
def test_a_reused_pid_is_void(directory: StateDir, watching: bool, off: int) -> None:
    """A process of that number lives, but it started at another time."""
    fd = put(directory, name(start=start_time(ME) + off))
    watch = Watch(directory, os.getppid())
    watch._lifelines = Lifelines(watching)
    assert watch.look().markers == ()
    os.close(fd)


def test_a_start_that_cannot_be_told_proves_nothing(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when no more files can be opened: whoever holds the lock, and is there, lives."""
    gone = 2**22 + 1
    locks = [put(directory, name()), put(directory, name(2, gone, 5))]
    monkeypatch.setattr(process, "stat_fields", lambda pid: [])
    assert pids(Watch(directory, os.getppid()).look()) == [ME]
    for fd in locks:
        os.close(fd)


def test_a_pid_reused_while_it_is_looked_at_is_void(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a lock and the opening of the descriptor a worker may die and its
    number be given away: it is asked again.
    """
    fd = put(directory, name())
    watch = Watch(directory, os.getppid())
    opens = os.pidfd_open

    def die_then_open(pid: int) -> int:
        if pid == ME:
            os.close(fd)  # With its lock; this process stands for the one that has its number now.
        return opens(pid)

    monkeypatch.setattr(os, "pidfd_open", die_then_open)
    assert watch.look().markers == ()


def test_other_files_are_ignored(directory: StateDir) -> None:
    """A newer version of the library may put files there that this one does not know."""
    for other in ("record.12", "leader", "worker.new", ".tmp.1.1", "checks.json"):
        os.close(put(directory, other))
    os.mkdir("worker.1.2.3.4.ready", dir_fd=directory.fd)
    os.symlink("nowhere", name(7), dir_fd=directory.fd)
    assert Watch(directory, os.getppid()).look() == Census()


def test_the_order_is_that_of_age(directory: StateDir) -> None:
    """As numbers: the tenth worker is younger than the ninth."""
    fds = [put(directory, name(age)) for age in (10, 9, 100, 1)]
    census = Watch(directory, os.getppid()).look()
    assert [marker.age for marker in census.markers] == [1, 9, 10, 100]
    for fd in fds:
        os.close(fd)


# When things go wrong


def test_a_removed_directory_shows_nobody(directory: StateDir) -> None:
    """Nothing raises, and nothing is ready."""
    fd = put(directory, name())
    directory.create("open")
    watch = Watch(directory, os.getppid())
    assert watch.look().opened
    shutil.rmtree(directory.path)
    assert watch.look() == Census()
    os.close(fd)


def test_a_directory_that_cannot_be_read_is_said_once(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It shows nobody until it can be read again; the log has one line for it."""
    fd = put(directory, name())
    watch = Watch(directory, os.getppid())
    with monkeypatch.context() as patch:

        def unreadable() -> list[str]:
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(directory, "names", unreadable)
        for _ in range(3):
            assert watch.look() == Census()
    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    said = [text for text in errors if directory.path in text]
    assert len(said) == 1
    assert said[0].startswith(f"cannot read {directory.path}: ")
    assert pids(watch.look()) == [ME]
    os.close(fd)


def test_a_watch_without_a_master_is_orphaned(directory: StateDir) -> None:
    """A process that is neither parent nor self is no master of ours."""
    assert not Watch(directory, os.getppid()).look().orphaned
    assert not Watch(directory, ME).look().orphaned
    assert Watch(directory, 1 if os.getppid() != 1 else 2).look().orphaned


def test_descriptors_are_closed_with_the_watch(actors: Actors, acted: StateDir) -> None:
    """A watch that is replaced, as after the directory had vanished, keeps none."""
    fds = Path("/proc/self/fd")
    workers = [actors.spawn("acted", age, 3, "ready") for age in (1, 2, 3)]
    before = len(list(fds.iterdir()))
    watch = Watch(acted, ME)
    assert pids(watch.look()) == [worker.pid for worker in workers]
    assert len(list(fds.iterdir())) > before
    del watch
    eventually(lambda: len(list(fds.iterdir())), lambda now: now <= before)


def test_the_dead_cost_no_descriptor(actors: Actors, acted: StateDir) -> None:
    """A server that replaces workers for weeks keeps one descriptor for each living one."""
    fds = Path("/proc/self/fd")
    watch = Watch(acted, ME)
    watch.look()
    before = len(list(fds.iterdir()))
    for age in range(20):
        worker = actors.spawn("acted", age, 1, "ready")
        assert pids(watch.look()) == [worker.pid]
        actors.kill(worker)
        assert pids(watch.look()) == []
    assert len(list(fds.iterdir())) == before


def test_a_forked_child_lets_go(directory: StateDir) -> None:
    """It neither closes its parent's set of descriptors nor keeps the parent's watch alive."""
    fd = put(directory, name())
    watch = Watch(directory, os.getppid())
    watch.look()
    assert watch._lifelines.complete
    watch._lifelines.let_go()  # What a child does first.
    assert not watch._lifelines.complete
    assert watch._lifelines.poll(0, 1) == []
    assert not watch.unchanged()
    assert pids(watch.look()) == [ME]
    os.close(fd)


def test_no_epoll_is_no_reason_to_fail(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has none."""

    def none() -> Any:
        raise AttributeError("epoll")

    monkeypatch.setattr(select, "epoll", none)
    fd = put(directory, name())
    watch = Watch(directory, os.getppid())
    assert pids(watch.look()) == [ME]
    assert not watch.unchanged()
    os.close(fd)


# Publishing


@pytest.mark.parametrize("moment", ["before the rename", "after the rename", "before the name"])
@pytest.mark.parametrize("what", ["say", "expect"])
def test_a_signal_in_the_middle_of_a_change_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, what: str
) -> None:
    """A worker that is told to stop at the very moment in which its setup ends, or another number
    of workers is wanted, is not left with a marker that says ready.
    """
    presence = sibling(tmp_path, "boot", 1)
    presence.say(WorkerState.STARTING if what == "say" else WorkerState.READY)
    directory = presence.directory
    rename, replace = directory.rename, Marker._replace
    told: list[str] = []

    def tell(now: str) -> None:
        if now == moment and not told:
            told.append(now)
            presence.stop()  # The signal's handler runs before the caller goes on.

    def telling_rename(old: str, new: str) -> None:
        tell("before the rename")
        rename(old, new)
        tell("after the rename")

    def telling_replace(marker: Marker, **changes: Any) -> Marker:
        new = replace(marker, **changes)
        tell("before the name")
        return new

    monkeypatch.setattr(directory, "rename", telling_rename)
    monkeypatch.setattr(Marker, "_replace", telling_replace)
    if what == "say":
        presence.say(WorkerState.READY)
    else:
        presence.expect(1)
    assert told
    (marker,) = Watch(directory, os.getppid()).look().markers
    assert marker.state is presence.state is WorkerState.STOPPING
    presence.leave()


def test_a_stopping_worker_says_nothing_else(tmp_path: Path) -> None:
    """Setup that ends after the worker was told to stop changes nothing."""
    presence = sibling(tmp_path, "boot", 1)
    presence.say(WorkerState.STARTING)
    presence.stop()
    presence.say(WorkerState.READY)
    presence.mend()
    (marker,) = Watch(presence.directory, os.getppid()).look().markers
    assert marker.state is WorkerState.STOPPING
    presence.leave()


def test_a_marker_is_locked_before_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no moment in which a reader finds the marker of a living worker void."""
    presence = sibling(tmp_path, "boot", 1)
    directory = presence.directory
    rename, seen = directory.rename, []

    def look_then_rename(old: str, new: str) -> None:
        seen.append((old.startswith(".tmp."), directory.is_locked(old)))
        rename(old, new)
        seen.append((new.startswith("worker."), directory.is_locked(new)))

    monkeypatch.setattr(directory, "rename", look_then_rename)
    presence.say(WorkerState.STARTING)
    assert seen == [(True, True), (True, True)]
    presence.leave()
