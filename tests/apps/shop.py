"""A shop that obeys the orders of a test, see `acting.py`: something to look at.

Orders: `wait`, `raise` (its steps), `fail.<check>`, `warn.<check>` (its checks), `show` (a reason
with markup in it).
"""

from __future__ import annotations

import os
import random
import time

from acting import ordered, perform, tell
from flask import Flask, Response

from flask_health import Degraded, HealthCheck

app = Flask("shop")
app.config.update(
    HEALTH_DETAILS=os.environ.get("DETAILS", "always"),
    HEALTH_VERSION="4.2.0",
    HEALTH_SERVICE="shop",
    HEALTH_LINKS={"runbook": "https://wiki.example.com/shop", "about": "javascript:alert(1)"},
)
health = HealthCheck(app)
INTERVAL = float(os.environ.get("INTERVAL", "0.2"))


@app.before_request
def never_for_the_page() -> None:
    """Tell that a hook ran."""
    tell("hooks", "ran")


@health.setup(scope="server", timeout=60.0)
def migrate_database() -> None:
    """Tell how far it has come while it waits."""
    part = 0.0
    while ordered("wait.migrate"):
        part = min(part + 0.01, 0.72)
        health.progress(part, "orders, table 5 of 7")
        time.sleep(0.01)
    perform("migrate.")


@health.setup
def load_catalogue() -> None:
    """Tell how far it has come while it waits; each worker another part of the way."""
    most = 0.2 + os.getpid() % 7 / 10
    part = 0.0
    while ordered("wait"):
        part = min(part + 0.01, most)
        health.progress(part, f"{int(part * 48200):,} of 48,200 articles")
        time.sleep(0.01)
    perform("catalogue.")


def add(name: str, cost: float, **options: object) -> None:
    """Add a check that takes about so many seconds."""

    def check() -> object:
        time.sleep(cost * random.uniform(0.6, 1.6))
        if ordered(f"fail.{name}"):
            raise ConnectionRefusedError(f"connection to {name}.internal:5432 refused")
        if ordered(f"warn.{name}"):
            raise Degraded("replica is 41 s behind its primary")
        if ordered("show"):
            raise RuntimeError("<script>document.title = 'broken in'</script><img src=x>")
        return (int(cost * 4000), "connections") if name == "database" else None

    health.add_check(
        name,
        check,
        interval=INTERVAL,
        retry_interval=INTERVAL / 2,
        failure_threshold=2,
        **options,  # type: ignore[arg-type]
    )


add("database", 0.004)
add("sessions", 0.0009)
add("payments", 0.03, critical=False)
add("search", 0.012, critical=False)
add("memory", 0.0002, scope="worker", probes=("ready", "live"))


@app.get("/slow")
def slow() -> str:
    """Keep this worker busy for as long as the test says."""
    tell("busy", os.getpid())
    while ordered("busy"):
        time.sleep(0.01)
    return "done"


@app.get("/work")
def work() -> Response:
    """Do business, which takes a while and sometimes fails."""
    time.sleep(random.lognormvariate(-4.6, 0.6))
    return Response("sorry" if ordered("errors") else "done", 500 if ordered("errors") else 200)
