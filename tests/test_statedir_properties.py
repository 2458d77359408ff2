"""Any interleaving of publish, rename, death, sweep, removal and read: never a false "ok".

A model knows who is truly alive and ready. Whoever looks at the files must not believe more.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck as Check
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.actors import Actor, Actors
from support.local import sibling, worker_gate

from flask_health.model import judge
from flask_health.model.server import SERVING, STATES, TOLD, Marker, WorkerState
from flask_health.workers import boots, statedir
from flask_health.workers.boots import join, remove_if_unused
from flask_health.workers.gate import Gate
from flask_health.workers.presence import Presence
from flask_health.workers.process import start_time
from flask_health.workers.statedir import StateDir
from flask_health.workers.watch import Lifelines, Watch

WANTED = 2
"""The number of workers that the servers of these tests want."""

SAYABLE = [state for state in STATES if state not in TOLD]
"""What a worker says that has not been told to stop."""
numbers = st.integers(min_value=0, max_value=50)


class Worker:
    """A worker in this process: its death is that of its locks."""

    def __init__(self, base: Path, boot: str, age: int) -> None:
        self.gate: Gate = worker_gate(base, age=age, workers=WANTED)
        self.presence: Presence = sibling(base, boot, age, WANTED)
        self.gate.presence = self.presence
        self.blind()

    def blind(self) -> None:
        """Has it look at locks alone: no process dies here."""
        self.presence.watch._lifelines = Lifelines(watching=False)

    @property
    def state(self) -> WorkerState:
        """What it believes to be."""
        return self.presence.state

    def die(self) -> None:
        """As the kernel does it: the locks go, the names stay."""
        if self.presence._publication:
            self.presence._publication.let_go()
        self.presence.directory._presence.let_go()

    def claims(self) -> bool:
        """Whether it would answer its probes with ok, its own setup aside."""
        return judge.ready(self.presence.watch.look(), 1)


class Server(RuleBasedStateMachine):
    """One boot of a server, its neighbours, and everything that can happen to its files."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="properties-"))
        self.ages = itertools.count(1)
        self.workers: list[Worker] = []
        self.opened = False
        self.tampered = False
        self.others: list[StateDir] = []
        logging.getLogger("flask_health").disabled = True  # Thousands of lines of what is right.

    def teardown(self) -> None:
        """Leaves nothing behind."""
        logging.getLogger("flask_health").disabled = False
        for worker in self.workers:
            worker.die()
        shutil.rmtree(self.base)

    def one(self, number: int) -> Worker:
        """One of the living."""
        return self.workers[number % len(self.workers)]

    def directories(self) -> list[Path]:
        """The directories of this boot that are in place: one, or none."""
        return list(self.base.glob("flask-health-*/v1-ours"))

    def serving(self) -> int:
        """How many truly live and serve."""
        return sum(worker.state in SERVING for worker in self.workers)

    def ready(self) -> int:
        """How many truly live and have finished setup."""
        return sum(worker.state is WorkerState.READY for worker in self.workers)

    # What workers do

    @precondition(lambda self: len(self.workers) < 5)
    @rule()
    def boot_worker(self) -> None:
        worker = Worker(self.base, "ours", next(self.ages))
        worker.presence.say(WorkerState.STARTING)
        self.workers.append(worker)

    @precondition(lambda self: self.workers)
    @rule(number=numbers, state=st.sampled_from(STATES[:-1]))
    def say(self, number: int, state: WorkerState) -> None:
        self.one(number).presence.say(state)

    @precondition(lambda self: self.workers)
    @rule(number=numbers)
    def finish_setup(self, number: int) -> None:
        self.one(number).presence.say(WorkerState.READY)

    @precondition(lambda self: self.workers)
    @rule(number=numbers)
    def look_whether_to_open(self, number: int) -> None:
        gate = self.one(number).gate
        gate.look()
        if gate.event.is_set() and not self.opened:
            assert self.ready() >= WANTED, "the gate opened too early"
            self.opened = True

    @precondition(lambda self: self.workers)
    @rule(number=numbers)
    def stop(self, number: int) -> None:
        self.one(number).presence.stop()

    @precondition(lambda self: self.workers)
    @rule(number=numbers)
    def leave(self, number: int) -> None:
        worker = self.one(number)
        worker.presence.leave()
        self.workers.remove(worker)
        worker.die()

    @precondition(lambda self: self.workers)
    @rule(number=numbers)
    def be_killed(self, number: int) -> None:
        worker = self.one(number)
        self.workers.remove(worker)
        worker.die()

    @precondition(lambda self: self.workers)
    @rule(number=numbers)
    def mend(self, number: int) -> None:
        worker = self.one(number)
        worker.presence.mend()
        worker.blind()

    # What others do

    @rule()
    def remove_the_directory(self) -> None:
        for directory in self.directories():
            shutil.rmtree(directory)
            self.tampered = True

    @rule(number=numbers)
    def remove_a_file(self, number: int) -> None:
        files = sorted(f for d in self.directories() for f in d.iterdir())
        if files:
            files[number % len(files)].unlink()
            self.tampered = True

    @rule(age=numbers, off=st.integers(-2, 2), state=st.sampled_from(STATES))
    def forge_a_marker(self, age: int, off: int, state: WorkerState) -> None:
        me = os.getpid()
        forged = Marker(1000 + age, me, start_time(me) + off, WANTED, state)
        for directory in self.directories():
            (directory / forged.name).touch()

    @rule()
    def boot_another_server(self) -> None:
        directory = join(f"other{len(self.others)}", [str(self.base)], [])
        assert directory
        self.others.append(directory)

    @precondition(lambda self: self.others)
    @rule(number=numbers)
    def end_another_server(self, number: int) -> None:
        self.others.pop(number % len(self.others))._presence.let_go()

    @rule()
    def sweep(self) -> None:
        for home in self.base.glob("flask-health-*"):
            boots._sweep(str(home))

    @precondition(lambda self: self.workers)
    @rule()
    def mend_all(self) -> None:
        for worker in self.workers:
            worker.presence.mend()
            worker.blind()
        self.tampered = False

    # What must hold

    @invariant()
    def nobody_says_ok_falsely(self) -> None:
        """Whoever would answer ok: the gate has truly opened, and somebody truly serves."""
        for worker in self.workers:
            if worker.claims():
                assert self.opened, "ok before the gate has opened"
                assert self.serving() >= 1, "ok although nobody serves"

    @invariant()
    def an_outsider_is_not_deceived(self) -> None:
        """The same for a reader that belongs to no worker, in whatever is in place."""
        directory = join("ours", [str(self.base)], []) if self.directories() else None
        if directory is None:
            return
        watch = Watch(directory, os.getppid())
        watch._lifelines = Lifelines(watching=False)
        census = watch.look()
        directory._presence.let_go()
        mine = {worker.presence._marker for worker in self.workers}
        assert set(census.markers) <= mine, "somebody is believed who does not live"
        if judge.ready(census, 1):
            assert self.opened
            assert self.serving() >= 1

    @invariant()
    def where_nothing_was_touched_all_is_seen(self) -> None:
        """Without tampering every worker sees exactly the living, as they are. Those that stop mend
        nothing any more, neither their marker nor their sight.
        """
        if self.tampered:
            return
        stay = [w for w in self.workers if w.state is not WorkerState.STOPPING]
        wanted = [worker.presence._marker for worker in stay]
        for worker in stay:
            seen = worker.presence.watch.look().markers
            assert [m for m in seen if m.state is not WorkerState.STOPPING] == wanted


