"""Figure 14: what the second port costs while nobody asks."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from .measure import OURS, Line, at_most
from .servers import children, free_port, gunicorn, wait_for

WORKERS = 4
WITHOUT = f"{OURS}, no second port"

MOST_WAKES = 1.5
"""Wake-ups per second and worker that count as one per second."""

MOST_TIME = 0.5
"""Milliseconds of processor time per second and worker that count as nothing."""


def measure(quick: bool = False) -> list[Line]:
    """Workers with and without it, at the same time; nobody sends anything."""
    with ExitStack() as stack:
        pids = {}
        for name in (OURS, WITHOUT):
            listen = f"127.0.0.1:{free_port()}"
            environ = {"FLASK_HEALTH_LISTEN": listen} if name == OURS else {}
            server = stack.enter_context(
                gunicorn(f"saturated:app({OURS!r})", workers=WORKERS, environ=environ)
            )
            wait_for(server, "/health")
            pids[name] = children(server.pid)
        time.sleep(2.0)  # All are elected, and have a copy.
        before = {name: _used(found) for name, found in pids.items()}
        begin = time.monotonic()
        time.sleep(3.0 if quick else 30.0)
        seconds = time.monotonic() - begin
        after = {name: _used(found) for name, found in pids.items()}
    return _lines(before, after, seconds)


Used = list[tuple[int, int]]
"""Wake-ups, and nanoseconds of processor time, of each worker."""


def _used(pids: list[int]) -> Used:
    return [(_wakes(pid), _nanoseconds(pid)) for pid in pids]


def _wakes(pid: int) -> int:
    """How often a thread of a process went to sleep by itself."""
    return sum(
        int(line.split()[1])
        for path in Path(f"/proc/{pid}/task").glob("*/status")
        for line in path.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches:")
    )


def _nanoseconds(pid: int) -> int:
    """For how long its threads have run."""
    paths = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in paths)


def _lines(before: dict[str, Used], after: dict[str, Used], seconds: float) -> list[Line]:
    wakes, spent = {}, {}
    for name, used in before.items():
        pairs = list(zip(used, after[name], strict=True))
        wakes[name] = statistics.mean((b[0] - a[0]) / seconds for a, b in pairs)
        spent[name] = statistics.mean((b[1] - a[1]) / seconds / 1e6 for a, b in pairs)
    note = "{:.2f} with, {:.2f} without, per worker"
    return [
        at_most(
            "idle",
            "wake-ups per second",
            wakes[OURS] - wakes[WITHOUT],
            "",
            MOST_WAKES,
            note.format(wakes[OURS], wakes[WITHOUT]),
        ),
        at_most(
            "idle",
            "processor time per second",
            spent[OURS] - spent[WITHOUT],
            "ms",
            MOST_TIME,
            note.format(spent[OURS], spent[WITHOUT]),
        ),
    ]
