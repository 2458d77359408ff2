"""Figure 5: what the extension costs at import, and in the memory of a worker."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .apps import peers
from .measure import OURS, Line, alternate, at_most
from .prober import probe
from .servers import ROOT, Server, children, gunicorn, python_environ, wait_for

IMPORT_LIMIT = 5.0
MEMORY_LIMIT = 1.0
WORKERS = 4
REQUESTS = 400
CLIENTS = 16

STATEMENTS = {
    OURS: "from flask_health import HealthCheck",
    f"{OURS}, wired to an app": "from flask_health import HealthCheck; HealthCheck(app)",
    "flask-healthz": "from flask_healthz import Healthz; Healthz(app)",
    "py-healthcheck": "from healthcheck import HealthCheck; HealthCheck()",
    "dockerflow": "from dockerflow.flask import Dockerflow; Dockerflow(app)",
    "healthpy": "import healthpy.flask_restx",
}

IMPORT = """
import time
begin = time.perf_counter()
import flask
app = flask.Flask("benchmark")
middle = time.perf_counter()
{statement}
print(middle - begin, time.perf_counter() - middle)
"""


def measure(quick: bool = False) -> list[Line]:
    """Milliseconds over Flask's own import, MiB over a worker without the extension."""
    return [*_imports(3 if quick else 15), *_memory(1 if quick else 3)]


def _imports(rounds: int) -> list[Line]:
    missing = peers.MODULES.keys() - set(peers.installed())
    names = [name for name in STATEMENTS if name not in missing]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    flask: list[float] = []
    for name in names:
        _import(STATEMENTS[name])  # Compiles what is not compiled yet.
    for number in range(rounds):
        for name in alternate(names, number):
            own, added = _import(STATEMENTS[name])
            flask.append(own)
            seconds[name].append(added)
    note = f"Flask itself {statistics.median(flask) * 1000:.0f} ms"
    lines = []
    for name in names:
        value = statistics.median(seconds[name]) * 1000
        if name == OURS:
            lines.append(at_most("import", name, value, "ms", IMPORT_LIMIT, note))
        else:
            lines.append(Line("import", name, value, "ms"))
    return lines


def _import(statement: str) -> tuple[float, float]:
    """Seconds that Flask's import takes in a fresh interpreter, and then the statement."""
    output = subprocess.run(
        [sys.executable, "-c", IMPORT.format(statement=statement)],
        cwd=ROOT,
        env=python_environ(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    own, added = map(float, output.split())
    return own, added


def _memory(rounds: int) -> list[Line]:
    """The difference of the medians over all workers and rounds; both servers run at once."""
    without: list[int] = []
    ours: list[int] = []
    for number in range(rounds + 1):
        with (
            gunicorn("peers:app('flask route')", workers=WORKERS) as plain,
            gunicorn("ours:app()", workers=WORKERS) as extended,
        ):
            plainly = _private_memory(plain, ("/health",))
            extendedly = _private_memory(extended, ("/search", "/health"))
        if number > 0:  # The first round compiles what is not compiled yet.
            without += plainly
            ours += extendedly
    before, after = statistics.median(without) / 1024, statistics.median(ours) / 1024
    note = f"{after:.1f} MiB with, {before:.1f} MiB without"
    return [at_most("memory", "added to a worker", after - before, "MiB", MEMORY_LIMIT, note)]


def _private_memory(server: Server, paths: Sequence[str]) -> list[int]:
    """KiB that each worker shares with no other process, once all of them have worked.

    Clients come at once: one after the other would be served by the same worker again and again.
    """
    for path in paths:
        wait_for(server, path)
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda path: probe(server.port, path), [path] * REQUESTS))
    return [_private(pid) for pid in children(server.pid)]


def _private(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
