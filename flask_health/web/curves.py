"""Traffic on the status page: two plots of the last minutes, and what a minute comes to."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from . import figures, plot
from .plot import Curve, Plot

if t.TYPE_CHECKING:
    from ..model.course import Slice
    from ..model.traffic import Traffic

SINCE = "5 min ago"


def plots(traffic: Traffic, course: cabc.Sequence[Slice | None]) -> list[tuple[str, Plot]]:
    """The plots, each with its name."""
    return [("Requests", requests(traffic, course)), ("Latency", latency(traffic, course))]


def told(traffic: Traffic) -> str:
    """What a minute comes to, in one line."""
    minute = traffic.windows["1m"]
    parts = [
        f"{figures.rate(minute.rate)} in the last minute",
        f"{figures.share(minute.errors)} failed",
        f"{traffic.in_flight} in flight",
        f"{figures.whole(traffic.requests)} since the server started",
    ]
    return "; ".join(parts)


def requests(traffic: Traffic, course: cabc.Sequence[Slice | None]) -> Plot:
    """Requests per second, and those that failed where any did."""
    rates = [each and each.rate for each in course]
    errors = [each and each.errors for each in course]
    top = plot.ceiling([rates])
    curves = [
        Curve("", "area", plot.area(rates, top)),
        Curve("all", "line", plot.line(rates, top)),
    ]
    if any(errors):
        curves.append(Curve("failed", "bad", plot.line(_where_any(errors), top)))
    now = figures.rate(traffic.windows["1m"].rate)
    highest = figures.rate(max((rate or 0.0 for rate in rates), default=0.0))
    return Plot(curves, now, figures.rate(top), SINCE, _told(now, f"highest {highest}"))


def latency(traffic: Traffic, course: cabc.Sequence[Slice | None]) -> Plot:
    """How long the faster half took at most, and how long all but the slowest hundredth."""
    half = [each and each.p50 for each in course]
    most = [each and each.p99 for each in course]
    top = plot.ceiling([half, most])
    curves = [
        Curve("p50", "line", plot.line(half, top)),
        Curve("p99", "upper", plot.line(most, top)),
    ]
    minute = traffic.windows["1m"]
    now = "no requests"
    if minute.p50 is not None:
        now = f"p50 {figures.duration(minute.p50)}, p99 {figures.duration(minute.p99)}"
    highest = figures.duration(max((value or 0.0 for value in most), default=0.0))
    return Plot(curves, now, figures.duration(top), SINCE, _told(now, f"highest p99 {highest}"))


def _where_any(values: cabc.Sequence[float | None]) -> list[float | None]:
    """Values without the zeros that have none but zeros beside them."""
    around = [None, *values, None]
    return [v if v or around[n] or around[n + 2] else None for n, v in enumerate(values)]


def _told(now: str, highest: str) -> str:
    return f"last minute {now}, {highest} in the last 5 minutes"
