"""`flask_health.testing`: what it gives to the tests of others."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from support.environment import environment

from flask_health import HealthCheck, Status
from flask_health.testing import (
    Answer,
    eventually,
    forced,
    frozen_clock,
    running,
    wait_until_ready,
)

APP = """
from flask import Flask
from flask_health import HealthCheck

app = Flask(__name__)
health = HealthCheck(app)


@app.get("/")
def hello():
    return "hello"
"""


class Dependency:
    """Something that an app needs, and whose health a test decides."""

    def __init__(self) -> None:
        self.up = True
        self.asked = 0
        self.free = threading.Event()
        self.free.set()

    def __call__(self) -> None:
        self.asked += 1
        assert self.free.wait(20.0)
        if not self.up:
            raise ConnectionError("refused")


@pytest.fixture
def dependency() -> Iterator[Dependency]:
    """A dependency that is up; nobody waits for it when the test is over."""
    dependency = Dependency()
    yield dependency
    dependency.free.set()


@pytest.fixture
def app(dependency: Dependency) -> Flask:
    """An app with one check, shown to everybody."""
    app = Flask("shop")
    app.config.update(TESTING=True, HEALTH_DETAILS="always")
    HealthCheck(app).add_check("stock", dependency, timeout=5.0, interval=10.0)
    return app


def word(app: Flask, path: str = "/health") -> tuple[int, str]:
    """Return the code and the body of an answer."""
    answer = app.test_client().get(path)
    return answer.status_code, answer.text


def test_wait_until_ready_starts_what_the_first_request_would(app: Flask) -> None:
    """After it, the first probe is `ok`, checks included."""
    wait_until_ready(app)
    assert word(app) == (200, "ok")


def test_wait_until_ready_says_why_it_is_not(app: Flask, dependency: Dependency) -> None:
    """The failure of a test tells what was waited for."""
    dependency.up = False
    with pytest.raises(AssertionError, match="'shop' is not ready within 0.3 s: stock: Connec"):
        wait_until_ready(app, timeout=0.3)


@pytest.mark.parametrize("status", ["fail", Status.FAIL])
def test_forced_readiness_is_that_of_health_too(app: Flask, status: str) -> None:
    """Code, word and report say what the test wants, and the truth comes back with the end."""
    wait_until_ready(app)
    with forced(app, ready=status):
        assert word(app) == word(app, "/health/ready") == (503, "not ready")
        assert word(app, "/health/live") == (200, "ok")
        told = app.test_client().get("/health?format=json").get_json()
        assert (told["status"], told["output"]) == ("fail", "forced by a test")
    assert word(app) == word(app, "/health/ready") == (200, "ok")


def test_forced_warning_is_still_200(app: Flask) -> None:
    """A service that is degraded gets its traffic."""
    wait_until_ready(app)
    with forced(app, ready="warn"):
        answer = app.test_client().get("/health?format=json")
        assert (answer.status_code, answer.get_json()["status"]) == (200, "warn")


def test_forced_good_health_hides_what_fails(app: Flask, dependency: Dependency) -> None:
    """Also before setup, and while a dependency is down."""
    dependency.up = False
    with forced(app, ready="pass", startup="pass", live="pass"):
        for path in ("/health", "/health/ready", "/health/startup", "/health/live"):
            assert word(app, path) == (200, "ok")


def test_forced_liveness_and_startup(app: Flask) -> None:
    """Each probe by itself."""
    wait_until_ready(app)
    with forced(app, live="fail", startup="fail"):
        assert word(app, "/health/live") == word(app, "/health/startup") == (503, "not ready")
        assert word(app, "/health/ready") == (200, "ok")


def test_forced_apps_are_told_apart(app: Flask) -> None:
    """Another app of the same process says what is true for it."""
    other = Flask("other")
    HealthCheck(other)
    with forced(app, ready="fail"):
        assert word(other) == (200, "ok")


def test_forced_takes_three_words(app: Flask) -> None:
    """The message names the argument, the word and the right ones."""
    with pytest.raises(ValueError, match="'ready' must be 'pass' or 'warn' or 'fail', not 'red'"):
        with forced(app, ready="red"):
            raise AssertionError("never reached")


def test_an_app_that_is_not_wired_is_refused() -> None:
    """Neither its probes nor its clock can be changed."""
    with pytest.raises(RuntimeError, match="'bare'.* is not wired"):
        with forced(Flask("bare"), ready="fail"):
            raise AssertionError("never reached")
    with pytest.raises(RuntimeError, match="'bare'.* is not wired"):
        with frozen_clock(Flask("bare")):
            raise AssertionError("never reached")


def test_time_that_passes_runs_what_is_due(app: Flask, dependency: Dependency) -> None:
    """A check with an interval of ten seconds runs when a test says that they have passed."""
    wait_until_ready(app)
    with frozen_clock(app) as clock:
        before = dependency.asked
        clock.advance(5.0)
        assert dependency.asked == before
        clock.advance(6.0)
        assert dependency.asked == before + 1


def test_an_outage_shows_after_its_threshold(app: Flask, dependency: Dependency) -> None:
    """Three failures in a row, without the fourteen seconds that they take."""
    wait_until_ready(app)
    with frozen_clock(app) as clock:
        dependency.up = False
        clock.advance(10.0)
        clock.advance(2.0)
        assert word(app) == (200, "ok")
        clock.advance(2.0)
        assert word(app) == (503, "not ready")
        dependency.up = True
        clock.advance(2.0)
        assert word(app) == (200, "ok")


def test_a_check_that_hangs_times_out_at_once(app: Flask, dependency: Dependency) -> None:
    """Nobody waits five seconds for a timeout of five seconds."""
    wait_until_ready(app)
    with frozen_clock(app) as clock:
        dependency.free.clear()
        with pytest.raises(AssertionError, match="not within"):
            clock.advance(10.0, timeout=0.1)
        for seconds in (5.1, 2.0, 2.0):
            clock.advance(seconds)
        assert word(app) == (503, "not ready")
        line = app.test_client().get("/health?verbose").text
        assert "timed out after 5.0 s" in line


def test_the_clock_goes_on_where_it_is_not_looked_at_by_us(app: Flask) -> None:
    """The app's own code, and what the test waits for, keep real time."""
    with frozen_clock(app) as clock:
        before, stopped = time.monotonic(), clock.monotonic()
        eventually(lambda: time.monotonic() > before)
        assert (clock.monotonic(), clock.monotonic_ns()) == (stopped, round(stopped * 1e9))
    with frozen_clock(app) as clock, pytest.raises(ValueError, match="'seconds' must be"):
        clock.advance(-1.0)


