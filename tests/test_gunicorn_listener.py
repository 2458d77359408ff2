"""The second port under a real gunicorn: it answers whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import processes, statedir
from support.environment import accepts, free_port
from support.gunicorn import Gunicorn, Serve
from support.probing import Prober, Seen, get
from support.stage import Stage
from support.waiting import eventually

CLASSES = {
    "sync": ("-k", "sync"),
    "gthread": ("-k", "gthread", "--threads", "2"),
    "gevent": ("-k", "gevent"),
}
TOKEN = {"Authorization": "Bearer hunter2"}


class Probed:
    """A server with a second port."""

    def __init__(
        self, serve: Serve, *args: str, app: str = "saturated:app", **options: Any
    ) -> None:
        self.second: Any = options.pop("second", None) or free_port()
        listen = f"unix:{self.second}" if isinstance(self.second, str) else ""
        env = {
            "FLASK_HEALTH_LISTEN": listen or f"127.0.0.1:{self.second}",
            **options.pop("env", {}),
        }
        self.server: Gunicorn = serve(app, *args, env=env, **{"workers": 2, **options})
        self.pool = ThreadPoolExecutor(32)

    def get(self, path: str = "/health", **options: Any) -> Seen:
        """Sends one request to the second port."""
        return get(self.second, path, **{"timeout": 5.0, **options})

    def answers(self, code: int, path: str = "/health") -> Seen:
        """Waits until the second port answers with this code."""
        return eventually(lambda: self.get(path), lambda seen: seen.code == code, why=path)

    def prober(self, path: str = "/health", **options: Any) -> Prober:
        """Returns a prober of the second port."""
        return Prober(self.second, path, **{"timeout": 1.0, **options})

    def told(self) -> dict[str, Any]:
        """Returns what the second port tells who has the token."""
        told: dict[str, Any] = self.get("/health?format=json", headers=TOKEN).json()
        return told

    def elected(self) -> int:
        """Waits until a worker holds the lock, and returns it."""

        def holders() -> list[int]:
            workers = self.server.workers()
            return [pid for pid in workers if any(_is_lock(f) for f in processes.locks(pid))]

        return eventually(holders, lambda found: len(found) == 1, why="one is elected")[0]

    def all_share(self) -> None:
        """Waits until every worker holds a copy of the socket."""
        eventually(lambda: [pid for pid in self.server.workers() if not self._has_copy(pid)] == [])

    def _has_copy(self, pid: int) -> bool:
        return _listening_inode(self.second) in _sockets(pid)

    def busy(self, path: str, number: int) -> None:
        """Sends requests until that many more have begun; they go on until `keep` is withdrawn."""
        self.server.stage.order("keep")
        goal = len(self._begun()) + number
        for _ in range(30):
            self.pool.submit(self.server.get, path, timeout=60.0)
            try:
                eventually(self._begun, lambda begun: len(begun) >= goal, within=0.3)
            except AssertionError:
                continue  # It waits behind others: no worker takes what another one could begin.
            return
        raise AssertionError(f"{self._begun()} have begun, {goal} should")

    def _begun(self) -> list[int]:
        return self.server.stage.pids("waiting")


def _is_lock(path: str) -> bool:
    return path.endswith("/listener")


def _listening_inode(port: int) -> str:
    """The inode of the socket that listens on a port of 127.0.0.1, as /proc tells it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}" and fields[3] == "0A":
            return f"socket:[{fields[9]}]"
    return ""


