"""The course of traffic: counters over time, cut into slices of the same length."""

from __future__ import annotations

import collections.abc as cabc
import math
import typing as t

from .traffic import Series, quantile, total

STEP = 5.0
"""Seconds of a slice: workers remember their counters that often."""

SLICES = 60


class Slice(t.NamedTuple):
    """The requests of some seconds, over all workers. Durations in seconds; None without a request
    that ended.

    :ivar rate: requests that began, per second.
    :ivar errors: those of them that failed, per second.
    """

    rate: float
    errors: float
    p50: float | None
    p99: float | None


def course(
    series: cabc.Sequence[Series], now: float, bounds: cabc.Sequence[float]
) -> list[Slice | None]:
    """The last slices that are over, oldest first; None before the first count.

    They begin and end at the same moments whenever it is asked.

    :param series: of every process, or group of them, of one server.
    :param now: on the monotonic clock.
    :param bounds: the upper bounds of the buckets but the last, in seconds.
    """
    began = min((s.points[0][0] for s in series), default=math.inf)
    last = math.floor(now / STEP)
    times = [STEP * number for number in range(last - SLICES, last + 1)]
    counts = [total(s.at(time) for s in series) for time in times] if series else []
    return [
        _slice([b - a for a, b in zip(counts[n], counts[n + 1], strict=True)], bounds)
        if times[n + 1] > began
        else None
        for n in range(SLICES)
    ]


def _slice(grown: list[float], bounds: cabc.Sequence[float]) -> Slice:
    # Where counters were read one after the other a difference may be a little less than nothing.
    requests, errors, _, *buckets = [max(0.0, number) for number in grown]
    p50, p99 = (quantile(share, buckets, bounds) for share in (0.5, 0.99))
    return Slice(requests / STEP, errors / STEP, p50, p99)
