"""Making the app that most tests serve: one step of setup, two business routes."""

from __future__ import annotations

import os
import time
from threading import Event
from typing import Any

from acting import perform
from flask import Flask, request

from flask_health import HealthCheck


def create_app(name: str = "served", prefix: str = "") -> Flask:
    """Return a new app whose setup obeys the orders that begin with `prefix`."""
    app = Flask(name)
    app.config["HEALTH_GATE_EXEMPT"] = ["/wait"]
    health = HealthCheck(app)
    warm: set[int] = set()

    @health.setup
    def setup() -> None:
        perform(prefix)
        warm.add(os.getpid())

    @app.get("/work")
    def work() -> dict[str, Any]:
        """Tell which worker this is and what its gate says, after `?seconds=`."""
        time.sleep(float(request.args.get("seconds", "0")))
        gate = health.gate_for(app)
        return {
            "pid": os.getpid(),
            "cold": os.getpid() not in warm,
            "event": gate.event.is_set(),
            "local": gate.local.is_set(),
            "state": gate.state,
            "real": isinstance(gate.event, Event) and isinstance(gate.local, Event),
        }

    @app.get("/wait")
    def wait() -> dict[str, Any]:
        """Wait for the server's gate; the gate for requests lets this path pass."""
        return {"pid": os.getpid(), "opened": health.gate_for(app).event.wait(20.0)}

    return app
