"""Imports point one way, and nothing is imported before it is needed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.environment import environment

import flask_health

ROOT = Path(flask_health.__file__).resolve().parent

ORDER = "model workers fleet web alerts companions inside wired wiring extension cli".split()
"""Lowest first: a room may import rooms before its own."""

BASE = {"exceptions", "config", "formats", "signals"}
"""Below all rooms: what they may all import, and what imports none of them."""

ON_TOP = {"checks", "gunicorn", "prometheus", "testing", "__main__"}
"""May import every room, and no room imports them."""

WEB_FREE = {"model", "workers"}
"""Know neither Flask nor Werkzeug: a command line reads the state without them."""


def module_name(path: Path) -> str:
    """The dotted name of a file of the package, without the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(name: str) -> Iterator[str]:
    """Every absolute name that a module imports, anywhere in it, also for types only."""
    package = ["flask_health", *name.split(".")[:-1]]
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """The room that a name of the package is in."""
    return name.removeprefix("flask_health.").partition(".")[0]


def rooms_imported_by(name: str) -> set[str]:
    """The rooms of the package, without its own, that a module imports."""
    found = {room(n) for n in imports(name) if n.startswith("flask_health.")}
    return found - {room(name)}


def allowed(name: str) -> set[str]:
    """The rooms that a room may import."""
    if name in BASE:
        return BASE
    if name in ON_TOP:
        return {*BASE, *ORDER, *ON_TOP}
    if name == "__init__":
        return {"exceptions", "signals", *ORDER}
    return BASE | set(ORDER[: ORDER.index(name)])


def test_every_module_is_in_a_room() -> None:
    """A new file has a place in the order, or this list is wrong."""
    assert len(MODULES) > 20
    assert {room(name) for name in MODULES} <= {*ORDER, *BASE, *ON_TOP, "__init__"}


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    """model <- workers <- fleet <- web <- extension <- cli; the rest is below or on top of all."""
    assert rooms_imported_by(name) <= allowed(room(name))


@pytest.mark.parametrize("name", [n for n in MODULES if room(n) in WEB_FREE])
def test_the_lower_rooms_know_no_flask(name: str) -> None:
    """Not even inside a function or for a type."""
    roots = {n.partition(".")[0] for n in imports(name)}
    assert not roots & {"flask", "werkzeug", "click", "jinja2"}


@pytest.mark.parametrize("name", [n for n in MODULES if room(n) == "model"])
def test_the_model_decides_and_does_nothing(name: str) -> None:
    """No threads, no files, no clock, no operating system, no log."""
    roots = {n.partition(".")[0] for n in imports(name)}
    assert not roots & {"os", "io", "pathlib", "threading", "time", "socket", "logging", "asyncio"}
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        assert not (isinstance(node, ast.Name) and node.id in ("open", "print"))


def test_the_rules_can_be_broken() -> None:
    """What this file looks for is found where it is: it reads relative imports rightly."""
    assert "flask_health.workers.gate.Gate" in set(imports("web.probe"))
    assert "flask_health.model.judge" in set(imports("workers.gate"))
    assert "flask" in set(imports("extension"))
    assert rooms_imported_by("wired") >= {"config", "model", "web", "workers"}
    assert not rooms_imported_by("wired") <= allowed("web")


def loaded_after(code: str, home: Path) -> set[str]:
    """The modules that a fresh interpreter has loaded once it has run some code."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {"flask", "werkzeug", "click", "jinja2", "asyncio", "gunicorn", "gevent"}


def test_importing_the_package_is_free(tmp_path: Path) -> None:
    """`import flask_health` loads the package alone; a name is loaded when it is asked for."""
    loaded = loaded_after("import flask_health", tmp_path)
    assert {m for m in loaded if m.startswith("flask_health")} == {"flask_health"}
    assert not loaded & HEAVY
    loaded = loaded_after("from flask_health import Status, Report; Status.PASS", tmp_path)
    assert "flask_health.model.status" in loaded
    assert not loaded & HEAVY
    loaded = loaded_after("from flask_health import HealthCheck", tmp_path)
    assert "flask" in loaded


UNUSED = {
    "asyncio",
    "multiprocessing",
    "flask_health.alerts",
    "flask_health.companions",
    "flask_health.checks",
    "flask_health.fleet",
    "flask_health.model.check",
    "flask_health.web.listener",
    "flask_health.model.measures",
    "flask_health.web.metrics",
    "prometheus_client",
    "urllib.request",
    "flask_health.web.page",
    "flask_health.web.pages",
    "flask_health.web.render",
    "flask_health.workers.boots",
    "flask_health.workers.port",
    "flask_health.workers.presence",
    "flask_health.workers.runner",
    "redis",
}


def test_what_is_not_used_is_not_imported(tmp_path: Path) -> None:
    """An app without checks, alone in its process, pays for neither runner nor state directory."""
    plain = """
from flask import Flask
app = Flask("app")
"""
    ours = """
from flask_health import HealthCheck
HealthCheck(app)
assert app.test_client().get("/health").data == b"ok"
"""
    loaded = loaded_after(plain + ours, tmp_path)
    assert "flask_health.wiring" in loaded
    # Old releases of what Flask needs import asyncio themselves.
    assert not (loaded - loaded_after(plain, tmp_path)) & UNUSED


WEBHOOK = """
from flask import Flask
from flask_health import HealthCheck
app = Flask("app")
app.config["HEALTH_WEBHOOK_URL"] = "http://127.0.0.1:9/"
HealthCheck(app)
assert app.test_client().get("/health").data == b"ok"
"""


def test_a_webhook_costs_little_before_it_is_told(tmp_path: Path) -> None:
    """What sends a message is loaded with the first one."""
    loaded = loaded_after(WEBHOOK, tmp_path)
    assert "flask_health.alerts" in loaded
    assert not loaded & {"flask_health.alerts.post", "flask_health.alerts.message"}


def test_every_public_name_is_there() -> None:
    """`__all__` is what `from flask_health import ...` gives, and nothing else is."""
    for name in flask_health.__all__:
        assert getattr(getattr(flask_health, name), "__name__", name) == name
    with pytest.raises(AttributeError, match="has no attribute 'Helath'"):
        flask_health.Helath  # noqa: B018


ANSWER = """
from types import SimpleNamespace
from flask_health.web.probe import Probes
from flask_health.workers.gate import Gate, GateOptions
from flask_health.workers.runner import Runner
from flask_health.workers.server import Server
from flask_health.workers.verdict import Verdict

def nothing(*args):
    pass

checks = SimpleNamespace(pace=None, prepare=nothing, start=nothing, look=nothing)
gate = Gate(Server(), 0, GateOptions("local"), lambda: [], nothing, lambda: False, checks)
verdict = Verdict(gate)
verdict.runner = Runner([], lambda check: None, None, lambda transition: None)
probes = Probes(None, gate, verdict, None, None)
probes.add("/health", probes.at("health"))
said = []
for _ in range(2):
    body = probes({"REQUEST_METHOD": "GET", "PATH_INFO": "/health"}, lambda *a: said.append(a))
    assert list(body) == [b"ok"], body
assert [status for status, headers in said] == ["200 OK"] * 2, said
"""


def test_a_plain_probe_is_answered_without_flask(tmp_path: Path) -> None:
    """Not even imported: the plain path stands on the state and the two words alone."""
    assert not loaded_after(ANSWER, tmp_path) & HEAVY
