"""A step that one worker runs for the whole server, then a step of every worker."""

from __future__ import annotations

import os

from acting import perform
from flask import Flask

from flask_health import HealthCheck

app = Flask("stepped")
health = HealthCheck(app)


@health.setup(scope="server")
def migrate() -> None:
    """Obey the orders that begin with `migrate.`."""
    perform("migrate.")


@health.setup
def warm_up() -> None:
    """Obey the orders without a prefix."""
    perform()


@app.get("/work")
def work() -> dict[str, int]:
    """Tell which worker answers."""
    return {"pid": os.getpid()}
