"""A script that uses an app in its own process and prints what it saw, as JSON."""

from __future__ import annotations

import json
import sys

from making import create_app

import flask_health

app = create_app()
client = app.test_client()
probe = client.get("/health")
work = client.get("/work")
health: flask_health.HealthCheck = app.extensions["health"]
opened = health.gate.wait(10.0)
json.dump(
    {
        "probe": (probe.status_code, probe.text),
        "work": (work.status_code, work.json),
        "opened": opened,
        "after": (client.get("/health").status_code, client.get("/health/startup").text),
        "state": health.report().state,
        "lacks": [name for name in ("fcntl", "posix") if sys.modules.get(name) is None],
    },
    sys.stdout,
)
