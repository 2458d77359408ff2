"""A user's own test suite: under pytest-xdist, with a setup, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.environment import environment

SUITE = """
import threading
from pathlib import Path

import flask
import pytest
from flask_health import HealthCheck

health = HealthCheck()
loaded = []

@health.setup
def load():
    loaded.append(flask.current_app.name)

def create_app():
    app = flask.Flask("users")
    app.config["TESTING"] = True
    app.add_url_rule("/", "home", lambda: str(len(loaded)))
    health.init_app(app)
    return app

@pytest.fixture
def client():
    loaded.clear()
    return create_app().test_client()

@pytest.mark.parametrize("number", range(10))
def test_page(client, number):
    assert client.get("/").text == "1"
    assert client.get("/health").text == "ok"

@pytest.mark.parametrize("number", range(10))
def test_probe(client, number):
    assert client.get("/health/live").text == "ok"
    assert client.get("/").text == "1"

def test_start():
    app = create_app()
    with app.app_context():
        health.start(wait=True)
    assert app.test_client().get("/health").text == "ok"
"""


def test_a_suite_runs_in_parallel_and_leaves_nothing(tmp_path: Path) -> None:
    """Two processes of pytest-xdist run it; no state directory, no thread, no warning remains."""
    (tmp_path / "test_users.py").write_text(SUITE)
    state = tmp_path / "state"
    state.mkdir()
    env = environment(tmp_path / "home", FLASK_HEALTH_STATE_DIR=str(state))
    plugins = [*("-p", "xdist"), *("-p", "no:cacheprovider"), "-n2", "-Werror"]
    command = [sys.executable, "-m", "pytest", "--rootdir=.", "-q", *plugins]
    env = {**env, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "21 passed" in done.stdout
    assert not list(state.iterdir())
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        left = [path for path in Path(env[name]).rglob("*") if "flask-health" in path.name]
        assert not left
    assert "flask-health" not in " ".join(os.listdir(tmp_path))
