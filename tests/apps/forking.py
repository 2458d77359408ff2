"""Requests that fork children of their own, as user code does."""

from __future__ import annotations

import multiprocessing
import os
import time

from acting import ordered
from making import create_app

app = create_app()


def live() -> None:
    """Live until the test orders the end."""
    while not ordered("end"):
        time.sleep(0.01)


@app.get("/fork")
def fork() -> dict[str, int]:
    """Fork with `os.fork`; the child never returns into the server."""
    pid = os.fork()
    if pid == 0:
        try:
            live()
        finally:
            os._exit(0)
    return {"pid": os.getpid(), "child": pid}


@app.get("/multiprocessing")
def start() -> dict[str, int | None]:
    """Fork with multiprocessing's fork method."""
    child = multiprocessing.get_context("fork").Process(target=live)
    child.start()
    return {"pid": os.getpid(), "child": child.pid}
