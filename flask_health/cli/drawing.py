"""A picture of a server as lines of text. Pure."""

from __future__ import annotations

import time
import typing as t

from ..model.server import SERVING

if t.TYPE_CHECKING:
    import collections.abc as cabc

    from .picture import Members
    from .terminal import Terminal

BAR = 20
WORDS = {"pass": "ok", "warn": "ok", "fail": "not ready"}


def report(shown: Members, terminal: Terminal) -> list[str]:
    """Everything, the most important first."""
    lines = [*_verdict(shown, terminal), *_server(shown), ""]
    lines += table(("WORKER", "STATE", "UP", "IN FLIGHT", "MEMORY"), _worker_rows(shown), terminal)
    lines += [line for worker in shown["workers"] for line in steps(worker, terminal)]
    if shown["checks"]:
        rows = _check_rows(shown["checks"])
        lines += ["", *table(("CHECK", "STATUS", "AGE", "TOOK", ""), rows, terminal)]
    if shown["transitions"]:
        rows = _change_rows(shown["transitions"])
        lines += ["", *table(("CHANGE", "STATUS", "AGO", ""), rows, terminal)]
    if shown["traffic"]:
        titles = ("TRAFFIC", "REQUESTS", "RATE", "ERRORS", "P50", "P99")
        lines += ["", *table(titles, _traffic_rows(shown["traffic"]), terminal)]
    return lines


def workers(found: cabc.Iterable[Members], terminal: Terminal) -> list[str]:
    """Each worker, and how far it has come."""
    lines = []
    for worker in found:
        lines.append(f"worker {worker['pid']:<8} {terminal.paint(worker['state'])}")
        lines += steps(worker, terminal)
    return lines


def steps(worker: Members, terminal: Terminal) -> list[str]:
    """The steps of a worker that starts, those that are over without their details."""
    return [_step(step, terminal) for step in worker.get("steps") or ()]


def bar(fraction: float) -> str:
    """How far something has come, from 0 to 1."""
    filled = int(max(0.0, min(1.0, fraction)) * BAR)
    return f"[{'#' * filled}{'-' * (BAR - filled)}] {fraction:4.0%}"


def span(seconds: float | None) -> str:
    """A duration for people; empty when it is not known."""
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    if seconds >= 1:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms"


def _step(step: Members, terminal: Terminal) -> str:
    parts = [f"  {step['name']:16}", terminal.paint(step["state"], 8)]
    if step.get("fraction") is not None and step["state"] == "running":
        parts.append(bar(step["fraction"]))
    parts += [span(step.get("elapsed")), step.get("note") or "", step.get("error") or ""]
    return " ".join(part for part in parts if part).rstrip()


def _verdict(shown: Members, terminal: Terminal) -> list[str]:
    word = WORDS[shown["status"]]
    ready = sum(worker["state"] in SERVING for worker in shown["workers"])
    why = shown["output"] or f"{ready} of {shown['expected']} workers serve"
    warning = " (warn)" if shown["status"] == "warn" else ""
    return [f"{terminal.paint(word)}{warning}: {why}"]


def _server(shown: Members) -> list[str]:
    name = " ".join(filter(None, [shown["app"] or "?", shown["version"]]))
    where = ", ".join(shown["listen"])
    up = span(shown["uptime"])
    parts = [name, f"{shown['server'] or 'master'} {shown['master']}", up and f"up {up}", where]
    probes = [f"{name} {'passes' if good else 'fails'}" for name, good in shown["probes"].items()]
    orders = ["draining"] * shown["draining"] + ["paused"] * (shown["paused"] is not None)
    return [
        ", ".join(filter(None, parts)),
        ", ".join([f"gate {shown['gate']}", *probes, *orders]),
        f"state {shown['state']}",
    ]


def _worker_rows(shown: Members) -> list[list[str]]:
    return [
        [
            str(worker["pid"]),
            worker["state"],
            span(worker["uptime"]),
            "" if worker["in_flight"] is None else str(worker["in_flight"]),
            f"{worker['memory'] / 2**20:.0f} MiB" if "memory" in worker else "",
        ]
        for worker in shown["workers"]
    ]


def _check_rows(checks: list[Members]) -> list[list[str]]:
    # What fails comes first: the rest may be cut off.
    order = ("fail", "warn", "pass")
    return [
        [
            check["name"],
            check["status"],
            span(check["age"]),
            span(check["duration"]),
            check["output"]
            + ("" if check["critical"] or not check["output"] else " (not critical)"),
        ]
        for check in sorted(checks, key=lambda check: order.index(check["status"]))
    ]


def _change_rows(changes: list[Members]) -> list[list[str]]:
    now = time.time()
    return [[c["check"], c["new"], span(max(0.0, now - c["time"])), c["output"]] for c in changes]


def _traffic_rows(traffic: Members) -> list[list[str]]:
    return [
        [
            name,
            str(window["requests"]),
            f"{window['rate']:.1f}/s",
            f"{window['errors']:.1%}",
            span(window["p50"]),
            span(window["p99"]),
        ]
        for name, window in traffic.items()
        if isinstance(window, dict)
    ]


def table(head: tuple[str, ...], rows: list[list[str]], terminal: Terminal) -> list[str]:
    """Rows in columns; the second one has a colour."""
    widths = [max(len(row[n]) for row in [list(head), *rows]) for n in range(len(head))]
    lines = [
        "  ".join(f"{title:{width}}" for title, width in zip(head, widths, strict=True)).rstrip()
    ]
    for row in rows:
        cells = [
            terminal.paint(cell, width) if n == 1 else f"{cell:{width}}"
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
