"""Servers whose workers measure in their own process, among the real markers of their siblings."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .apps import slots
from .prober import fetch
from .servers import Server, gunicorn, wait_for


@contextmanager
def server(workers: int, ready: bool = True) -> Iterator[Server]:
    """Our extension on that many idle workers; not ready: the setup of one of them never ends."""
    with tempfile.TemporaryDirectory() as directory:
        environ = {slots.VARIABLE: directory}
        if not ready:
            environ[slots.NEVER_READY] = "1"
        with gunicorn(
            "inside:app", workers=workers, options=["--preload"], environ=environ
        ) as running:
            _wait_for_setups(directory, workers if ready else workers - 1)
            wait_for(running, "/health", 200 if ready else 503)
            yield running


@contextmanager
def checked(workers: int) -> Iterator[Server]:
    """Our extension on apps with and without checks, all of them in each of that many workers."""
    with gunicorn("checked:app", workers=workers, options=["--preload"]) as running:
        wait_for(running, "/health")
        yield running


def samples(running: Server, what: str, rounds: int) -> dict[str, list[float]]:
    """Nanoseconds per call, one value per name and round, as a worker measured them."""
    _, body = fetch(running.port, f"/measure/{what}?{rounds}", timeout=110.0)
    found: dict[str, list[float]] = json.loads(body)
    return found


def _wait_for_setups(directory: str, number: int, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while len(slots.ends(directory)) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{number} setups did not end in {timeout:g} s")
        time.sleep(0.02)
