"""What an exec probe loads: it runs every second, and most of its time is imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.environment import environment, free_port

import flask_health

ROOT = str(Path(flask_health.__file__).parents[1])
CODE = """
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv.pop(1))
from flask_health.cli.table import run
run(sys.argv[1:], "flask-health")
print(*sorted(set(sys.modules) - before))
"""

FRAMEWORKS = {"flask", "werkzeug", "click", "jinja2"}
SLOW = {"argparse", "enum", "json", "logging", "re", "socket", "ssl", "tempfile", "typing"}
"""Each takes more than a tenth of the time in which Python itself starts."""


def loaded(home: Path, *words: str) -> set[str]:
    """Return what running these words loads into an interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CODE, ROOT, *words],
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("place", ["http", "unix", "state"])
def test_a_check_loads_next_to_nothing(tmp_path: Path, place: str) -> None:
    """Neither Flask nor click, and none of the modules that take long to import."""
    targets = {
        "http": [f"127.0.0.1:{free_port()}"],
        "unix": [f"unix:{tmp_path}/app.sock"],
        "state": ["--state", str(tmp_path)],
    }
    found = loaded(tmp_path, "check", *targets[place])
    assert "flask_health.cli.check" in found
    assert not found & (FRAMEWORKS | SLOW)
    assert "flask_health.workers.boots" not in found


@pytest.mark.parametrize("command", ["wait", "status", "drain", "pause", "resume"])
def test_no_command_for_a_running_server_needs_flask(tmp_path: Path, command: str) -> None:
    """They work in an image that has no app in it."""
    more = ["--timeout", "0.1"] if command == "wait" else []
    found = loaded(tmp_path, command, "--state", str(tmp_path), *more)
    assert f"flask_health.cli.{command}" in found
    assert not found & FRAMEWORKS
