"""What people want to see beside a report: what led to it."""

from __future__ import annotations

import time
import typing as t

from ..model.report import Report, StepReport
from . import orders
from .board import Transition
from .flow import Flow, flow
from .gate import Gate
from .survey import survey
from .trail import Run
from .verdict import Verdict

if t.TYPE_CHECKING:
    from ..model.fleet import FleetReport


class Overview(t.NamedTuple):
    """A server at one moment, with what led to it.

    :ivar time: when this was, in seconds since the epoch.
    :ivar report: of the probe `health`.
    :ivar ordered: why readiness is red on purpose, as `draining`; empty when it is not.
    :ivar probes: whether each of the other probes passes.
    :ivar setups: by process id, the steps of each worker whose setup has not finished.
    :ivar flow: its traffic over time, and what each worker has in hand.
    :ivar transitions: the last changes of status of checks, oldest first.
    :ivar runs: the last runs of each check, oldest first.
    """

    time: float
    report: Report
    ordered: str
    probes: dict[str, bool]
    setups: dict[int, tuple[StepReport, ...]]
    flow: Flow
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
        setups=dict(report.setups),
        flow=flow(gate.presence.directory if gate.presence else None, gate.record),
        transitions=runner.transitions() if runner else [],
        runs=runner.trail.shown(runner.checks, runner.leads) if runner else {},
    )
