"""A member of a fleet that obeys the orders of a test, see `acting.py`.

The step `migrate` of the fleet obeys the orders that begin with `migrate.` and tells its number;
the check `shared` of the fleet and the check `database`, which may panic, fail on the orders
`shared.fail` and `fail`. SKEW is added to what this server's clock shows.
"""

from __future__ import annotations

import os
import time
from typing import Any

SKEW = float(os.environ.get("SKEW", "0"))
if SKEW:
    tells = time.time
    time.time = lambda: tells() + SKEW

from acting import ordered, perform, tell  # noqa: E402
from flask import Flask  # noqa: E402

from flask_health import HealthCheck  # noqa: E402
from flask_health.fleet import lease  # noqa: E402

lease.LENGTH = float(os.environ.get("LEASE", "3"))

app = Flask("fleeted")
app.config.update(HEALTH_DETAILS="always", HEALTH_SERVICE="shop")
health = HealthCheck(app)

BRISK: dict[str, Any] = {"interval": 1.0, "retry_interval": 0.5, "failure_threshold": 1}


@health.setup(scope="fleet")
def migrate() -> None:
    tell("migrate.number", health.fencing)
    perform("migrate.")


@health.setup
def warm_up() -> None:
    perform()


@health.check(scope="fleet", **BRISK)
def shared() -> None:
    tell("shared", os.getpid())
    if ordered("shared.fail"):
        raise ConnectionError("shared is down")


@health.check(panic=True, **BRISK)
def database() -> None:
    if ordered(f"fail.{os.environ.get('NUMBER', '')}") or ordered("fail"):
        raise ConnectionError("connection refused")


@app.get("/work")
def work() -> dict[str, Any]:
    return {"pid": os.getpid(), "cold": False}