def test_a_real_gunicorn_is_one_line(tmp_path: Path) -> None:
    """It answers, tells its log, and is gone afterwards."""
    (tmp_path / "app.py").write_text(APP)
    with running(directory=tmp_path) as server:
        assert server.wait_until(200).text == "ok"
        assert server.get("/") == Answer(200, server.get("/").headers, b"hello")
        assert "Listening at" in server.log
        assert server.exit_code is None
    assert server.exit_code == 0


def test_a_gunicorn_that_does_not_start_says_why(tmp_path: Path) -> None:
    """What it wrote is in the failure."""
    with pytest.raises(AssertionError, match="No module named 'nothing'"):
        with running("nothing:app", directory=tmp_path) as server:
            server.wait_until(200)


SUITE = """
from app import app


def test_server(health_server):
    assert health_server("app:app", workers=1).wait_until(200).text == "ok"


def test_forced(health_forced):
    health_forced(app, ready="fail")
    assert app.test_client().get("/health").status_code == 503


def test_clock(health_clock):
    health_clock(app).advance(60.0)
"""


def test_a_suite_that_names_the_plugin_has_the_fixtures(tmp_path: Path) -> None:
    """All three work, and end with the test that used them."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["flask_health.testing.fixtures"]\n')
    (tmp_path / "test_app.py").write_text(SUITE)
    env = environment(
        tmp_path / "home", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTHONPATH=str(tmp_path)
    )
    command = [sys.executable, "-m", "pytest", "--rootdir=.", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr
