"""Gathering the report behind an answer. Slower than the verdict, and never in the plain path."""

from __future__ import annotations

from ..model import judge
from ..model.report import Report, StepReport
from ..model.status import Status
from .gate import Gate
from .steps import Progress


def survey(gate: Gate, probe: str, good: bool) -> Report:
    """The report of a probe whose verdict is known."""
    census = gate.census
    steps = gate.setup.steps if gate.setup else []
    status = Status.PASS if good else Status.FAIL
    reason = "" if good else _local_reason(gate)
    if census is not None and probe in ("ready", "health"):
        if good:
            status = judge.status(census, gate.options.min_workers, gate.misses_one)
        reason = judge.reason(census, gate.options.min_workers, gate.misses_one) or reason
    elif census is not None and not good:
        reason = judge.reason(census, gate.options.min_workers)
    return Report(
        probe=probe,
        status=status,
        reason=reason,
        gate=gate.state,
        state=gate.presence.directory.path if gate.presence else "local",
        expected=census.expected if census else 1,
        workers=census.markers if census else (),
        steps=tuple(_describe(progress) for progress in steps),
        notes=tuple(gate.problems),
    )


def _describe(progress: Progress) -> StepReport:
    return StepReport(
        name=progress.step.name,
        scope=progress.step.scope,
        state=progress.state,
        fraction=progress.fraction,
        note=progress.note,
        error=str(progress.error or ""),
    )


def _local_reason(gate: Gate) -> str:
    if gate.orphaned:
        return "the server's master process is gone"
    unfinished = gate.setup.unfinished if gate.setup else None
    if unfinished is None:
        return "setup has not started"
    if unfinished.error:
        return f"setup step '{unfinished.step.name}' failed: {unfinished.error}"
    return f"setup step '{unfinished.step.name}' not finished"
