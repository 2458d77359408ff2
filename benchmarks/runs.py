"""Figure 10: how often the workers of a server run a check, all together."""

from __future__ import annotations

import time
from collections import Counter

from .dependency import Call, Dependency
from .measure import OURS, Line, at_least, at_most
from .servers import gunicorn, wait_for

WORKERS = 4
CHECKS = 10
LEAST, MOST = 6, 7
"""How often a check may run in six intervals: its interval is cut by up to a tenth at random."""


def measure(quick: bool = False) -> list[Line]:
    """Runs in six intervals, counted where they arrive."""
    interval = 2.0 if quick else 10.0
    counts = count(interval, 6 * interval)
    total = sum(counts.values())
    note = f"{total} in all, {WORKERS * 6 * CHECKS} if each of {WORKERS} workers ran them"
    what = f"of {CHECKS} checks in {6 * interval:.0f} s, interval {interval:.0f} s"
    return [
        at_least("runs", f"fewest, {what}", min(counts.values(), default=0), "", LEAST, note),
        at_most("runs", f"most, {what}", max(counts.values(), default=0), "", MOST),
        at_least("runs", "checks that ran at all", len(counts), "", CHECKS),
    ]


def count(interval: float, seconds: float) -> Counter[str]:
    """How often each check was run, from the first run of any on."""
    with Dependency() as dependency:
        target = f"dependent:asking({OURS!r}, {dependency.port}, {CHECKS}, interval={interval})"
        with gunicorn(target, workers=WORKERS) as server:
            wait_for(server, "/health")
            time.sleep(max(0.0, dependency.calls[0].moment + seconds - time.monotonic()))
        return within(dependency.calls, seconds)


def within(calls: list[Call], seconds: float) -> Counter[str]:
    """Calls by name, in the time that begins with the first of them."""
    begin = min((call.moment for call in calls), default=0.0)
    return Counter(call.name for call in calls if call.moment < begin + seconds)
