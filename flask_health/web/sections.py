"""The lists of the status page: checks, workers, changes. What a template needs of each."""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t

from ..model.server import Marker, WorkerState
from ..model.status import SEVERITY, Status
from . import figures, plot, stages

if t.TYPE_CHECKING:
    from ..model.check import Result
    from ..model.report import Report
    from ..workers.board import Transition
    from ..workers.overview import Overview
    from ..workers.trail import Run

MOST_NAMES = 200
"""Checks that are named without being shown in full."""

KEPT_RUNS = 30
"""Strokes that there is room for."""

TONES = {
    WorkerState.STARTING: ("wait", "wait"),
    WorkerState.READY: ("pass", "pass"),
    WorkerState.LEAVING: ("wait", "leave"),
    WorkerState.DRAINING: ("wait", "leave"),
    WorkerState.FAILED: ("fail", "fail"),
    WorkerState.STOPPING: ("wait", "leave"),
}
"""The colour and the shape of a worker."""

Row = dict[str, t.Any]
Groups = dict[tuple[str, str, str], list[str]]
"""Names by state, tone and shape."""


def checks(
    results: cabc.Sequence[Result], runs: cabc.Mapping[str, cabc.Sequence[Run]], most: int
) -> Row:
    """The checks, the worst first; told in one line how many are how.

    :param most: how many are shown in full; of the others only the status is.
    """
    worst_first = sorted(results, key=lambda result: SEVERITY.index(result.status))
    rows = [_check(result, runs.get(result.name, ())) for result in worst_first[:most]]
    others: Groups = {}
    for result in worst_first[most : most + MOST_NAMES]:
        status, tone = _how(result)
        others.setdefault((status, tone, tone), []).append(result.name)
    rest = len(results) - most - MOST_NAMES
    told = _counted([_how(r)[0] for r in worst_first]) or "No checks are registered."
    more = f"and {rest} more" if rest > 0 else ""
    return {
        "rows": rows,
        "others": others,
        "more": more,
        "told": told,
    }


def _check(result: Result, runs: cabc.Sequence[Run]) -> Row:
    check = result.check
    notes = []
    if result.observed_value is not None:
        notes.append(f"{result.observed_value} {result.observed_unit or ''}".strip())
    if check.probes != ("ready",):
        notes.append("for " + ", ".join(check.probes))
    if not check.critical:
        notes.append("not critical")
    if check.scope == "worker":
        notes.append("each worker for itself")
    if check.scope == "fleet":
        notes.append("one server for the fleet")
    status, tone = _how(result)
    return {
        "name": result.name,
        "note": "; ".join(notes),
        "status": status,
        "tone": tone,
        "output": "" if result.time is None or result.status is Status.PASS else result.output,
        "duration": result.duration,
        "time": result.time,
        "since": result.since,
        "runs": _runs(runs),
    }


def _how(result: Result) -> tuple[str, str]:
    """The status of a check in words, and the tone of it."""
    if result.time is None:
        return result.output, "wait"
    return str(result.status), str(result.status)


def _runs(runs: cabc.Sequence[Run]) -> Row | None:
    """The last runs as a row of strokes, as long as each took; failures have full length."""
    if not runs:
        return None
    longest = max(duration for duration, _ in runs)
    # One that hung for seconds must not make all others look alike.
    top = max((took for took, came_to in runs if came_to is not Status.FAIL), default=0.0) or 1.0
    heights = {
        status: [duration / top if came_to is status else None for duration, came_to in runs]
        for status in (Status.PASS, Status.WARN)
    }
    failed = [1.0 if came_to is Status.FAIL else None for _, came_to in runs]
    bad = sum(height is not None for height in failed)
    told = f"last {len(runs)} runs, the longest took {figures.duration(longest)}"
    return {
        "good": plot.bars(heights[Status.PASS], KEPT_RUNS),
        "slow": plot.bars(heights[Status.WARN], KEPT_RUNS),
        "bad": plot.bars(failed, KEPT_RUNS),
        "told": f"{told}, {bad} failed" if bad else told,
    }


def workers(seen: Overview, info: cabc.Mapping[str, t.Any], most: int) -> Row:
    """The workers as tiles; of more than can be shown in full only the process ids, by state."""
    report, markers = seen.report, seen.report.workers
    alive = {row["pid"]: row for row in info["workers"]["alive"]}
    if markers:
        tiles = [_worker(marker, alive[marker.pid], seen) for marker in markers]
        told = f"{_counted([str(m.state) for m in markers])}; {report.expected} expected"
    else:
        tiles = [_worker(_alone(report), row, seen) for row in alive.values()]
        told = "This process is the server."
    others: Groups = {}
    if len(tiles) > max(most, 1):
        for tile in tiles:
            key = tile["state"], tile["tone"], tile["shape"]
            others.setdefault(key, []).append(str(tile["pid"]))
        tiles = []
    return {"tiles": tiles, "told": told, "others": others}


def _worker(marker: Marker, vitals: cabc.Mapping[str, t.Any], seen: Overview) -> Row:
    tone, shape = TONES[marker.state]
    state = str(marker.state)
    _, stalled = seen.report.movements.get(marker.pid, (0, None))
    if stalled is not None:
        tone = shape = "fail"
        state = f"stalled for {figures.duration(stalled)}"
    facts: list[tuple[str, object]] = [("pid", marker.pid)]
    hand = seen.flow.hands.get(marker.pid)
    if hand:
        facts.append(("in flight", hand.in_flight))
    if hand and hand.beat is not None:
        facts.append(("last beat", figures.age(hand.beat)))
    facts += [
        ("up", figures.duration(vitals.get("uptime"))),
        ("memory", figures.size(vitals.get("memory"))),
    ]
    return {
        "pid": marker.pid,
        "age": marker.age,
        "state": state,
        "tone": tone,
        "shape": shape,
        "facts": facts,
        "step": stages.current(seen.setups.get(marker.pid, ())),
    }


def _alone(report: Report) -> Marker:
    """The marker that a server of one would have."""
    states = {"open": WorkerState.READY, "failed": WorkerState.FAILED}
    return Marker(0, os.getpid(), 0, 1, states.get(report.gate, WorkerState.STARTING))


def change(transition: Transition) -> Row:
    output = transition.output
    if transition.outage:
        again = f"works again after {figures.duration(transition.outage)}"
        output = f"{again}: {output}" if output else again
    elif transition.new is Status.PASS:
        output = "no longer warns"
    return {
        "time": transition.time,
        "check": transition.check,
        "old": str(transition.old),
        "new": str(transition.new),
        "tone": str(transition.new),
        "output": output,
    }


def _counted(words: cabc.Sequence[str]) -> str:
    """How many of each, as `3 pass, 1 fail`, in the order in which they come."""
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
