"""What people want to see beside a report: what led to it."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ..model.report import Report, StepReport
from . import orders
from .board import Transition
from .gate import Gate
from .statedir import StateDir, progress_of
from .survey import survey
from .trail import Run
from .verdict import Verdict

if t.TYPE_CHECKING:
    from ..model.fleet import FleetReport

FIELDS = ("name", "scope", "state", "fraction", "note", "error")
"""What is read of a step that another worker tells of."""


class Overview(t.NamedTuple):
    """A server at one moment, with what led to it.

    :ivar time: when this was, in seconds since the epoch.
    :ivar report: of the probe `health`.
    :ivar ordered: why readiness is red on purpose, as `draining`; empty when it is not.
    :ivar probes: whether each of the other probes passes.
    :ivar setups: by process id, the steps of each worker whose setup has not finished.
    :ivar transitions: the last changes of status of checks, oldest first.
    :ivar runs: the last runs of each check, oldest first.
    """

    time: float
    report: Report
    ordered: str
    probes: dict[str, bool]
    setups: dict[int, tuple[StepReport, ...]]
    transitions: list[Transition]
    runs: dict[str, list[Run]]


def overview(gate: Gate, verdict: Verdict, fleet: FleetReport | None = None) -> Overview:
    """The server now."""
    runner, report = verdict.runner, survey(gate, verdict, "health", fleet)
    return Overview(
        time=time.time(),
        report=report,
        ordered=orders.reason(gate),
        probes={probe: verdict.good(probe) for probe in ("live", "ready", "startup")},
        setups=_setups(gate, report),
        transitions=runner.transitions() if runner else [],
        runs=runner.trail.shown(runner.checks, runner.leads) if runner else {},
    )


def _setups(gate: Gate, report: Report) -> dict[int, tuple[StepReport, ...]]:
    """What each worker tells of its steps while they are not all done; of its own it knows."""
    found: dict[int, tuple[StepReport, ...]] = {}
    for marker in report.workers:
        if gate.presence and not marker.state.serves and marker.pid != os.getpid():
            found[marker.pid] = _told(gate.presence.directory, marker.pid)
    if not gate.local.is_set():
        found[os.getpid()] = report.steps
    return found


def _told(directory: StateDir, pid: int) -> tuple[StepReport, ...]:
    """The steps that another worker tells of; none when it has not begun, or has finished."""
    try:
        steps = json.loads(directory.read(progress_of(pid)))["steps"]
        return tuple(StepReport(**{key: step[key] for key in FIELDS}) for step in steps)
    except (KeyError, TypeError, ValueError):
        return ()
