"""The status page of one server: what a person sees of a report."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..model.server import Marker, WorkerState
from ..model.status import SEVERITY, Status
from . import figures, plot

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..model.check import Result
    from ..model.report import Report, StepReport
    from ..workers.board import Transition
    from ..workers.overview import Overview
    from ..workers.trail import Run
    from .about import About
    from .pages import Answer, Pages

EVERY, EVERY_WHILE_STARTING = 2.0, 1.0
"""Seconds between two questions of the script."""

MOST_NAMES = 200
"""Checks that are named without being shown in full."""

MOST_REASONS = 3
MOST_CHANGES = 15

TONES = {
    WorkerState.STARTING: ("wait", "wait"),
    WorkerState.READY: ("pass", "pass"),
    WorkerState.LEAVING: ("wait", "leave"),
    WorkerState.FAILED: ("fail", "fail"),
    WorkerState.STOPPING: ("wait", "leave"),
}
"""The colour and the shape of a worker."""

STEPS = {
    "done": "pass",
    "failed": "fail",
    "pending": "wait",
    "running": "wait",
    "waiting": "wait",
}
WORDS = {Status.PASS: "Ready", Status.WARN: "Ready, with warnings", Status.FAIL: "Not ready"}

ORDERS = {"draining": "leave", "paused": "pause"}
"""The shapes of what is red on purpose."""

Row = dict[str, t.Any]


class StatusPage:
    """Answers at `/health/ui`."""

    def __init__(self, pages: Pages, overview: cabc.Callable[[], Overview], about: About) -> None:
        self._pages = pages
        self._overview = overview
        self._about = about

    def __call__(self, environ: WSGIEnvironment) -> Answer:
        """The page, to those who may see it."""
        return self._pages.answer(environ, "status.html", self._overview, self._context)

    def _context(self, seen: Overview, most: int) -> Row:
        report = seen.report
        info = self._about.info(report)
        members = self._about()
        shown = verdict(report, seen.ordered)
        service = str(members["serviceId"])
        return {
            **shown,
            "title": f"{shown['word']} · {service}",
            "as_of": seen.time,
            "every": EVERY if report.gate == "open" else EVERY_WHILE_STARTING,
            "service": service,
            "version": members.get("releaseId"),
            "facts": _facts(seen, info),
            "notes": report.notes,
            "gate": _gate(report),
            "checks": _checks(report.results, seen.runs, most),
            "plots": [],
            "traffic": "",
            "workers": _workers(report, info, most),
            "changes": [_change(row) for row in reversed(seen.transitions[-MOST_CHANGES:])],
            "about": _about(report, info),
            "links": _links(members),
        }


def verdict(report: Report, ordered: str = "") -> Row:
    """What everything comes to: a tone, a shape, a word, and the reasons.

    :param ordered: why readiness is red on purpose; empty when it is not.
    """
    if ordered and report.status is Status.FAIL:
        order, _, why = ordered.partition(": ")
        reasons = [f"Not ready on purpose: {why}" if why else "Not ready on purpose."]
        return {"tone": "warn", "shape": ORDERS[order], "word": order.title(), "reasons": reasons}
    tone, word = str(report.status), WORDS[report.status]
    if report.status is Status.FAIL and report.gate in ("pending", "running"):
        tone, word = "wait", "Starting"
    reasons = [report.reason] if report.reason else []
    if report.status is not Status.PASS and tone != "wait":
        bad = sorted(
            (r for r in report.results if r.counts_as is not Status.PASS),
            key=lambda result: SEVERITY.index(result.counts_as),
        )
        reasons += [f"{r.name}: {r.output}" for r in bad[:MOST_REASONS]]
        if len(bad) > MOST_REASONS:
            reasons.append(f"and {len(bad) - MOST_REASONS} more checks, see below")
    return {"tone": tone, "shape": tone, "word": word, "reasons": reasons}


def _facts(seen: Overview, info: cabc.Mapping[str, t.Any]) -> list[Row]:
    """The other probes, and since when the server runs."""
    bad = "fail" if seen.report.gate in ("open", "failed") else "wait"
    found = [
        {"name": probe, "value": "ok" if good else "not ready", "tone": "pass" if good else bad}
        for probe, good in seen.probes.items()
    ]
    if "uptime" in info:
        found.append({"name": "up", "value": figures.duration(info["uptime"]), "tone": ""})
    return found


def _gate(report: Report) -> Row:
    told = {
        "open": "The gate is open: setup has finished in every worker.",
        "running": "The gate opens when setup has finished in every worker.",
        "failed": "The gate is closed: setup failed.",
        "pending": "Setup has not begun.",
    }
    return {
        "open": report.gate == "open",
        "told": told[report.gate],
        "steps": [_step(step) for step in report.steps],
    }


def _step(step: StepReport) -> Row:
    return {
        "name": step.name,
        "state": step.state,
        "tone": STEPS[step.state],
        "where": "once per server" if step.scope == "server" else "in every worker",
        "bar": step.state == "running",
        "percent": None if step.fraction is None else round(100 * step.fraction),
        "note": step.error or step.note,
    }


def _checks(
    results: cabc.Sequence[Result], runs: cabc.Mapping[str, cabc.Sequence[Run]], most: int
) -> Row:
    """The checks, the worst first; told in one line how many are how.

    :param most: how many are shown in full; of the others only the status is.
    """
    worst_first = sorted(results, key=lambda result: SEVERITY.index(result.status))
    rows = [_check(result, runs.get(result.name, ())) for result in worst_first[:most]]
    others: dict[tuple[str, str, str], list[str]] = {}
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
        "told": told or "No checks are registered.",
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
    longest = max(duration for duration, _ in runs) or 1.0
    heights = {
        status: [duration / longest if came_to is status else None for duration, came_to in runs]
        for status in (Status.PASS, Status.WARN)
    }
    failed = [1.0 if came_to is Status.FAIL else None for _, came_to in runs]
    bad = sum(height is not None for height in failed)
    told = f"last {len(runs)} runs, the longest took {figures.duration(longest)}"
    return {
        "good": plot.bars(heights[Status.PASS], 30),
        "slow": plot.bars(heights[Status.WARN], 30),
        "bad": plot.bars(failed, 30),
        "told": f"{told}, {bad} failed" if bad else told,
    }


def _workers(report: Report, info: cabc.Mapping[str, t.Any], most: int) -> Row:
    """The workers as tiles; of more than can be shown in full only the process ids, by state."""
    markers = report.workers
    alive = {row["pid"]: row for row in info["workers"]["alive"]}
    if markers:
        tiles = [_worker(marker, alive[marker.pid]) for marker in markers]
        told = f"{_counted([str(m.state) for m in markers])}; {report.expected} expected"
    else:
        tiles = [_alone(report, pid, row) for pid, row in alive.items()]
        told = "This process is the server."
    others: dict[tuple[str, str, str], list[str]] = {}
    if len(tiles) > max(most, 1):
        for tile in tiles:
            key = tile["state"], tile["tone"], tile["shape"]
            others.setdefault(key, []).append(str(tile["pid"]))
        tiles = []
    return {"tiles": tiles, "told": told, "others": others}


def _worker(marker: Marker, vitals: cabc.Mapping[str, t.Any]) -> Row:
    tone, shape = TONES[marker.state]
    facts = [
        ("pid", marker.pid),
        ("up", figures.duration(vitals.get("uptime"))),
        ("memory", figures.size(vitals.get("memory"))),
    ]
    return {
        "pid": marker.pid,
        "age": marker.age,
        "state": str(marker.state),
        "tone": tone,
        "shape": shape,
        "facts": facts,
        "step": None,
    }


def _alone(report: Report, pid: int, vitals: cabc.Mapping[str, t.Any]) -> Row:
    """The tile of a server of one, which has no marker."""
    state = {
        "open": WorkerState.READY,
        "failed": WorkerState.FAILED,
    }.get(report.gate, WorkerState.STARTING)
    return _worker(Marker(0, pid, 0, 1, state), vitals)


def _change(transition: Transition) -> Row:
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


def _about(report: Report, info: cabc.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    names = {"commit": "commit", "python": "Python", "flask": "Flask", "gunicorn": "gunicorn"}
    found = [(name, str(info[key])[:40]) for key, name in names.items() if key in info]
    return [*found, ("state in", report.state)] if report.state != "local" else found


def _links(members: cabc.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """`HEALTH_LINKS`; an address that is not of the web is shown without leading there."""
    return [
        (name, address if address.startswith(("https://", "http://", "/")) else "")
        for name, address in members.get("links", {}).items()
    ]


def _counted(words: cabc.Sequence[str]) -> str:
    """How many of each, as `3 pass, 1 fail`, in the order in which they come."""
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