def _sockets(pid: int) -> set[str]:
    """The sockets that a process has open."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.add(os.readlink(path))
        except FileNotFoundError:
            continue
    return {name for name in found if name.startswith("socket:")}


@pytest.fixture
def probed(serve: Serve) -> Iterator[Callable[..., Probed]]:
    """Start servers with a second port, all of whose workers are ready and have a copy of it."""
    made: list[Probed] = []

    def start(*args: str, **options: Any) -> Probed:
        made.append(Probed(serve, *args, **options))
        made[-1].answers(200)
        if isinstance(made[-1].second, int):
            made[-1].all_share()
        return made[-1]

    yield start
    for server in made:
        server.server.stage.withdraw("keep")
        server.pool.shutdown()


Start = Callable[..., Probed]


# Busy


BUSY = [("sync", "/wait", 2), ("gthread", "/wait", 4), ("gthread", "/compute", 4)]
BUSY += [("gevent", "/compute", 2)]


@pytest.mark.parametrize(("name", "path", "number"), BUSY)
def test_it_answers_while_all_workers_are_busy(
    probed: Start, name: str, path: str, number: int
) -> None:
    """And the port of the service does not."""
    server = probed(*CLASSES[name])
    server.busy(path, number)
    with server.prober(threads=2) as prober, server.prober("/health/live") as live:
        prober.sees(60)
        live.sees(30)
        assert server.server.get(timeout=1.0).code == "timeout"
    assert prober.codes() == live.codes() == {200}
    assert prober.slowest() < 0.5


def test_an_extension_module_that_lets_nobody_run(probed: Start) -> None:
    """One worker that keeps its interpreter to itself does not matter: another one stands in."""
    server = probed()
    server.busy("/hog", 1)
    with server.prober() as prober:
        prober.sees(50)
    assert prober.codes() == {200}
    assert prober.slowest() < 0.5


# Stopped, killed, replaced


@pytest.mark.parametrize("name", CLASSES)
def test_kill_of_the_elected_worker(probed: Start, name: str) -> None:
    """No probe fails: the port stays open, and somebody else is elected within a second or so."""
    server = probed(*CLASSES[name], workers=3)
    elected = server.elected()
    with server.prober() as prober:
        prober.sees(5)
        server.server.signal(signal.SIGKILL, elected)
        eventually(lambda: not processes.running(elected))
        assert eventually(server.elected, within=2.0) != elected
        prober.sees(20)
    failed = [seen for seen in prober.seen if seen.code != 200]
    assert len(failed) <= 1, failed  # What it had accepted and not answered is lost with it.
    assert prober.slowest() < 1.0


def test_the_elected_worker_is_stopped(probed: Start) -> None:
    """The others answer, long before gunicorn kills it."""
    server = probed("--timeout", "60")
    stopped = server.elected()
    with server.prober() as prober:
        prober.sees(5)
        server.server.signal(signal.SIGSTOP, stopped)
        eventually(lambda: processes.stopped(stopped))
        prober.sees(50)
        server.server.signal(signal.SIGCONT, stopped)
        prober.sees(20)
    failed = [seen for seen in prober.seen if seen.code != 200]
    assert len(failed) <= 1, failed
    assert server.elected() == stopped


def test_a_server_of_one_worker_that_is_killed(probed: Start) -> None:
    """The port is gone with it, and comes back with its replacement."""
    server = probed(workers=1)
    server.server.kill(server.elected())
    server.answers(200)


def test_while_the_workers_start(serve: Serve, tmp_path: Path) -> None:
    """It answers 503 before anybody is ready, and turns with the main port."""
    server = Probed(serve, stage=Stage(tmp_path / "stage", "wait"))
    try:
        assert server.answers(503).answer == (503, "not ready")
        assert server.answers(200, "/health/live").answer == (200, "ok")
        server.server.stage.withdraw("wait")
        server.server.answers(200)
        assert server.get().answer == (200, "ok")
    finally:
        server.pool.shutdown()


def test_a_worker_that_starts_does_not_make_it_red(probed: Start) -> None:
    """A replacement is cold: the server is not."""
    server = probed()
    server.server.stage.order("wait")
    with server.prober() as prober:
        server.server.replaced()
        server.server.has_markers(1, "starting")
        prober.sees(30)
        server.server.stage.withdraw("wait")
        server.server.has_markers(2)
        prober.sees(10)
    assert [seen for seen in prober.seen if seen.code != 200][1:] == []


# The server's own moments


def test_reload(probed: Start) -> None:
    """HUP turns nothing red: the port is open all along, and the new workers have it at the end."""
    server = probed("--graceful-timeout", "60", env={"SETUP_SECONDS": "0.5"})
    old = server.server.workers()
    with server.prober() as prober:
        prober.sees(5)
        server.server.signal(signal.SIGHUP)
        eventually(server.server.workers, lambda now: len(now) == 2 and not set(now) & set(old))
        server.all_share()
        assert server.elected() not in old
        prober.sees(20)
    assert prober.codes() == {200}


def test_upgrade(probed: Start) -> None:
    """The old server answers until it goes, then the new one takes the port over."""
    server = probed()
    old = server.elected()
    server.server.signal(signal.SIGUSR2)
    master = server.server.new_master()
    eventually(lambda: len(server.server.workers(master)) == 2)
    with server.prober(every=0.05) as prober:
        prober.sees(10)
        assert prober.codes() == {200}
        assert _listening_inode(server.second) in _sockets(old)
        server.server.signal(signal.SIGTERM)
        eventually(lambda: not processes.running(server.server.pid))
        gone = prober.seen[-1].at
        eventually(lambda: 200 in prober.codes(since=gone), within=5.0, why="taken over")
        prober.sees(10)
    refused = [seen for seen in prober.since(gone) if seen.code != 200]
    assert not refused or refused[-1].at - refused[0].at < 2.0
    assert "cannot be opened" not in server.server.log()


@pytest.mark.parametrize("delay", ["0", "2"])
def test_stop(probed: Start, delay: str) -> None:
    """From TERM until the last request is served, through the drain, it says not ready and live;
    then the port is gone.
    """
    server = probed(env={"FLASK_HEALTH_DRAIN_DELAY": delay})
    server.busy("/wait", 1)
    with server.prober() as ready, server.prober("/health/live") as live:
        server.server.signal(signal.SIGTERM)
        eventually(lambda: ready.first(503), why="not ready")
        ready.sees(20)
        live.sees(5)
        assert ready.seen[-1].answer == (503, "not ready")
        assert live.seen[-1].answer == (200, "ok")
        server.server.stage.withdraw("keep")
        eventually(lambda: ready.first("refused"), why="gone")
    assert server.server.wait() == 0
    red = ready.first(503)
    assert red
    assert {seen.code for seen in ready.since(red.at)} <= {503, "refused", "reset"}


def test_the_master_is_killed(probed: Start) -> None:
    """Orphans say that they are not live, or nothing; and a new server can have the port."""
    server = probed()
    server.server.signal(signal.SIGKILL)
    # It looks dead before the last of its threads is: then its workers have another parent.
    eventually(lambda: server.get("/health/live").code != 200, within=5.0, why="orphaned")
    seen = [server.get("/health/live").code for _ in range(20)]
    assert set(seen) <= {503, "refused", "reset"}, seen
    eventually(lambda: not accepts(server.second), why="let go")


def test_everything_is_killed_and_started_again(probed: Start, tmp_path: Path) -> None:
    """A unix socket that nobody listens on is replaced; a stop in good order removes it."""
    path = str(tmp_path / "health.socket")
    server = probed(second=path)
    assert server.get().answer == (200, "ok")
    server.server.kill()
    assert Path(path).exists()
    server.server.start().listening()
    server.answers(200)
    assert server.server.stop() == 0
    assert not Path(path).exists()


# Trouble


def test_a_port_that_is_taken(serve: Serve) -> None:
    """The service runs on, says so in the log once and in the details, and takes it when free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = Probed(serve, second=other.getsockname()[1], workers=3)
        server.server.answers(200)
        why = f"the second port '127.0.0.1:{server.second}' cannot be opened: it is taken"

        def notes() -> Any:
            told = server.server.get("/health?format=json", headers=TOKEN).json()
            return told.get("notes")

        for _ in range(5):
            assert eventually(notes) == [why]
        assert server.server.log().count(why) == 1
    server.answers(200)
    eventually(notes, lambda found: found is None, why="forgotten")
    server.pool.shutdown()


