"""What a real server tells outsiders in its state directory."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from support import statedir
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.waiting import eventually


def facts(server: Gunicorn, word: str) -> list[list[int]]:
    """Return the numbers of every name that begins with a word."""
    (boot,) = statedir.boots(server.state)
    found = [path.name.split(".") for path in boot.iterdir()]
    return sorted([list(map(int, rest)) for first, *rest in found if first == word])


def about(server: Gunicorn) -> dict[str, Any]:
    """Return what `about.json` says."""
    (boot,) = statedir.boots(server.state)
    told: dict[str, Any] = json.loads((boot / "about.json").read_text())
    return told


def test_a_server_introduces_itself(serve: Serve) -> None:
    """Names say who its master is and what readiness depends on; `about.json` what it is."""
    env = {"FLASK_HEALTH_MIN_WORKERS": 2, "FLASK_HEALTH_VERSION": "1.10", "DATABASE": "up"}
    server = serve("checked:app", env=env)
    server.answers(200)
    ((master, start),) = facts(server, "master")
    assert master == server.pid
    assert start > 0
    told = about(server)
    assert facts(server, "terms") == [[0, 2, len(told["checks"]), 0, 30]]
    assert told["checks"]
    assert told["master"] == {"pid": master, "start": start}
    assert (told["version"], told["server"], told["min_workers"]) == ("1.10", "gunicorn", 2)
    assert told["listen"] == [f"127.0.0.1:{server.address}"]


def test_a_reload_tells_of_new_terms(serve: Serve, tmp_path: Path) -> None:
    """The newest generation counts: its configuration may be another one."""
    module = tmp_path / "server0" / "reloaded.py"
    module.parent.mkdir()
    source = """
from flask import Flask
from flask_health import HealthCheck
app = Flask("reloaded")
app.config["HEALTH_MIN_WORKERS"] = {}
HealthCheck(app, setup=lambda: None)
"""
    module.write_text(source.format(2))
    server = serve("reloaded:app", env={"PYTHONDONTWRITEBYTECODE": 1}, tidy=False)
    server.answers(200)
    assert facts(server, "terms") == [[0, 2, 0, 0, 30]]
    module.write_text(source.format(1))
    server.signal(signal.SIGHUP)
    terms = eventually(lambda: facts(server, "terms"), lambda found: len(found) == 2)
    assert terms[-1][1:] == [1, 0, 0, 30]
    eventually(lambda: about(server)["min_workers"], lambda least: least == 1)


def test_what_is_told_comes_back(serve: Serve) -> None:
    """A cleaner takes it away for a moment."""
    server = serve()
    server.answers(200)
    (boot,) = statedir.boots(server.state)
    lost = [path for path in boot.iterdir() if path.name.startswith(("about", "master", "terms"))]
    assert len(lost) == 3
    for path in lost:
        path.unlink()
    eventually(lambda: all(path.exists() for path in lost), why="told again")
    assert about(server)["master"]["pid"] == server.pid


def told_by(boot: Path, pid: int) -> list[dict[str, Any]]:
    """Return the steps that a worker tells of."""
    path = boot / "progress" / f"{pid}.json"
    steps: list[dict[str, Any]] = json.loads(path.read_text())["steps"] if path.exists() else []
    return steps


def test_workers_that_start_tell_how_far_they_are(serve: Serve, tmp_path: Path) -> None:
    """While setup runs and not afterwards."""
    server = serve(stage=Stage(tmp_path / "stage", "wait"))
    (boot,) = eventually(lambda: statedir.boots(server.state))
    workers = server.has_workers(3)
    steps = eventually(
        lambda: {pid: told_by(boot, pid) for pid in workers},
        lambda told: (
            [[step["state"] for step in told[pid]] for pid in workers] == [["running"]] * 3
        ),
    )
    assert all(step["began"] > 0 for told in steps.values() for step in told)
    server.stage.withdraw("wait")
    server.answers(200)
    eventually(lambda: not list((boot / "progress").iterdir()), why="no progress is left")
