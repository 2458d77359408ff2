"""The metrics in a registry of the app's own."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse
from support.checking import Told
from support.environment import environment
from support.local import call, make_app

from flask_health import HealthCheck
from flask_health.prometheus import register


@pytest.fixture
def told() -> Told:
    """What the check of `app` does."""
    return Told()


@pytest.fixture
def app(told: Told) -> Flask:
    """An app with a check, wired."""
    app = make_app("shop", HEALTH_TOKEN="s3cret")
    HealthCheck(app).add_check("database", told, interval=60.0)
    return app


def names(text: str) -> set[str]:
    """The names of the samples in a text."""
    return {s.name for family in parse(text) for s in family.samples}


def test_a_registry_tells_what_the_path_tells(app: Flask) -> None:
    """Beside the app's own metrics, names of checks included."""
    registry = CollectorRegistry()
    Counter("orders", "Orders.", registry=registry)
    register(app, registry)
    app.extensions["health"].start(wait=True)
    path = call(app, "/health/metrics", HTTP_AUTHORIZATION="Bearer s3cret").body.decode()
    own = generate_latest(registry).decode()
    assert names(own) - {"orders_total", "orders_created"} == names(path)
    labels = {"check": "database", "status": "pass"}
    assert registry.get_sample_value("flask_health_check_status", labels) == 1


def test_names_can_be_left_out(app: Flask) -> None:
    """For a registry that strangers may read."""
    registry = CollectorRegistry()
    register(app, registry, checks=False)
    app.extensions["health"].start(wait=True)
    told = generate_latest(registry).decode()
    assert "database" not in told
    assert "shop" not in told
    assert names(told) == names(call(app, "/health/metrics").body.decode())


def test_registering_collects_nothing(app: Flask, told: Told) -> None:
    """Although the registry asks for names: setup has not begun, and no check has run."""
    registry = CollectorRegistry(auto_describe=True)
    register(app, registry)
    assert not app.extensions["health"].gate.begun
    generate_latest(registry)
    assert told.runs == 0
    found = registry.restricted_registry(["flask_health_workers_expected"]).collect()
    assert [family.name for family in found] == ["flask_health_workers_expected"]


def test_two_in_one_registry_is_an_error(app: Flask) -> None:
    """Their series would be the same; once the first is gone there is room."""
    registry = CollectorRegistry()
    first = register(app, registry)
    other = make_app("other")
    HealthCheck(other)
    with pytest.raises(ValueError, match="Duplicated"):
        register(other, registry)
    registry.unregister(first)
    register(other, registry)


def test_an_app_that_is_not_wired_is_an_error() -> None:
    """With the likely question; and the extension is not the app."""
    with pytest.raises(RuntimeError, match="Did you forget to call 'init_app'"):
        register(make_app("plain"), CollectorRegistry())
    extension: Any = HealthCheck()
    with pytest.raises(TypeError, match="takes the Flask app, not <flask_health"):
        register(extension, CollectorRegistry())


def test_a_registry_does_not_keep_an_app() -> None:
    """It lives as long as its process; an app that a test made can be forgotten."""
    registry = CollectorRegistry()
    app = make_app("short")
    HealthCheck(app)
    register(app, registry)
    assert names(generate_latest(registry).decode())
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None
    assert generate_latest(registry) == b""


MULTIPROCESS = """
from flask import Flask
from flask_health import HealthCheck
from flask_health.prometheus import register
from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess

app = Flask("shop")
HealthCheck(app)
orders = Counter("orders", "Orders.")
orders.inc(3)
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
register(app, registry)
print(generate_latest(registry).decode())
"""


def test_the_multiprocess_mode_needs_nothing(tmp_path: Path) -> None:
    """Ours are true over all workers without files, theirs are summed over their files."""
    files = tmp_path / "files"
    files.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MULTIPROCESS],
        env=environment(tmp_path, PROMETHEUS_MULTIPROC_DIR=str(files)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "orders_total 3.0" in done.stdout
    assert 'flask_health_gate_state{state="pending"} 1.0' in done.stdout
    assert {name.partition("_")[0] for name in os.listdir(files)} == {"counter"}
