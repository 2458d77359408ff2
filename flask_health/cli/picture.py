"""Everything that is known of a server of this host, from its state directory and the kernel."""

from __future__ import annotations

import json
import time
import typing as t

from ..model.mask import mask
from ..model.server import PAUSE, Marker, WorkerState
from ..model.status import Status
from ..workers import outsidechecks, tally
from ..workers.board import Board
from ..workers.outside import Boot
from ..workers.statedir import StateDir, progress_of
from ..workers.vitals import uptime, vitals

if t.TYPE_CHECKING:
    from ..model.check import Result

PROBES = ("live", "ready", "startup")
UNFINISHED = (WorkerState.STARTING, WorkerState.FAILED)
SHOWN_CHANGES = 10

Members = dict[str, t.Any]


def picture(boot: Boot) -> Members:
    """A server as `status --json` tells it. Times are in seconds, memory is in bytes."""
    census, told = boot.census, outsidechecks.about(boot)
    good, checks = boot.good("ready"), outsidechecks.results(boot, told)
    warning = outsidechecks.warning(boot, checks) if good else ""
    paused = mask(boot.directory.read(PAUSE)) if census.paused else None
    in_flight, traffic = _traffic(boot.directory)
    return {
        "status": str((Status.WARN if warning else Status.PASS) if good else Status.FAIL),
        "output": boot.reason("ready") or warning,
        "app": told.get("app"),
        "version": told.get("version"),
        "server": told.get("server"),
        "listen": told.get("listen") or [],
        "master": boot.master,
        "uptime": uptime(boot.master),
        "state": boot.directory.path,
        "probes": {probe: boot.good(probe) for probe in PROBES},
        "gate": boot.gate,
        "draining": census.draining,
        "paused": paused,
        "expected": census.expected,
        "workers": [_worker(boot.directory, m, in_flight) for m in census.markers],
        "checks": [_check(result) for result in checks],
        "transitions": _transitions(boot),
        "traffic": traffic,
    }


def workers(boot: Boot) -> list[Members]:
    """The workers of a server, and how far those have come that start."""
    return [_worker(boot.directory, marker, {}) for marker in boot.census.markers]


def _worker(directory: StateDir, marker: Marker, in_flight: dict[int, int]) -> Members:
    found: Members = {
        "pid": marker.pid,
        "age": marker.age,
        "state": str(marker.state),
        "uptime": uptime(marker.pid),
        "in_flight": in_flight.get(marker.pid),
        **vitals(marker.pid),
    }
    if marker.state in UNFINISHED:
        found["steps"] = _steps(directory, marker.pid)
    return found


def _steps(directory: StateDir, pid: int) -> list[Members]:
    """How far the setup of a worker has come, as it has told."""
    try:
        steps = json.loads(directory.read(progress_of(pid)))["steps"]
        return [_step(step) for step in steps]
    except (ValueError, KeyError, TypeError):
        return []  # Nothing yet, or of another version.


def _step(told: Members) -> Members:
    began = told.pop("began", None)
    running = told["state"] == "running" and isinstance(began, (int, float))
    return told | {"elapsed": round(time.monotonic() - began, 1) if running else None}


def _check(result: Result) -> Members:
    return {
        "name": result.name,
        "status": str(result.status),
        "critical": result.check.critical,
        "probes": list(result.check.probes),
        "output": result.output if result.status is not Status.PASS else "",
        "age": None if result.time is None else round(max(0.0, time.time() - result.time), 1),
        "duration": None if result.duration is None else round(result.duration, 6),
        "observed_value": result.observed_value,
        "observed_unit": result.observed_unit,
        "since": result.since,
    }


def _transitions(boot: Boot) -> list[Members]:
    """The last changes, newest first."""
    return [
        {
            "check": change.check,
            "old": str(change.old),
            "new": str(change.new),
            "time": change.time,
            "output": change.output,
        }
        for change in reversed(Board(boot).transitions()[-SHOWN_CHANGES:])
    ]


def _traffic(directory: StateDir) -> tuple[dict[int, int], Members | None]:
    """Requests in flight by worker, and the traffic of the server."""
    try:
        total, found = tally.read(directory)
        measured = tally.measure(total, found)
    except (OSError, ValueError, KeyError):
        return {}, None
    if not found:
        return {}, None
    windows = {name: vars_of(window) for name, window in measured.windows.items()}
    return {r.pid: r.in_flight for r in found if r.alive}, {
        "in_flight": measured.in_flight,
        **windows,
    }


def vars_of(window: t.Any) -> Members:
    """The figures of some time, rounded."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in vars(window).items()
    }
