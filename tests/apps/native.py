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
        # Longer than the interpreter's switch interval: a thread that gives its lock up more often
        # than that, to take it back at once, can keep the others waiting for seconds.
        for _ in range(300_000):
            number = number * 48271 % 2147483647


@app.get("/work")
def work() -> str:
    """Answer."""
    return "done"