def test_a_child_of_user_code_keeps_no_port_open(probed: Start) -> None:
    """A process that a request has left behind outlives the server; the port does not."""
    server = probed(workers=1)
    server.server.stage.order("keep")
    child = server.server.get("/fork").json()["child"]
    try:
        inode = _listening_inode(server.second)
        assert inode
        assert inode not in _sockets(child)
        server.server.kill(*server.server.workers(), server.server.pid)
        assert processes.running(child)
        eventually(lambda: not accepts(server.second), why="closed")
    finally:
        server.server.stage.withdraw("keep")
        eventually(lambda: not processes.running(child))


def test_a_preloading_master_has_no_share(probed: Start) -> None:
    """Nothing of it starts there: no thread and no socket, only in the workers."""
    server = probed("--preload")
    inode = _listening_inode(server.second)
    assert inode not in _sockets(server.server.pid)
    assert all(inode in _sockets(pid) for pid in server.server.workers())
    server.server.signal(signal.SIGKILL, server.elected())
    server.server.has_markers(2)
    server.answers(200)


def test_the_state_directory_is_removed(probed: Start) -> None:
    """The port stays open, somebody is elected anew, and new workers get a copy."""
    server = probed()
    for boot in statedir.boots(server.server.state):
        statedir.remove(boot)
    server.server.has_markers(2)
    server.answers(200)
    server.elected()
    server.server.kill(server.server.workers()[0])
    server.server.has_markers(2)
    server.all_share()


