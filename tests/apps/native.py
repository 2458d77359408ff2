"""A step that computes without pause, on a native thread."""

from __future__ import annotations

from acting import ordered, tell
from flask import Flask

from flask_health import HealthCheck

app = Flask("native")
health = HealthCheck(app)


@health.setup(native_thread=True)
def compute() -> None:
    """Compute until the order to wait is withdrawn."""
    tell("started", 0)
    number = 1
    while ordered("wait"):
        for _ in range(20_000):
            number = number * 48271 % 2147483647


@app.get("/work")
def work() -> str:
    """Answer."""
    return "done"
