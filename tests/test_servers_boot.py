"""Servers of several workers other than gunicorn: boot, death of a worker, the end."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import processes, statedir
from support.servers import OF_TWO, Served, Start, command, program
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")

REPLACES = ["uwsgi", "uwsgi lazy-apps", "granian respawning", "uvicorn"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(kind: str, app: str = "served:app", *args: str, **options: Any) -> Served:
            line = [*command(kind, app), *args]
            return stack.enter_context(Served(tmp_path / "server", line, **options))

        yield start


@pytest.mark.parametrize("kind", OF_TWO)
def test_setup_starts_without_a_request(start: Start, kind: str) -> None:
    """Setup runs once in each worker, in the background, before anyone has asked anything."""
    server = start(kind)
    server.has_markers(2)
    assert len(set(server.has_started(2))) == 2
    assert server.answers(200).answer == OK
    assert sorted(server.stage.pids("finished")) == sorted(server.stage.pids("started"))


@pytest.mark.parametrize("kind", OF_TWO)
def test_workers_agree(start: Start, tmp_path: Path, kind: str) -> None:
    """Only the second worker's setup turns the answer, once, and in both workers."""
    server = start(kind, stage=Stage(tmp_path / "stage", "wait"))
    server.answers(503)
    first, second = server.has_started(2)
    assert server.get("/health/live").answer == OK
    assert server.get("/work").code == 503
    with server.prober() as prober:
        server.stage.order(f"go.{first}")
        server.has_markers(1)
        prober.sees(20)
        assert prober.codes() == {503}
        last = time.monotonic()
        server.stage.order(f"go.{second}")
        server.answers(200)
        prober.sees(20)
    assert {seen.answer for seen in prober.seen} == {OK, NOT_READY}
    assert all(seen.at + seen.took > last for seen in prober.seen if seen.code == 200)
    assert prober.flips() == 0
    with server.load() as load:
        eventually(load.pids, lambda pids: pids == {first, second})
    assert all(s.json()["event"] and s.json()["local"] for s in load.seen if s.code == 200)


@pytest.mark.parametrize("kind", REPLACES)
def test_killed_worker_is_replaced(start: Start, kind: str) -> None:
    """A dead worker's marker is void at once; its replacement has a setup of its own."""
    server = start(kind)
    server.answers(200)
    victim = server.has_started(2)[0]
    server.stage.order("wait")
    server.kill(victim)
    server.has_markers(1)
    server.has_markers(1, "starting")
    assert server.get("/health/live").answer == OK
    with server.load() as load:
        load.sees(40)
        server.stage.withdraw("wait")
        server.has_markers(2)
    assert not load.cold()
    assert load.codes() <= {200, 503}
    assert server.answers(200).answer == OK
    assert len(set(server.has_started(3))) == 3


@pytest.mark.parametrize(
    "line",
    [
        "uvicorn --workers 2 --port {port} servers_asgi:app",
        "hypercorn -w 2 -b 127.0.0.1:{port} servers_asgi:app",
        "granian --interface asgi --workers 2 --port {port} servers_asgi:app",
    ],
    ids=["uvicorn", "hypercorn", "granian"],
)
def test_behind_an_asgi_adapter(tmp_path: Path, line: str) -> None:
    """An app that a2wsgi adapts to ASGI has a setup in each worker as well."""
    name, *args = line.split()
    with Served(tmp_path / "server", [program(name), *args], env={"SETUP_SECONDS": 0.5}) as server:
        server.has_started(2)
        server.answers(503)
        assert server.answers(200).answer == OK
        server.has_markers(2)


SPAWNING = """\
import multiprocessing

from granian.cli import entrypoint

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    entrypoint()
"""


@pytest.mark.parametrize("by", ["option", "variable"])
def test_spawned_granian_workers(tmp_path: Path, by: str) -> None:
    """Where granian spawns its workers, as on macOS, they know from its command how many."""
    _, *args = command("granian")
    script = tmp_path / "granian"
    script.write_text(SPAWNING)
    env = {}
    if by == "variable":
        args = [arg for arg in args if arg not in ("--workers", "2")]
        env = {"GRANIAN_WORKERS": "2"}
    stage = Stage(tmp_path / "stage", "wait")
    line = [sys.executable, str(script), *args]
    with Served(tmp_path / "server", line, env=env, stage=stage) as server:
        first, _ = server.has_started(2)
        stage.order(f"go.{first}")
        assert {marker.expected for marker in server.has_markers(1)} == {2}
        assert server.answers(503).answer == NOT_READY
        stage.withdraw("wait")
        assert server.answers(200).answer == OK


