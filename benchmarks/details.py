"""Figure 11: what the JSON with every detail costs, against a Flask route of the same bytes."""

from __future__ import annotations

import statistics

from . import inside
from .apps.checked import NEW, TOLD
from .measure import OURS, Line, at_most, median_difference

LIMIT = 50.0


def measure(quick: bool = False) -> list[Line]:
    """Microseconds that an authorized request for JSON takes longer than the route."""
    with inside.checked(4) as running:
        samples = inside.samples(running, "details", 10 if quick else 300)
    route, ours, new = samples["flask route"], samples[OURS], samples[NEW]
    added = median_difference(ours, route) / 1000
    renewed = median_difference(new, route) / 1000
    note = f"{_median(ours):.0f} us, flask route {_median(route):.0f} us"
    return [
        at_most("details", f"{TOLD} checks, over a flask route", added, "us", LIMIT, note),
        Line("details", f"the same, {TOLD} new results each time", renewed, "us"),
    ]


def _median(nanoseconds: list[float]) -> float:
    """In microseconds."""
    return statistics.median(nanoseconds) / 1000
