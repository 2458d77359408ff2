"""Figure 6: for how long probes are answered `ok` after the death of a worker that it needs."""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .apps import slots
from .measure import LITSERVE, OURS, Line, at_most
from .prober import Answer, Prober
from .servers import Server, wait_for
from .startup import path, serving

PERIOD = 0.002
LIMIT = 0.1
REPLACEMENT = 0.5
"""Seconds that the setup of a killed worker's replacement takes: until then nobody may say `ok`."""
LITSERVE_WATCHED = 5.0


@dataclass(frozen=True)
class Death:
    """Seconds from the kill to the last `ok` received, and to the first other answer."""

    last_ok: float
    first_other: float


def measure(quick: bool = False) -> list[Line]:
    """Two workers, both needed, one of them killed again and again; LitServe beside it."""
    deaths = watch_ours(2 if quick else 12)
    last, first = [death.last_ok for death in deaths], [death.first_other for death in deaths]
    lines = [
        at_most("death", "last ok after a kill -9, longest", max(last), "s", LIMIT, _note(last)),
        at_most("death", "first 503 after it, longest", max(first), "s", LIMIT, _note(first)),
    ]
    if not quick and find_spec(LITSERVE):
        last = [watch_litserve().last_ok for _ in range(3)]
        lines.append(Line("death", f"{LITSERVE}: last ok", max(last), "s", note=_note(last)))
    return lines


def watch_ours(kills: int) -> list[Death]:
    """One server; each kill waits until both workers are ready again."""
    deaths = []
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(OURS, (0.0, 0.0, REPLACEMENT), 2, directory, HEALTH_MIN_WORKERS=2) as server,
    ):
        for _ in range(kills):
            wait_for(server, path(OURS))
            deaths.append(_kill(server, path(OURS), _living(directory)[0], REPLACEMENT))
    return deaths


def watch_litserve() -> Death:
    """A server for each kill: it does not replace its workers."""
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(LITSERVE, (0.0,), 2, directory) as server,
    ):
        wait_for(server, path(LITSERVE))
        return _kill(server, path(LITSERVE), _living(directory)[0], LITSERVE_WATCHED)


def judge(answers: Sequence[Answer], killed: float, watched: float) -> Death:
    """What the answers to the probes sent in the `watched` seconds after a kill amount to."""
    told = [a for a in answers if killed < a.sent < killed + watched]
    ok = [a.received - killed for a in told if a.ok]
    other = [a.received - killed for a in told if not a.ok and a.status is not None]
    return Death(max(ok, default=0.0), min(other, default=float("inf")))


def _kill(server: Server, path: str, pid: int, watched: float) -> Death:
    with Prober(server.port, path, PERIOD) as prober:
        while not (prober.answers and prober.answers[-1].ok):
            time.sleep(PERIOD)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        time.sleep(watched)
    return judge(prober.answers, killed, watched)


def _living(directory: str) -> list[int]:
    """The pids of the workers that live, in the order in which their setups ended."""
    ends = slots.ends(directory)
    return [pid for pid in sorted(ends, key=ends.__getitem__) if Path(f"/proc/{pid}").exists()]


def _note(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.0f} ms of {len(seconds)} kills"
