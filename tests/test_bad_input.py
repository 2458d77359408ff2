"""Everything that can be wired wrongly: one clear error, and nothing half done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from support.local import call, make_app, worker_gate

from flask_health import ConfigError, HealthCheck


def load() -> None:
    """A step."""


def not_callable(app: Flask) -> None:
    HealthCheck(app, setup="load")  # type: ignore[arg-type]


def two_steps(app: Flask) -> None:
    health = HealthCheck(setup=load)
    health.setup(name="load")(make_app)
    health.init_app(app)


def unknown_scope(app: Flask) -> None:
    health = HealthCheck()
    health.setup(load, scope="cluster")  # type: ignore[call-overload]
    health.init_app(app)


def negative_timeout(app: Flask) -> None:
    health = HealthCheck()
    health.setup(load, timeout=-2.5)
    health.init_app(app)


def configured(key: str, value: object) -> Callable[[Flask], None]:
    def wire(app: Flask) -> None:
        app.config[key] = value
        try:
            HealthCheck(app)
        finally:
            del app.config[key]

    return wire


def second_blueprint(app: Flask) -> None:
    app.register_blueprint(Blueprint("health", "other"))
    try:
        HealthCheck(app)
    finally:
        del app.blueprints["health"]


def own_rule(app: Flask) -> None:
    app.config["HEALTH_URL_PREFIX"] = "/work"
    try:
        HealthCheck(app)
    finally:
        del app.config["HEALTH_URL_PREFIX"]


WRONG: dict[str, tuple[Callable[[Flask], None], type[Exception], str]] = {
    "setup not callable": (not_callable, TypeError, "must be callable, not 'load'"),
    "two steps of a name": (two_steps, ValueError, "Two setup steps are named 'load'"),
    "scope": (
        unknown_scope,
        ValueError,
        "'scope' of setup step 'load' must be one of 'worker', 'server', 'fleet', not 'cluster'",
    ),
    "timeout": (
        negative_timeout,
        ValueError,
        "'timeout' of setup step 'load' must be a number of seconds > 0, not -2.5",
    ),
    "empty prefix": (
        configured("HEALTH_URL_PREFIX", ""),
        ConfigError,
        "'HEALTH_URL_PREFIX' must be a path such as '/health'",
    ),
    "value": (
        configured("HEALTH_MIN_WORKERS", 0),
        ConfigError,
        "'HEALTH_MIN_WORKERS' must be a whole number >= 1, not 0.",
    ),
    "relative state directory": (
        configured("HEALTH_STATE_DIR", "run"),
        ConfigError,
        "'HEALTH_STATE_DIR' must be the absolute path of a directory, not 'run'.",
    ),
    "impossible state directory": (
        configured("HEALTH_STATE_DIR", "/run/\0"),
        ConfigError,
        "'HEALTH_STATE_DIR' must be the absolute path of a directory, not",
    ),
    "alias of another probe": (
        configured("HEALTH_ALIASES", {"/health/ready": "live"}),
        ConfigError,
        "'HEALTH_ALIASES' must be paths of their own, not '/health/ready': the probe 'ready'",
    ),
    "alias of the prefix": (
        configured("HEALTH_ALIASES", {"/health/": "live"}),
        ConfigError,
        "'HEALTH_ALIASES' must be paths of their own, not '/health/': the probe 'health'",
    ),
    "one alias twice": (
        configured("HEALTH_ALIASES", {"/z": "live", "/z/": "ready"}),
        ConfigError,
        "'HEALTH_ALIASES' must be paths of their own, not '/z/': the probe 'live'",
    ),
    "alias of nothing": (
        configured("HEALTH_ALIASES", {"//": "live"}),
        ConfigError,
        "'HEALTH_ALIASES' must be a dict of paths to probes",
    ),
    "alias of a page": (
        configured("HEALTH_ALIASES", {"/work": "live"}),
        ValueError,
        "The rule '/work' would never be reached",
    ),
    "second blueprint": (second_blueprint, ValueError, "blueprint named 'health' already"),
    "own rule": (own_rule, ValueError, "The rule '/work' would never be reached"),
}


def state(app: Flask) -> dict[str, Any]:
    """Everything of an app that wiring changes."""
    return {
        "wsgi_app": app.wsgi_app,
        "rules": [str(rule) for rule in app.url_map.iter_rules()],
        "blueprints": dict(app.blueprints),
        "extensions": dict(app.extensions),
        "views": dict(app.view_functions),
        "own": {name for name in vars(app) if callable(getattr(app, name))},
    }


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_one_error_and_wires_nothing(what: str) -> None:
    """The error names the key or step and says what is right; mended, the app can be wired."""
    wrong, kind, message = WRONG[what]
    app = make_app()
    before = state(app)
    with pytest.raises(kind) as caught:
        wrong(app)
    assert message in str(caught.value)
    assert state(app) == before
    HealthCheck(app, setup=load).start(wait=True)
    assert call(app).word == (200, "ok")


def test_an_alias_may_repeat_what_is_there() -> None:
    """The same path for the same probe again is no contradiction."""
    again = {"/health/ready": "ready", "/health/": "health", "/health/health": "health"}
    app = make_app(HEALTH_ALIASES=again)
    HealthCheck(app)
    for path in again:
        assert call(app, path).word == (200, "ok")


def test_a_wrong_environment_stops_the_wiring(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is wrong in it, and in the config, is in the one error."""
    monkeypatch.setenv("FLASK_HEALTH_WORKERS", "many")
    app = make_app(HEALTH_HOLD="sometimes")
    with pytest.raises(ConfigError) as caught:
        HealthCheck(app)
    assert len(str(caught.value).splitlines()) == 2
    assert "'HEALTH_WORKERS' must be a whole number >= 1, not 'many'." in str(caught.value)


