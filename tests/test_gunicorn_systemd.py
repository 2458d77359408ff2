"""What systemd hears of a real gunicorn: the truth, from one worker, at the right time."""

from __future__ import annotations

import functools
import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.systemd import Notify
from support.waiting import eventually

HOOKS = "from flask_health.gunicorn import install\n\ninstall(globals())\n"


@pytest.fixture
def notify() -> Iterator[Notify]:
    """A socket as systemd's."""
    with Notify() as listening:
        yield listening


def start(serve: Serve, notify: Notify, *args: str, **options: Any) -> Gunicorn:
    """Start a server that is told of a socket, with our hooks."""
    env = {"NOTIFY_SOCKET": notify.address, **options.pop("env", {})}
    return serve("served:app", *args, env=env, config=options.pop("config", HOOKS), **options)


def ready(notify: Notify) -> None:
    """Wait until the server is said to be ready."""
    eventually(lambda: notify.told("READY=1"), why="READY=1")


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_ready_is_said_when_the_gate_opens(
    serve: Serve, notify: Notify, tmp_path: Path, kind: str
) -> None:
    """Not before; until then how far it is. One worker speaks, and repeats nothing; only in the
    first moment another one may, which knows of no elder yet.
    """
    if kind == "gevent":
        pytest.importorskip("gevent")
    server = start(serve, notify, "-k", kind, stage=Stage(tmp_path / "stage", "wait"))
    server.has_markers(3, "starting")
    eventually(
        lambda: notify.messages and notify.status,
        lambda status: status == "Starting: setup finished in 0 of 3 workers; step 'setup'",
        why="a status",
    )
    first, *others = server.workers()
    server.stage.order(*(f"go.{pid}" for pid in others))
    eventually(lambda: "2 of 3" in notify.status, why="another status")
    assert not notify.told("READY=1")
    server.stage.withdraw("wait")
    server.answers(200)
    ready(notify)
    assert [m.text for m in notify.told("READY=1")] == ["READY=1\nSTATUS=Ready"]
    assert {m.pid for m in notify.messages if "0 of 3" not in m.text} == {first}
    assert not notify.told("WATCHDOG=1")


def test_abstract_sockets(serve: Serve) -> None:
    """A name that begins with `@` is no file."""
    with Notify(abstract=True) as notify:
        start(serve, notify, workers=1)
        ready(notify)


def test_gunicorn_itself_is_too_early(serve: Serve, notify: Notify, tmp_path: Path) -> None:
    """Without the hooks its master is ready before a worker is; which is why there are hooks."""
    server = start(serve, notify, config="", stage=Stage(tmp_path / "stage", "wait"))
    server.has_markers(3, "starting")
    (message,) = notify.told("READY=1")
    assert message.pid == server.pid
    server.stage.withdraw("wait")
    eventually(lambda: len(notify.told("READY=1")), lambda number: number == 2)


def test_hooks_of_the_file_run_too(serve: Serve, notify: Notify) -> None:
    """They find the socket where they would have found it without ours."""
    config = f"""
import os

def when_ready(server):
    print("when_ready:", os.environ["NOTIFY_SOCKET"], flush=True)

{HOOKS}"""
    server = start(serve, notify, config=config, workers=1)
    ready(notify)
    assert f"when_ready: {notify.address}" in server.log()


def test_stopping_is_said_at_the_drain(serve: Serve, notify: Notify) -> None:
    """Once, and nothing else after it."""
    server = start(serve, notify, env={"FLASK_HEALTH_DRAIN_DELAY": 2})
    ready(notify)
    server.signal(signal.SIGTERM)
    eventually(lambda: notify.told("STOPPING=1"), why="STOPPING=1")
    assert server.get().code == 503
    assert server.wait() == 0
    assert notify.messages[-1].text == "STOPPING=1\nSTATUS=Draining"


