"""Servers of one process: Flask's own, waitress, scripts; and processes that serve nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.environment import APPS
from support.servers import OF_ONE, Served, Start, command, program
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")

FACTORY = {"waitress": ["--call"], "uvicorn alone": ["--factory"]}
"""What tells a server that it is given a factory, where it does not find out."""

SCRIPT = [sys.executable, str(APPS / "servers_script.py")]


def listens(port: int) -> bool:
    """Tell whether a connection to this port is accepted; nothing is asked on it."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(line: str | list[str], app: str = "served:app", **options: Any) -> Served:
            line = command(line, app) if isinstance(line, str) else line
            return stack.enter_context(Served(tmp_path / "server", line, **options))

        yield start


@pytest.mark.parametrize("kind", OF_ONE)
@pytest.mark.parametrize("app", ["served:app", "factory:create_app"])
def test_setup_starts_without_a_request(start: Start, kind: str, app: str) -> None:
    """Setup runs once, in the process that serves, before anyone has asked anything."""
    line = command(kind, app)
    if app == "factory:create_app" and kind in FACTORY:
        line[1:1] = FACTORY[kind]
    if app == "factory:create_app" and kind == "hypercorn alone":
        line[-1] += "()"
    server = start(line)
    (pid,) = eventually(lambda: server.stage.pids("finished"))
    assert server.answers(200).answer == OK
    assert server.get("/work").json()["pid"] == pid
    assert (pid == server.pid) is (kind != "flask run --debug")
    assert server.stage.pids("started") == [pid]
    assert not list(server.state.iterdir())


@pytest.mark.parametrize("kind", OF_ONE)
def test_requests_wait_for_setup(start: Start, tmp_path: Path, kind: str) -> None:
    """While setup runs a probe says so at once, and a business request waits for it."""
    server = start(kind, stage=Stage(tmp_path / "stage", "wait"))
    server.has_started(1)
    assert server.answers(503).answer == NOT_READY
    with server.load(threads=1) as load:
        server.stage.withdraw("wait")
        load.sees(5)
    assert load.codes() == {200}
    assert not load.cold()
    assert server.get().answer == OK


@pytest.mark.parametrize("how", ["run", "debug", "waitress"])
def test_first_probe_of_a_script_starts_setup(start: Start, tmp_path: Path, how: str) -> None:
    """Where only the script knows that it serves, the first probe starts setup, and not before."""
    server = start([*SCRIPT, how, "{port}"], stage=Stage(tmp_path / "stage", "wait"))
    eventually(lambda: listens(server.port))
    assert not server.stage.pids("started")
    assert server.get().answer == NOT_READY
    server.stage.withdraw("wait")
    assert server.answers(200).answer == OK
    (pid,) = server.has_started(1)
    assert (pid == server.pid) is (how != "debug")


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """The file of an app in the directory where a server is started."""
    copy = tmp_path / "server" / "servers_edited.py"
    copy.parent.mkdir()
    shutil.copy(APPS / copy.name, copy)
    return copy


def test_reloader_starts_setup_anew(start: Start, edited: Path) -> None:
    """A changed file has Flask's reloader start a new process, with a setup of its own."""
    server = start("flask run --debug", "servers_edited:app", env={"PYTHONSAFEPATH": ""})
    server.answers(200)
    (first,) = server.has_started(1)
    edited.write_text(edited.read_text() + "\nchanged = True\n")
    _, second = server.has_started(2)
    assert server.answers(200).answer == OK
    assert server.get("/work").json()["pid"] == second != first
    assert processes.running(server.pid)


def test_failed_import_starts_nothing(start: Start, edited: Path) -> None:
    """A change that breaks the app's import leads to no setup, although the server lives on."""
    server = start("flask run --debug", "servers_edited:app", env={"PYTHONSAFEPATH": ""})
    server.answers(200)
    edited.write_text(edited.read_text() + "\nraise RuntimeError('told to fail')\n")
    server.answers(500, "/work")
    assert "told to fail" in server.log()
    assert len(server.stage.pids("started")) == 1


@pytest.mark.parametrize(
    "line",
    [
        *OF_ONE,
        [*SCRIPT, "run", "{port}"],
        [*SCRIPT, "debug", "{port}"],
        [*SCRIPT, "waitress", "{port}"],
    ],
    ids=[*OF_ONE, "app.run", "app.run with debug", "waitress.serve"],
)
def test_failed_setup_ends_the_server(start: Start, tmp_path: Path, line: str | list[str]) -> None:
    """HEALTH_EXIT_ON_SETUP_FAILURE ends it with status 1, and its reloader with it."""
    env = {"FLASK_HEALTH_EXIT_ON_SETUP_FAILURE": "true"}
    server = start(line, env=env, stage=Stage(tmp_path / "stage", "raise"))
    eventually(lambda: server.get().code in ("refused", "reset") and server.stage.pids("started"))
    assert server.wait() == 1
    assert len(server.stage.pids("started")) == 1


@pytest.mark.parametrize(
    "args",
    [
        ["flask", "--app", "served:app", "routes"],
        ["flask", "--app", "served:app", "--debug", "routes"],
        ["flask", "--app", "served:app", "shell"],
        ["python", "-c", "import served"],
        ["python", "-m", "servers_script"],
    ],
    ids=["flask routes", "flask --debug routes", "flask shell", "import", "script"],
)
def test_nothing_starts_where_nothing_serves(tmp_path: Path, args: list[str]) -> None:
    """Commands and scripts that import the app run no setup, and write no marker."""
    name, *rest = args
    path = sys.executable if name == "python" else program(name)
    server = Served(tmp_path, [path, *rest], env={"SETUP_SECONDS": 0})
    done = subprocess.run(
        server.command,
        env=server.environment,
        cwd=tmp_path,
        input="import time; time.sleep(0.5)\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(server.stage.pids("imported")) == 1
    assert not server.stage.pids("started")
    assert not list(server.state.iterdir())


def test_parent_of_the_reloader_starts_nothing(start: Start, tmp_path: Path) -> None:
    """Both processes of a reloader import the app, and only the child that serves sets up."""
    server = start("flask run --debug", stage=Stage(tmp_path / "stage", "wait"))
    (pid,) = server.has_started(1)
    assert sorted(server.stage.pids("imported")) == sorted([server.pid, pid])
    assert os.getpgid(pid) == os.getpgid(server.pid)
    server.stage.withdraw("wait")
    server.answers(200)
    assert server.stage.pids("started") == [pid]
