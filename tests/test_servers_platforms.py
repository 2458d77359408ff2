"""Windows and macOS, as far as taking their lacks to this platform shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import shell
from support.environment import APPS, environment
from support.gunicorn import Serve
from support.servers import Served, command
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")


def without(platform: str, home: Path) -> dict[str, str]:
    """Return the variable that makes a process lack what this platform lacks."""
    path = environment(home)["PYTHONPATH"]
    return {"PYTHONPATH": f"{APPS / f'servers_{platform}'}{os.pathsep}{path}"}


def run_alone(home: Path, platform: str, **more: str) -> tuple[dict[str, Any], str]:
    """Run the script that uses an app by itself; return what it saw and what it logged."""
    stage = Stage(home / "stage")
    env = environment(home, STAGE=str(stage.root), **without(platform, home), **more)
    done = subprocess.run(
        [sys.executable, "-m", "servers_alone"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("platform", ["windows", "macos"])
def test_server_of_one(tmp_path: Path, platform: str) -> None:
    """The package works in one process, and leaves no file."""
    saw, _ = run_alone(tmp_path, platform, SETUP_SECONDS="0.2")
    assert saw["probe"] == [503, "not ready"]
    assert saw["work"][0] == 200
    assert not saw["work"][1]["cold"]
    assert saw["opened"]
    assert saw["after"] == [200, "ok"]
    assert saw["state"] == "local"
    assert saw["lacks"] == (["fcntl", "posix"] if platform == "windows" else [])
    assert not [path for path in tmp_path.rglob("*") if "flask-health" in path.name]


def test_siblings_without_file_locks(tmp_path: Path) -> None:
    """On Windows a process with siblings answers for itself, and says so once in the log."""
    saw, log = run_alone(tmp_path, "windows", FLASK_HEALTH_WORKERS="2", SETUP_SECONDS="1")
    assert saw["state"] == "local"
    assert log.count("each worker answers for itself alone") == 1
    assert saw["work"][0] == 503
    assert saw["opened"]
    assert saw["after"] == [200, "ok"]


@pytest.mark.parametrize("kind", ["waitress", "flask run"])
def test_served_on_windows(tmp_path: Path, kind: str) -> None:
    """Servers of one process start setup by themselves there too."""
    home = tmp_path / "server"
    env = without("windows", home) | {"SETUP_SECONDS": "0.5"}
    with Served(home, command(kind), env=env) as server:
        (pid,) = server.has_started(1)
        server.answers(503)
        assert server.answers(200).answer == OK
        assert server.get("/work").json()["pid"] == pid
        assert not list(server.state.iterdir())


def test_gunicorn_without_proc(serve: Serve, tmp_path: Path) -> None:
    """On macOS the workers of a gunicorn agree, and a dead one's marker is void."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve("served:app", workers=2, stage=stage, env=without("macos", tmp_path / "server0"))
    first, second = eventually(lambda: stage.pids("started"), lambda pids: len(pids) == 2)
    assert server.answers(503).answer == NOT_READY
    with server.prober() as prober:
        stage.order(f"go.{first}")
        server.has_markers(1)
        prober.sees(20)
        assert prober.codes() == {503}
        stage.order(f"go.{second}")
        server.answers(200)
    assert prober.flips() == 0
    assert all(marker.start == 0 for marker in server.has_markers(2))
    replacement = server.replaced()
    server.has_markers(1)
    server.has_markers(1, "starting")
    stage.withdraw("wait")
    server.has_markers(2)
    assert replacement
    assert server.answers(200).answer == OK


@pytest.mark.parametrize("platform", ["windows", "macos"])
def test_the_command_line(serve: Serve, tmp_path: Path, platform: str) -> None:
    """A URL can be checked everywhere; a state directory, where there is one."""
    server = serve(workers=2, env=without("macos", tmp_path / "server0"))
    server.answers(200)
    lacking = without(platform, tmp_path)
    asked = shell.run(tmp_path, "check", f":{server.address}", env=lacking)
    assert (asked.returncode, asked.stderr) == (0, "")
    found = shell.run(tmp_path, "check", "--state", str(server.state), env=lacking)
    if platform == "macos":
        assert found.stdout == f"ok: 2 of 2 workers serve (master {server.pid})\n"
        status = shell.run(tmp_path, "status", "--state", str(server.state), env=lacking)
        assert (status.returncode, status.stdout.partition("\n")[0]) == (
            0,
            "ok: 2 of 2 workers serve",
        )
    else:
        assert found.returncode == 3
        assert "this platform shares no state between processes: give a URL" in found.stderr