def test_stopping_is_said_when_somebody_orders_it(serve: Serve, notify: Notify) -> None:
    """A drain is for good: it is the beginning of the end."""
    server = start(serve, notify)
    ready(notify)
    (boot,) = (m.path.parent for m in server.has_markers(3)[:1])
    (boot / "pause").write_text("night")
    eventually(lambda: notify.status, lambda status: status == "Not ready: paused")
    (boot / "pause").unlink()
    eventually(lambda: notify.status, lambda status: status == "Ready")
    (boot / "drain").touch()
    eventually(lambda: notify.told("STOPPING=1"), why="STOPPING=1")


def test_the_next_worker_speaks_when_the_speaker_dies(serve: Serve, notify: Notify) -> None:
    """It says all again, so that nothing is missed that was on its way."""
    server = start(serve, notify)
    ready(notify)
    first, second, _ = server.workers()
    server.kill(first)
    said = eventually(lambda: notify.told("READY=1")[1:], why="said again")
    assert said[0].pid == second


def signs_since(notify: Notify, since: float) -> int:
    """How many signs of life were given since a moment."""
    return len(notify.told("WATCHDOG=1", since))


def test_the_watchdog_is_fed_while_anybody_lives(serve: Serve, notify: Notify) -> None:
    """Twice in its time, by whoever is next: one that is stopped does not keep the others from it,
    and when all are nobody does.
    """
    server = start(serve, notify, "--timeout", "60", env={"WATCHDOG_USEC": 4_000_000})
    ready(notify)
    eventually(lambda: len(notify.told("WATCHDOG=1")), lambda number: number >= 4, why="signs")
    signs = [m.at for m in notify.told("WATCHDOG=1")]
    assert all(later - sooner < 4.0 for sooner, later in itertools.pairwise(signs))
    assert signs[3] - signs[0] > 2.0, "one for the whole server"
    workers = server.workers()
    for stopped in (workers[:1], workers[:2]):
        server.signal(signal.SIGSTOP, *stopped)
        since = time.monotonic()
        eventually(functools.partial(signs_since, notify, since), lambda n: n >= 2, why="signs")
        assert notify.told("WATCHDOG=1")[-1].pid not in stopped
    server.signal(signal.SIGSTOP, workers[2])
    eventually(lambda: processes.stopped(workers[2]), why="stopped")
    since = time.monotonic()
    time.sleep(3.0)  # There is nothing to wait for but silence.
    assert not notify.told("WATCHDOG=1", since)
    server.signal(signal.SIGCONT, *workers)


@pytest.mark.parametrize(
    "env",
    [
        {"WATCHDOG_USEC": 400_000, "WATCHDOG_PID": 1},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": 0},
    ],
)
def test_no_watchdog_that_is_not_meant(
    serve: Serve, notify: Notify, env: dict[str, object]
) -> None:
    """One for another process, and one that makes no sense, is left alone."""
    server = start(serve, notify, workers=1, env=env)
    ready(notify)
    (boot,) = (m.path.parent for m in server.has_markers(1))
    (boot / "pause").touch()
    eventually(lambda: notify.status, lambda status: status == "Not ready: paused")
    assert not notify.told("WATCHDOG=1")


def test_a_socket_that_is_gone_stops_nobody(serve: Serve) -> None:
    """The server serves, says so once, and tells when it can again."""
    with Notify() as notify:
        notify.close()
        server = start(serve, notify, workers=1, env={"FLASK_HEALTH_DETAILS": "always"})
        server.answers(200)
        problem = "systemd cannot be told: Connection refused"

        def notes() -> list[str]:
            found: list[str] = server.get("/health?format=json").json().get("notes", [])
            return found

        eventually(notes, lambda found: found == [problem], why="noted")
        assert server.log().count(problem) == 1


def test_an_upgrade_moves_the_main_process(serve: Serve, notify: Notify) -> None:
    """Once the new server's gate is open, systemd is to watch the new master."""
    server = start(serve, notify, workers=1)
    ready(notify)
    server.signal(signal.SIGUSR2)
    new = server.new_master()
    eventually(lambda: notify.told("READY=1\nMAINPID="), why="MAINPID")
    (message,) = notify.told("READY=1\nMAINPID=")
    assert message.text == f"READY=1\nMAINPID={new}\nSTATUS=Ready"
    assert message.pid in server.workers(new)
