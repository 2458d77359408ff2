"""Setup on the status page: how far each step is in all workers, and what each worker is at."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..model.report import Report, StepReport

TONES = {
    "done": "pass",
    "failed": "fail",
    "pending": "wait",
    "running": "wait",
    "waiting": "wait",
}
TOLD = {
    "open": "The gate is open: setup has finished in every worker.",
    "running": "The gate opens when setup has finished in every worker.",
    "failed": "The gate is closed: setup failed.",
    "pending": "Setup has not begun.",
}
MOST_TELLING = ("failed", "running", "done", "waiting", "pending")
"""What a step that one worker runs for all is said to be, the first of these that it is in any."""

Row = dict[str, t.Any]
Setups = cabc.Mapping[int, cabc.Sequence[StepReport]]
"""The steps of each worker whose setup has not finished, by process id."""


def gate(report: Report, setups: Setups) -> Row:
    """The gate and the steps before it, each as it is in all workers together."""
    workers = [_steps_of(report, setups, marker.pid) for marker in report.workers]
    workers = workers or [{step.name: step for step in report.steps}]
    return {
        "open": report.gate == "open",
        "told": TOLD[report.gate],
        "steps": [
            _stage(step, [found[step.name] for found in workers], max(report.expected, 1))
            for step in report.steps
        ],
    }


def current(steps: cabc.Sequence[StepReport]) -> Row | None:
    """What a worker is at; None when it is done."""
    for step in steps:
        if step.state != "done":
            return {
                "name": step.name,
                "bar": step.state == "running",
                "percent": percent(step.fraction),
                "note": {"waiting": "waits for", "failed": "failed in"}.get(step.state, ""),
            }
    return None


def percent(fraction: float | None) -> int | None:
    """A share of 1 in whole percent; it says 100 only at the end."""
    return None if fraction is None else int(100 * fraction)


def _steps_of(report: Report, setups: Setups, pid: int) -> dict[str, StepReport]:
    """The steps of a worker by name; one that tells of none is done with them, or has not begun."""
    told = {step.name: step for step in setups.get(pid, ())}
    done = any(marker.pid == pid and marker.state.serves for marker in report.workers)
    state = "done" if done else "pending"
    return {
        step.name: told.get(step.name) or StepReport(step.name, step.scope, state)
        for step in report.steps
    }


def _stage(step: StepReport, found: list[StepReport], expected: int) -> Row:
    """One step, as it is in those workers.

    :param expected: the number of workers that there should be.
    """
    once = step.scope != "worker"
    states = [each.state for each in found]
    done = states.count("done")
    state = next(word for word in MOST_TELLING if word in states)
    if not once and state == "done" and done < expected:
        state = "running"
    at_it = [each for each in found if each.state == "running"]
    slowest = min(at_it, key=lambda each: each.fraction or 0.0, default=step)
    fraction = slowest.fraction
    if not once and expected > 1:
        fraction = sum(1.0 if e.state == "done" else e.fraction or 0.0 for e in found) / expected
    where = f"once per {step.scope}" if once else "in every worker"
    if not once and expected > 1 and state != "done":
        where = f"done in {done} of {expected} workers"
    failed = next((each.error for each in found if each.error), "")
    return {
        "name": step.name,
        "state": state,
        "tone": TONES[state],
        "where": where,
        "bar": state == "running",
        "percent": percent(fraction),
        "note": failed or slowest.note,
    }
