"""Fixtures for every test; `support` and `apps` lie beside this file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # --import-mode=importlib adds nothing by itself

if TYPE_CHECKING:
    from support.gunicorn import Serve

if (HERE / "support" / "noskips.py").exists():
    pytest_plugins = ["support.noskips"]

# A shell has what it runs in the background ignore SIGINT, and whatever that starts inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where a red run costs most the examples are the same each time; elsewhere they are new ones.
settings.register_profile("same", derandomize=True)
if os.environ.get("FLASK_HEALTH_NO_SKIPS"):
    settings.load_profile("same")

PROCESSES = (
    "test_benchmarks",
    "test_checks_",
    "test_deploy_",
    "test_faults_",
    "test_gunicorn_",
    "test_servers_",
)
"""Modules that start real servers: the matrix, but for what every interpreter has to show."""
EVERYWHERE = ("test_gunicorn_boot", "test_servers_platforms")
BACKENDS = ("alembic", "celery", "memcached", "rabbitmq", "redis", "sqlalchemy")
"""What the ready-made checks ask that has to be installed and started first."""

ONCE = (
    "test_benchmarks",
    "test_deploy_",
    "test_gunicorn_alerts",
    "test_gunicorn_cli_",
    "test_gunicorn_fleet",
    "test_gunicorn_page",
    "test_gunicorn_prometheus",
    "test_servers_rolling",
)
"""Modules with other programs, as a browser or a proxy, which are the same whatever Flask it is."""

STORES = "test_fleet_redis_"
"""Modules that start the stores of fleets."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of real servers into the matrix, or among those of the backends."""
    for item in items:
        module = item.path.stem
        if module.removeprefix("test_checks_") in BACKENDS or module.startswith(STORES):
            item.add_marker(pytest.mark.backends)
        elif module.startswith(PROCESSES) and module not in EVERYWHERE:
            item.add_marker(pytest.mark.matrix)
        if module.startswith(ONCE):
            item.add_marker(pytest.mark.once)


@pytest.fixture
def restless() -> Iterator[None]:
    """Has the interpreter switch threads as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start gunicorns, see `support.gunicorn.Gunicorn`; they end with the test."""
    from support.gunicorn import Gunicorn

    started: list[Gunicorn] = []

    def start(app: str = "served:app", *args: str, **options: Any) -> Gunicorn:
        home = options.pop("home", tmp_path / f"server{len(started)}")
        started.append(Gunicorn(home, app, *args, **options))
        return stack.enter_context(started[-1])

    try:
        with ExitStack() as stack:
            yield start
    finally:
        for server in started:
            print(f"--- log of {server.home.name}\n{server.log()}")