Server.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(Check)
)


class TestServer(Server.TestCase):  # type: ignore[misc,valid-type]
    """Any interleaving in one process: who is believed to serve, serves."""


# The same with processes that are killed for real, read through process descriptors.

ORDERS = st.lists(
    st.tuples(st.sampled_from(["boot", "say", "kill", "leave", "mend", "sweep"]), numbers, numbers),
    min_size=1,
    max_size=25,
)


@pytest.fixture(scope="module")
def actors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Actors]:
    """Workers that are processes."""
    home = tmp_path_factory.mktemp("actors")
    with Actors(home / "home", home) as made:
        yield made


def order(actors: Actors, boot: str, what: str, which: int, how: int) -> None:
    """Has one thing happen."""
    if what == "boot" and len(actors.living) < 5:
        age = max((a.age for a in actors.living), default=0) + 1  # type: ignore[attr-defined]
        actor = actors.spawn(boot, age, WANTED)
        actor.age = age  # type: ignore[attr-defined]
    if not actors.living:
        return
    actor = actors.living[which % len(actors.living)]
    if what == "say":
        actor.say(str(SAYABLE[how % len(SAYABLE)]))
    elif what == "kill":
        actors.kill(actor)
    elif what == "leave":
        retire(actors, actor)
    elif what == "mend":
        actor.do("mend")
    elif what == "sweep":
        boots._sweep(str(next(actors.base.glob("flask-health-*"))))


def retire(actors: Actors, actor: Actor) -> None:
    """Has one leave, and waits until it is gone."""
    actors.living.remove(actor)
    actor.do("leave")
    actor.gone()


def settle(directory: StateDir, watch: Watch) -> None:
    """Lets the last change be so long ago that the next look is remembered, and has it looked."""
    then = time.time_ns() - 10**9
    os.utime(directory.path, ns=(then, then))
    watch.look()
    assert watch.unchanged()


ordinals = itertools.count()


@settings(max_examples=40, deadline=None, suppress_health_check=list(Check))
@given(orders=ORDERS)
def test_processes_are_seen_as_they_are(actors: Actors, orders: list[tuple[str, int, int]]) -> None:
    """After each event one reader, which keeps its watch, sees exactly who lives, in which state:
    nothing that it remembers survives a change.
    """
    boot = f"boot{next(ordinals)}"
    directory = join(boot, [str(actors.base)], [])
    assert directory
    watch = Watch(directory, os.getpid())
    try:
        for what, which, how in orders:
            if how % 2:
                settle(directory, watch)
            order(actors, boot, what, which, how)
            wanted = {a.pid: a.state for a in actors.living}
            for _ in range(2):
                assert {m.pid: str(m.state) for m in watch.look().markers} == wanted
    finally:
        actors.end()
        directory.leave()
        remove_if_unused(directory.path)


