"""Gathering the report behind an answer. Slower than the verdict, and never in the plain path."""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

from ..model import judge
from ..model.mask import mask
from ..model.movement import patience
from ..model.report import Report, StepReport, aggregate
from ..model.status import Status, worst
from . import orders
from .gate import Gate
from .movement import of_server
from .runner import Runner
from .setups import setups
from .steps import Progress
from .verdict import Verdict

if t.TYPE_CHECKING:
    from ..model.fleet import FleetReport
    from ..model.server import Census
    from ..model.traffic import Traffic
    from .movement import Moves


def survey(gate: Gate, verdict: Verdict, probe: str, fleet: FleetReport | None = None) -> Report:
    """The report of a probe now.

    :param fleet: what this server knows of its fleet.
    """
    good = verdict.good(probe)
    runner, census = verdict.runner, gate.census
    server, reason = _server(gate, verdict, census, probe)
    if probe == "ready" and runner and not good and server is not Status.FAIL:
        elsewhere = _failing_elsewhere(runner)
        if elsewhere:
            server, reason = Status.FAIL, elsewhere
    results = tuple(runner.results(probe)) if runner else ()
    status = worst([server, aggregate(probe, results)]) if good else Status.FAIL
    workers = census.markers if census else ()
    steps = tuple(_describe(p) for p in gate.setup.steps) if gate.setup else ()
    return Report(
        probe=probe,
        # The code is the verdict's: what has changed since then shows in the next answer.
        status=Status.WARN if good and status is Status.FAIL else status,
        server=server,
        reason=reason,
        gate=gate.state,
        state=gate.presence.directory.path if gate.presence else "local",
        expected=census.expected if census else 1,
        results=results,
        workers=workers,
        movements=_movements(gate, census),
        steps=steps,
        setups=setups(gate, workers, steps),
        notes=tuple(_notes(gate, runner, fleet)),
        fleet=fleet,
        read_traffic=functools.partial(_traffic, gate),
    )


def _traffic(gate: Gate) -> Traffic | None:
    from .tally import tell  # Here: most reports are of a word.

    return tell(gate.presence.directory if gate.presence else None, gate.record)


def _notes(gate: Gate, runner: Runner | None, fleet: FleetReport | None) -> cabc.Iterator[str]:
    """What is wrong with our own means."""
    yield from gate.notes
    if gate.record.problem:
        yield gate.record.problem
    if runner and runner.problem:
        yield runner.problem
    if fleet and fleet.problem:
        alone = "; fleet checks run for this server alone" if fleet.alone else ""
        yield f"the fleet store cannot be asked: {fleet.problem}{alone}"


def _server(gate: Gate, verdict: Verdict, census: Census | None, probe: str) -> tuple[Status, str]:
    """What the server is, checks aside, and why."""
    least = gate.options.min_workers
    stalled = verdict.stalled() if probe != "startup" else ""
    if stalled:
        return Status.FAIL, stalled
    if census is not None and probe in ("ready", "health"):
        if not verdict.accepts():
            return Status.FAIL, _local_reason(gate)
        missing = gate.misses_one
        status = judge.status(census, least, missing)
        if status is Status.PASS:
            return status, ""
        ordered = orders.reason(gate) if census.draining or census.paused else ""
        return status, ordered or judge.reason(census, least, missing)
    good = verdict.serves(probe)
    if good:
        return Status.PASS, ""
    return Status.FAIL, judge.reason(census, least) if census else _local_reason(gate)


def _movements(gate: Gate, census: Census | None) -> Moves:
    """How busy each worker is, and for how long it has been stalled."""
    presence, server = gate.presence, gate.server
    if presence is None or census is None:
        return {}
    limit = patience(gate.options.stall_after, server.timeout, server.idle_beat)
    return of_server(presence.directory, census, limit)


def _failing_elsewhere(runner: Runner) -> str:
    """What readiness fails for, although it is not among its checks; empty when nothing is."""
    parts = ("live",) if runner.started else ("live", "startup")
    failing = [
        f"{part} check '{result.name}' fails: {result.output}"
        for part in parts
        for result in runner.results(part)
        if "ready" not in result.check.probes and result.counts_as is Status.FAIL
    ]
    return "; ".join(failing)


def _describe(progress: Progress) -> StepReport:
    return StepReport(
        name=progress.step.name,
        scope=progress.step.scope,
        state=progress.state,
        fraction=progress.fraction,
        note=progress.note,
        error=mask(str(progress.error or "")),
    )


def _local_reason(gate: Gate) -> str:
    if gate.orphaned:
        return "the server's master process is gone"
    unfinished = gate.setup.unfinished if gate.setup else None
    if unfinished is None:
        return orders.reason(gate) or "setup has not started"
    name = unfinished.step.name
    if unfinished.error:
        return f"setup step '{name}' failed: {mask(str(unfinished.error))}"
    waits = unfinished.state == "waiting" and unfinished.note
    return f"setup step '{name}' not finished" + (f": {mask(unfinished.note)}" if waits else "")