# State directories that cannot be used: found at boot, they never stop a worker.


def a_file(path: Path) -> None:
    path.write_text("")


def a_symlink(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    path.symlink_to(elsewhere)


def a_dangling_symlink(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def open_to_others(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


@pytest.mark.parametrize("plant", [a_file, a_symlink, a_dangling_symlink, open_to_others])
def test_an_unsafe_state_directory_is_passed_over(
    plant: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next candidate is used; log and details say why, and nothing is written to the first."""
    base, spare = tmp_path / "base", tmp_path / "spare"
    base.mkdir()
    spare.mkdir(mode=0o700)
    planted = base / f"flask-health-{os.geteuid()}"
    plant(planted)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(spare))
    gate = worker_gate(base, workers=1)
    gate.begin()
    try:
        assert gate.presence
        assert gate.presence.directory.path.startswith(str(spare))
        (problem,) = gate.problems
        assert problem.startswith(f"{base} cannot hold shared state: ")
        assert problem in [record.getMessage() for record in caplog.records]
        assert not [p for p in base.rglob("*") if p.name.startswith(("v1-", "worker."))]
    finally:
        gate.told_to_stop()
        gate.leave()


@pytest.mark.parametrize("missing", ["not there", "a file"])
def test_a_base_that_is_no_directory_is_passed_over(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped `HEALTH_STATE_DIR` is not created: that is for whoever owns the place."""
    base, spare = tmp_path / "base", tmp_path / "spare"
    spare.mkdir(mode=0o700)
    if missing == "a file":
        base.write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(spare))
    gate = worker_gate(base, workers=1)
    gate.begin()
    try:
        assert gate.presence
        assert gate.presence.directory.path.startswith(str(spare))
        assert str(base) in gate.problems[0]
        assert base.exists() is (missing == "a file")
    finally:
        gate.told_to_stop()
        gate.leave()


def test_without_any_directory_a_worker_answers_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Setup runs, the gate opens, and one line says that the others are not seen."""
    nowhere = str(tmp_path / "nowhere")
    monkeypatch.setattr("flask_health.workers.statedir.candidates", lambda *given: [nowhere])
    gate = worker_gate(nowhere, load, workers=2)
    gate.begin()
    assert gate.event.wait(10)
    assert gate.presence is None
    assert gate.is_open
    said = [record.getMessage() for record in caplog.records]
    assert said.count("no directory for shared state: each worker answers for itself alone") == 1
    gate.leave()
