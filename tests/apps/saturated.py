"""An app that tests keep busy, in each of the ways in which a worker can be."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

from acting import ordered, perform, tell
from flask import Flask

from flask_health import HealthCheck

app = Flask("saturated")
app.config.update(HEALTH_TOKEN="hunter2")
health = HealthCheck(app)


@health.setup
def setup() -> None:
    perform()


@health.check(interval=0.5)
def database() -> None:
    """Pass."""


@app.get("/work")
def work() -> dict[str, Any]:
    """Do business."""
    return {"pid": os.getpid(), "cold": False}


@app.get("/wait")
def wait() -> dict[str, Any]:
    """Wait for as long as it is ordered."""
    tell("waiting", os.getpid())
    while ordered("keep"):
        time.sleep(0.02)
    return {"pid": os.getpid()}


@app.get("/compute")
def compute() -> dict[str, Any]:
    """Compute for as long as it is ordered: under gevent nothing else runs meanwhile."""
    tell("waiting", os.getpid())
    while ordered("keep"):
        sum(range(20_000))
    return {"pid": os.getpid()}


@app.get("/hog")
def hog() -> dict[str, Any]:
    """Call a function that keeps the interpreter to itself, as a bad extension module does."""
    tell("waiting", os.getpid())
    while ordered("keep"):
        ctypes.PyDLL(None).usleep(200_000)
    return {"pid": os.getpid()}


@app.get("/fork")
def fork() -> dict[str, Any]:
    """Leave a child behind that outlives this worker, as long as it is ordered."""
    child = os.fork()
    if child == 0:
        while ordered("keep"):
            time.sleep(0.05)
        os._exit(0)
    return {"pid": os.getpid(), "child": child}