def test_readers_never_see_the_dead(actors: Actors) -> None:
    """While workers come and are killed, threads that share one watch see nobody who is known to
    be gone.
    """
    directory = join("shared", [str(actors.base)], [])
    assert directory
    watch = Watch(directory, os.getpid())
    killed: set[int] = set()
    wrong: list[set[int]] = []
    looks: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            known = killed.copy()
            seen = {marker.pid for marker in watch.look().markers}
            looks.append(len(seen))
            if seen & known:
                wrong.append(seen & known)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for age in range(1, 31):
            worker = actors.spawn("shared", age, 1, "ready")
            actors.kill(worker)
            killed.add(worker.pid)
    finally:
        stop.set()
        for reader in readers:
            reader.join(10)
    assert not wrong
    assert 0 in looks
    assert 1 in looks


# Joining and sweeping at the same time.


def test_a_directory_made_anew_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that another server has made, while a sweeper was about to remove the last one of that
    name, stays.
    """
    path = tmp_path / "v1-boot"
    path.mkdir()
    try_lock = statedir.try_lock

    def replaced(fd: int) -> bool:
        path.rmdir()
        path.mkdir()
        return try_lock(fd)

    monkeypatch.setattr(boots, "try_lock", replaced)
    remove_if_unused(str(path))
    assert path.is_dir()
    monkeypatch.undo()
    remove_if_unused(str(path))
    assert not path.exists()


def test_no_sweep_takes_a_directory_from_under_a_worker(tmp_path: Path) -> None:
    """Servers come and go while others sweep: whoever has joined a directory finds it in place."""
    deadline = time.monotonic() + 20.0
    wrong: list[object] = []

    def come_and_go(number: int) -> None:
        for turn in range(40):
            directory = join(f"boot{(number + turn) % 2}", [str(tmp_path)], [])
            if directory is None or not directory.in_place():
                wrong.append((number, turn, "not joined"))
                return
            directory.create(f"file{number}")
            if not directory.exists(f"file{number}"):
                wrong.append((number, turn, "swept"))
            directory.leave()
            remove_if_unused(directory.path)

    threads = [threading.Thread(target=come_and_go, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.1, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


@given(st.lists(st.sampled_from(STATES), max_size=8))
def test_who_was_told_to_stop_says_nothing_else(states: list[WorkerState]) -> None:
    """It may be `leaving`, `draining` and then `stopping`; nothing leads back to serving."""
    with tempfile.TemporaryDirectory() as base:
        presence = sibling(base, "boot", 1)
        presence.say(WorkerState.STARTING)
        told = WorkerState.STARTING
        for state in states:
            presence.say(state)
            if told not in TOLD or (state in TOLD and told is not WorkerState.STOPPING):
                told = state
            assert presence.state is told
            assert presence.directory.exists(presence._marker.name)
        presence.leave()


def test_workers_that_leave_together_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has begun to leave removes the directory for those that leave meanwhile."""
    first, second = (sibling(tmp_path, "boot", age) for age in (1, 2))
    second._marker = second._marker._replace(pid=os.getppid())
    for presence in (first, second):
        presence.say(WorkerState.STARTING)
    monkeypatch.setattr(
        "flask_health.workers.presence.forked_children",
        lambda _: frozenset({first.pid, second.pid}),
    )
    leave = first.directory.leave

    def leave_last() -> None:
        second.stop()
        second.leave()
        assert os.path.isdir(first.directory.path), "removed from under a worker"
        leave()

    monkeypatch.setattr(first.directory, "leave", leave_last)
    first.stop()
    first.leave()
    assert not os.path.exists(first.directory.path)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6))
@settings(max_examples=30, deadline=None, suppress_health_check=list(Check))
def test_a_sweep_removes_exactly_the_void(living: list[str]) -> None:
    """The directories that no living process uses go, with all that is in them; the others stay."""
    base = Path(tempfile.mkdtemp(prefix="sweep-"))
    kept = []
    for boot in ("a", "b", "c"):
        directory = join(boot, [str(base)], [])
        assert directory
        directory.create("open")
        directory.create("worker.1.2.3.4.ready")
        kept.append(directory)
    for directory in kept:
        if Path(directory.path).name.removeprefix("v1-") not in living:
            directory._presence.let_go()
    (home,) = base.iterdir()
    (home / "unknown").mkdir()
    boots._sweep(str(home))
    left = {path.name for path in home.iterdir()}
    assert left == {"unknown", *(f"v1-{boot}" for boot in living)}
    for boot in living:
        assert (home / f"v1-{boot}" / "open").exists()
    shutil.rmtree(base)
