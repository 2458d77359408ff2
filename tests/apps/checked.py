"""An app whose checks obey the orders of a test, see `acting.py`.

Orders: `fail`, `stuck` (the check `database`), `own.<pid>` (the check `own` of that worker fails).
Facts: a line `<pid> <monotonic seconds>` per run, named like the check. Its intervals and timeout
are in the environment, in seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
import urllib.request
from typing import Any

from acting import STAGE, ordered, perform, tell
from flask import Flask

from flask_health import HealthCheck

app = Flask("checked")
app.config.update(HEALTH_DETAILS=os.environ.get("DETAILS", "always"))
health = HealthCheck(app)

BRISK: dict[str, Any] = {
    "interval": float(os.environ.get("INTERVAL", "0.2")),
    "retry_interval": float(os.environ.get("RETRY_INTERVAL", "0.1")),
    "timeout": float(os.environ.get("TIMEOUT", "0.5")),
    "failure_threshold": int(os.environ.get("FAILURES", "1")),
}
WANTED = os.environ.get("CHECKS", "database").split()


def _ran(name: str) -> None:
    tell(name, f"{os.getpid()} {time.monotonic()}")


def database() -> tuple[int, str]:
    """Ask a database that the test has in hand."""
    _ran("database")
    while ordered("stuck"):
        time.sleep(0.01)
    if ordered("fail"):
        raise ConnectionError("connection refused")
    return 7, "rows"


def own() -> None:
    """Look at this worker alone."""
    _ran("own")
    if ordered(f"own.{os.getpid()}"):
        raise MemoryError("full")


def itself() -> None:
    """Call this app over HTTP."""
    _ran("itself")
    port = (STAGE / "port").read_text()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/work", timeout=5.0) as answer:
        assert answer.status == 200


async def waits() -> None:
    """Wait in an event loop."""
    _ran("waits")
    await asyncio.sleep(0.05)
    if ordered("fail"):
        raise ConnectionError("connection refused")


CHECKS: dict[str, Any] = {"database": database, "own": own, "itself": itself, "waits": waits}
for name in WANTED:
    scope: Any = "worker" if name == "own" else "server"
    health.add_check(name, CHECKS[name], scope=scope, **BRISK)


@health.setup
def setup() -> None:
    perform()


@app.get("/work")
def work() -> dict[str, Any]:
    """Do business."""
    return {"pid": os.getpid(), "cold": False}
