"""Gathering what is told in numbers. Imported with the first scrape."""

from __future__ import annotations

import typing as t

from ..model.measures import Measures
from ..model.server import DRAIN, PAUSE
from . import tally
from .gate import Gate
from .survey import survey
from .verdict import Verdict

if t.TYPE_CHECKING:
    from ..model.fleet import FleetReport
    from ..model.traffic import Traffic


def measure(gate: Gate, verdict: Verdict, fleet: FleetReport | None = None) -> Measures:
    """What is told in numbers, now. But for the notes nothing in it is of this worker alone.

    :param fleet: what this server knows of its fleet.
    """
    report = survey(gate, verdict, "health", fleet)
    census, runner = gate.census, verdict.runner
    # A check of scope `worker` differs from worker to worker: what this one has found out about
    # itself is not what the server is. Its marker tells, and markers are counted.
    shared = [r for r in report.results if census is None or r.check.scope != "worker"]
    return Measures(
        report=report,
        results=tuple(shared),
        probes={probe: verdict.good(probe) for probe in ("live", "ready", "startup")},
        transitions=runner.transition_counts() if runner else {},
        traffic=count(gate),
        draining=census.draining if census else DRAIN in gate.orders,
        paused=census.paused if census else PAUSE in gate.orders,
    )


def count(gate: Gate) -> Traffic | None:
    """The traffic now. Not as it was remembered: the next scrape reaches another worker, and would
    see a counter go down. Nor with what this worker alone can read.
    """
    try:
        if gate.presence:
            return tally.measure(*tally.read(gate.presence.directory))
        return tally.survey(None, gate.record)
    except (OSError, ValueError):
        return None  # The record tells why.