def test_granian_ends_with_a_worker(start: Start) -> None:
    """Without --respawn-failed-workers a killed worker takes the whole of granian with it."""
    server = start("granian")
    server.answers(200)
    server.kill(server.has_started(2)[0])
    assert server.wait() == 1


@pytest.mark.parametrize("kind", ["uwsgi", "uwsgi lazy-apps", "granian", "uvicorn"])
def test_orphans_are_not_ready(start: Start, kind: str) -> None:
    """When the master is killed, the workers that are left answer no probe with 200 any more."""
    server = start(kind)
    server.answers(200)
    server.kill(server.pid)
    for path in ("/health", "/health/live", "/health/startup"):
        eventually(partial(server.get, path), lambda seen: seen.code != 200, why=path)
    processes.send(signal.SIGKILL, *processes.in_session(server.pid))


@pytest.mark.parametrize("kind", OF_TWO)
def test_nothing_is_believed_after_the_end(start: Start, kind: str) -> None:
    """After TERM no marker's lock is held, and the next start believes nothing of the last."""
    server = start(kind)
    server.answers(200)
    if kind != "uwsgi without master":  # Its second worker is not told.
        server.stop()
        assert not [m for m in statedir.markers(server.state) if m.held]
    server.__exit__()
    server.stage.order("wait")
    with server:
        server.answers(503)
        server.has_markers(2, "starting")
        server.stage.withdraw("wait")
        server.answers(200)


EXIT_STATUS = [
    ("uwsgi", (), 0),
    ("uwsgi lazy-apps", (), 22),
    ("uwsgi without master", ("-p", "1"), 3),
    ("granian", (), 1),
    ("granian respawning", (), 1),
    ("hypercorn", (), None),
    ("uvicorn", (), 0),
]


@pytest.mark.parametrize(("kind", "args", "status"), EXIT_STATUS)
def test_failed_setup_ends_the_server(
    start: Start, tmp_path: Path, kind: str, args: tuple[str, ...], status: int | None
) -> None:
    """HEALTH_EXIT_ON_SETUP_FAILURE ends all of the server, with the status it allows."""
    env = {"FLASK_HEALTH_EXIT_ON_SETUP_FAILURE": "true"}
    stage = Stage(tmp_path / "stage", "wait", "raise")
    server = start(kind, "served:app", *args, env=env, stage=stage)
    server.has_started(1 if args else 2)
    stage.withdraw("wait")
    found = server.wait(within=30)
    assert status is None or found == status
    eventually(lambda: processes.in_session(server.pid), lambda left: not left)
    assert "ending the server" in server.log()


@pytest.mark.parametrize("kind", ["uwsgi", "uwsgi lazy-apps"])
def test_cheaper_uwsgi(start: Start, kind: str) -> None:
    """uWSGI that starts fewer workers than it may have waits for those only."""
    server = start(kind, "served:app", "-p", "4", "--cheaper", "1", "--cheaper-initial", "2")
    assert server.answers(200).answer == OK
    server.has_markers(2)


def test_uwsgi_hooks_of_the_app_run_too(start: Start) -> None:
    """A post-fork hook that was there before is called before ours."""
    server = start("uwsgi", "servers_hooked:app")
    server.answers(200)
    assert sorted(server.stage.pids("hooked")) == sorted(server.has_started(2))


def test_uwsgi_hook_replaced_by_the_app(start: Start) -> None:
    """Where the app takes our hook away, the first probe of each worker starts its setup."""
    server = start("uwsgi", "servers_replaced:app")
    eventually(lambda: server.stage.pids("hooked"), lambda pids: len(pids) == 2)
    with server.prober(threads=4):
        server.has_started(2)
        server.has_markers(2)
    assert server.answers(200).answer == OK


def test_uwsgi_calls_hooks_of_python_too(start: Start) -> None:
    """With --py-call-uwsgi-fork-hooks Python's own hooks run in each worker, and change nothing."""
    server = start("uwsgi", "served:app", "--py-call-uwsgi-fork-hooks")
    assert server.answers(200).answer == OK
    server.has_markers(2)


def test_children_of_a_worker_are_none(start: Start) -> None:
    """A forked child of a killed uWSGI worker keeps nothing of it alive."""
    server = start("uwsgi", "forking:app")
    server.answers(200)
    seen = server.get("/fork").json()
    eventually(lambda: processes.locks(seen["child"]), lambda locks: not locks)
    server.stage.order("wait")
    server.kill(seen["pid"])
    assert processes.running(seen["child"])
    server.has_markers(1)
    server.stage.order("end")