# Stalled


def test_stalled_is_not_live(probed: Start) -> None:
    """When no worker has moved for too long; requests younger than that are mere business."""
    server = probed("--timeout", "0", env={"FLASK_HEALTH_STALL_AFTER": "3"})
    server.busy("/wait", 1)
    with server.prober("/health/live", every=0.1) as live:
        stalled = eventually(
            lambda: [w["stalled"] for w in server.told()["workers"]["alive"] if "stalled" in w]
        )
    assert live.codes() == {200}  # One worker moves.
    assert stalled[0] >= 3.0
    assert server.told()["status"] == "pass"
    server.busy("/wait", 1)
    assert server.get("/health/live").code == 200
    server.answers(503, "/health/live")
    assert server.get().answer == (503, "not ready")
    assert server.get("/health/startup").code == 200
    told = server.told()
    assert told["output"].startswith("no worker has moved for ")
    assert [w["stalled"] >= 3 for w in told["workers"]["alive"]] == [True, True]
    assert [w["busy"] for w in told["workers"]["alive"]] == [1, 1]
    verbose = server.get("/health/live?verbose", headers=TOKEN).body
    assert "stalled: " in verbose
    server.server.stage.withdraw("keep")
    server.answers(200, "/health/live")
    server.answers(200)


def test_an_idle_worker_is_not_stalled(probed: Start) -> None:
    """A sync worker that has nothing to do moves every half of gunicorn's timeout only."""
    server = probed("--timeout", "6", env={"FLASK_HEALTH_STALL_AFTER": "0.5"})
    with server.prober("/health/live", every=0.1) as live:
        live.sees(50)
    assert live.codes() == {200}
    assert not [w for w in server.told()["workers"]["alive"] if "stalled" in w]


def test_a_worker_that_starts_is_not_stalled(serve: Serve, tmp_path: Path) -> None:
    """However long it takes."""
    stage = Stage(tmp_path / "stage", "wait")
    env = {"FLASK_HEALTH_STALL_AFTER": "1", "FLASK_HEALTH_HOLD": "always"}
    server = Probed(serve, "-k", "gthread", stage=stage, env=env)
    try:
        server.answers(200, "/health/live")
        with server.prober("/health/live", every=0.1) as live:
            live.sees(40)
        assert live.codes() == {200}
    finally:
        stage.withdraw("wait")
        server.pool.shutdown()
