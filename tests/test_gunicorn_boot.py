"""What an outside prober sees while a gunicorn boots."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from support import statedir
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")


def test_health_is_not_ready_until_the_last_worker_is(serve: Serve, tmp_path: Path) -> None:
    """One worker after the other finishes; only the last one turns the answer, once."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(workers=4, stage=stage)
    with server.prober() as prober:
        workers = eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 4)
        for done, pid in enumerate(workers[:3], start=1):
            stage.order(f"go.{pid}")
            server.has_markers(done, "ready")
            assert server.get().answer == NOT_READY
        last = time.monotonic()
        stage.order(f"go.{workers[3]}")
        server.answers(200)
        prober.sees(5)
    assert {seen.answer for seen in prober.seen} == {OK, NOT_READY}
    assert prober.flips() == 0
    first = prober.first(200)
    assert first
    assert first.at + first.took > last
    assert sorted(workers) == sorted(server.workers())


def test_probes_differ_during_setup(serve: Serve, tmp_path: Path) -> None:
    """While setup runs the server lives, but has not started and is not ready."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage)
    server.has_markers(3, "starting")
    assert server.get("/health/live").answer == OK
    assert server.get("/health/ready").answer == NOT_READY
    assert server.get("/health/startup").answer == NOT_READY
    stage.withdraw("wait")
    server.answers(200)
    for probe in ("live", "ready", "startup"):
        assert server.get(f"/health/{probe}").answer == OK


def test_requests_are_refused_politely_during_setup(serve: Serve, tmp_path: Path) -> None:
    """A business request gets 503 with Retry-After from a cold worker, at once."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage)
    server.has_markers(3, "starting")
    seen = server.get("/work")
    assert seen.code == 503
    assert int(seen.headers["Retry-After"]) > 0
    assert seen.took < 1.0
    with server.load() as load:
        stage.withdraw("wait")
        eventually(load.pids, lambda pids: len(pids) == 3)
    assert load.codes() <= {200, 503}
    assert not load.cold()


def test_preloading_master_runs_no_setup(serve: Serve, tmp_path: Path) -> None:
    """With --preload connections are refused while the master imports; workers set up."""
    stage = Stage(tmp_path / "stage", "wait")
    stage.order("import")
    server = Gunicorn(tmp_path / "preload", "served:app", "--preload", stage=stage)
    server.start()
    try:
        importing = eventually(lambda: stage.pids("imported"))
        assert server.get().code == "refused"
        assert not statedir.boots(server.state)
        stage.withdraw("import")
        server.listening()
        server.has_markers(3, "starting")
        assert server.get().answer == NOT_READY
        stage.withdraw("wait")
        server.answers(200)
        assert importing == [server.pid]
        assert sorted(stage.pids("started")) == sorted(server.workers())
    finally:
        assert server.stop() == 0


def test_app_factory(serve: Serve) -> None:
    """`gunicorn "factory:create_app()"` is gated like an app."""
    server = serve("factory:create_app()", env={"SETUP_SECONDS": 0.5})
    assert server.get().answer == NOT_READY
    server.answers(200)
    with server.load() as load:
        eventually(load.pids, lambda pids: len(pids) == 3)
    assert not load.cold()


def test_unix_socket(serve: Serve, tmp_path: Path) -> None:
    """The probes answer on a unix socket as on a port."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(stage=stage, bind="sock")
    assert server.get().answer == NOT_READY
    stage.withdraw("wait")
    assert server.answers(200).answer == OK


def test_code_reload_runs_setup_again(serve: Serve, tmp_path: Path) -> None:
    """With --reload a changed file replaces the workers; no request meets a cold one."""
    extra = tmp_path / "extra.txt"
    extra.touch()
    server = serve("served:app", "--reload", "--reload-extra-file", str(extra), workers=2)
    server.answers(200)
    old = server.workers()
    with server.load() as load:
        extra.write_text("changed")
        eventually(lambda: set(server.workers()) - set(old), lambda new: len(new) == 2)
        server.has_markers(2, "ready")
        server.answers(200)
    assert not load.cold()
    assert len(server.stage.pids("started")) == 4


def test_check_config_starts_nothing(tmp_path: Path) -> None:
    """`gunicorn --check-config` imports the app, runs no setup and writes no marker."""
    server = Gunicorn(tmp_path / "check")
    done = subprocess.run(
        [*server.command, "--check-config"],
        env=server.environment,
        cwd=server.home,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(server.stage.pids("imported")) == 1
    assert not server.stage.pids("started")
    assert not statedir.names(server.state)


def test_setup_starts_once_under_concurrent_first_requests(serve: Serve, tmp_path: Path) -> None:
    """Fifty first requests at once on a threaded worker start one setup."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve("served:app", "-k", "gthread", "--threads", "8", workers=1, stage=stage)
    with server.prober(threads=50, every=0.0) as prober:
        eventually(lambda: len(prober.seen), lambda number: number > 100)
        assert prober.codes() == {503}
        stage.withdraw("wait")
        server.answers(200)
    assert len(stage.pids("started")) == 1


def test_setup_longer_than_the_worker_timeout(serve: Serve) -> None:
    """gunicorn's --timeout ends neither a first worker nor a held replacement in setup."""
    server = serve("served:app", "--timeout", "1", env={"SETUP_SECONDS": 3})
    first = server.answers(200)
    server.kill(server.workers()[0])
    eventually(lambda: len(server.stage.pids("finished")), lambda number: number == 4)
    server.has_markers(3, "ready")
    assert first.code == 200
    assert len(server.stage.pids("started")) == 4
    assert "WORKER TIMEOUT" not in server.log()
