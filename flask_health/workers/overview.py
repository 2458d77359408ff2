"""What people want to see beside a report: what led to it."""

from __future__ import annotations

import time
import typing as t

from ..model.report import Report
from . import orders
from .board import Transition
from .gate import Gate
from .survey import survey
from .trail import Run
from .verdict import Verdict


class Overview(t.NamedTuple):
    """A server at one moment, with what led to it.

    :ivar time: when this was, in seconds since the epoch.
    :ivar report: of the probe `health`.
    :ivar ordered: why readiness is red on purpose, as `draining`; empty when it is not.
    :ivar probes: whether each of the other probes passes.
    :ivar transitions: the last changes of status of checks, oldest first.
    :ivar runs: the last runs of each check, oldest first.
    """

    time: float
    report: Report
    ordered: str
    probes: dict[str, bool]
    transitions: list[Transition]
    runs: dict[str, list[Run]]


def overview(gate: Gate, verdict: Verdict) -> Overview:
    """The server now."""
    runner = verdict.runner
    return Overview(
        time=time.time(),
        report=survey(gate, verdict, "health"),
        ordered=orders.reason(gate),
        probes={probe: verdict.good(probe) for probe in ("live", "ready", "startup")},
        transitions=runner.transitions() if runner else [],
        runs=runner.trail.shown(runner.checks, runner.leads) if runner else {},
    )
