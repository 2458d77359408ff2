"""Figure 13: what one `flask-health check` costs, against a Python that does nothing."""

from __future__ import annotations

import compileall
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .measure import Line, alternate, at_most, median_ratio
from .servers import ROOT, gunicorn, python_environ, wait_for

LIMIT = 2.0
"""Times the shortest life of a Python process."""

SCRIPT = """#!{python}
# -*- coding: utf-8 -*-
import sys
from flask_health.__main__ import main
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
"""
"""The console script as pip writes it."""


def measure(quick: bool = False) -> list[Line]:
    """The time of a whole process, from its start to its end, as a multiple of `python -c pass`."""
    rounds = 5 if quick else 60
    with tempfile.TemporaryDirectory(prefix="fh-") as directory:
        home = Path(directory)
        state = home / "state"
        state.mkdir()
        python, script = install(home / "venv")
        socket = f"unix:{home}/app.sock"
        environ = {"FLASK_HEALTH_STATE_DIR": str(state)}
        with gunicorn(
            "ours:app()", workers=4, options=("--bind", socket), environ=environ
        ) as server:
            wait_for(server, "/health")
            ways = {
                "http": [f"http://127.0.0.1:{server.port}"],
                "unix socket": [socket],
                "--state DIR": ["--state", str(state)],
                "--pid, state searched": ["--pid", str(server.pid)],
            }
            commands = {"pass": [str(python), "-c", "pass"]}
            for way, words in ways.items():
                commands[f"{way}, script"] = [str(script), "check", *words]
                commands[f"{way}, python -m"] = [str(python), "-m", "flask_health", "check", *words]
            seconds = _time(commands, rounds, environ)
    nothing = seconds.pop("pass")
    note = f"python -c pass {statistics.median(nothing) * 1000:.1f} ms"
    return [
        at_most("check", f"{name} / python -c pass", median_ratio(taken, nothing), "x", LIMIT, note)
        for name, taken in seconds.items()
    ]


def install(home: Path) -> tuple[Path, Path]:
    """A virtual environment that holds the package and nothing else, compiled as pip does; its
    interpreter and the console script. What else is installed costs every start of Python.
    """
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    subprocess.run([str(base), "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    (site,) = home.glob("lib/python*/site-packages")
    shutil.copytree(
        ROOT / "flask_health", site / "flask_health", ignore=shutil.ignore_patterns("__pycache__")
    )
    compileall.compile_dir(site / "flask_health", quiet=1)
    script = home / "bin" / "flask-health"
    script.write_text(SCRIPT.format(python=python))
    script.chmod(0o755)
    return python, script


def _time(
    commands: dict[str, list[str]], rounds: int, more: dict[str, str]
) -> dict[str, list[float]]:
    """Seconds that each command takes in each round.

    :param more: variables of their environment.
    """
    environ = python_environ() | more
    # A package that is installed is found without them, and has its compiled modules beside it.
    del environ["PYTHONPATH"], environ["PYTHONPYCACHEPREFIX"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds):
        for name in alternate(list(commands), number):
            begin = time.perf_counter()
            done = subprocess.run(
                commands[name], cwd="/", env=environ, capture_output=True, text=True, check=False
            )
            seconds[name].append(time.perf_counter() - begin)
            if done.returncode:
                raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")
    return seconds
