"""Traffic: how many requests, how many of them fail, and how long they take. Pure arithmetic over
counters that only grow.

Counters are `(requests, errors, seconds, *buckets)`: requests that began, those that failed,
the time spent in those that ended, and how many of these fell into each bucket: took at most its
bound, and longer than the one before it.
"""

from __future__ import annotations

import bisect
import collections.abc as cabc
import dataclasses
import itertools
import math
import typing as t

WINDOWS: dict[str, float | None] = {"1m": 60.0, "5m": 300.0, "boot": None}
"""How far back, in seconds; None: to the start of the server."""

Counts = tuple[float, ...]


class Series(t.NamedTuple):
    """Counters over time, as a process or a group of them remembers.

    :ivar points: seconds on the monotonic clock, each with the counters then; oldest first.
    """

    points: tuple[tuple[float, Counts], ...]

    @property
    def last(self) -> Counts:
        """The counters as they are."""
        return self.points[-1][1]

    def at(self, time: float) -> Counts:
        """The counters at some time; between two points they grew evenly."""
        after = bisect.bisect_right(self.points, time, key=lambda point: point[0])
        if not after:
            return self.points[0][1]
        if after == len(self.points):
            return self.last
        (begin, low), (end, high) = self.points[after - 1 : after + 1]
        share = (time - begin) / (end - begin)
        return tuple(a + share * (b - a) for a, b in zip(low, high, strict=True))


@dataclasses.dataclass(frozen=True)
class Window:
    """The requests of some time. Durations are in seconds; None without a request that ended.

    :ivar seconds: how long it is: less than its name says while the server is younger.
    :ivar requests: how many began.
    :ivar rate: requests per second.
    :ivar errors: the share of them that failed, from 0 to 1: an answer of 5xx, or an exception.
    """

    seconds: float
    requests: int
    rate: float
    errors: float
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None


@dataclasses.dataclass(frozen=True)
class Traffic:
    """The requests of a server, over all its workers, living and dead.

    :ivar in_flight: requests that have begun and not ended.
    :ivar windows: by how far they reach back: `1m`, `5m`, `boot`.
    :ivar requests: requests since the server's start.
    :ivar errors: those of them that failed.
    :ivar spent: seconds spent in those that ended.
    :ivar histogram: upper bounds in seconds, the last of them infinite, each with the number of
        requests that took at most as long.
    """

    in_flight: int
    windows: cabc.Mapping[str, Window]
    requests: int
    errors: int
    spent: float
    histogram: tuple[tuple[float, int], ...]


def measure(
    series: cabc.Sequence[Series], in_flight: int, now: float, bounds: cabc.Sequence[float]
) -> Traffic:
    """The traffic that counters tell.

    :param series: of every process, or group of them, of one server.
    :param now: seconds on the monotonic clock.
    :param bounds: the upper bounds of the buckets but the last, in seconds.
    """
    series = series or [Series(((now, (0.0,) * (len(bounds) + 4)),))]
    began = min(s.points[0][0] for s in series)
    counts = total(s.last for s in series)
    windows = {}
    for name, seconds in WINDOWS.items():
        since = began if seconds is None else max(began, now - seconds)
        before = total(s.at(since) for s in series)
        grown = [max(0.0, a - b) for a, b in zip(counts, before, strict=True)]
        windows[name] = _window(grown, now - since, bounds)
    cumulative = itertools.accumulate(map(round, counts[3:]))
    return Traffic(
        in_flight,
        windows,
        requests=round(counts[0]),
        errors=round(counts[1]),
        spent=counts[2],
        histogram=tuple(zip((*bounds, math.inf), cumulative, strict=True)),
    )


def total(counts: cabc.Iterable[cabc.Sequence[float]]) -> list[float]:
    """Counters added up."""
    return [math.fsum(column) for column in zip(*counts, strict=True)]


def quantile(
    share: float, buckets: cabc.Sequence[float], bounds: cabc.Sequence[float]
) -> float | None:
    """How long the fastest of some share took at most, in seconds; None when there are none.

    Within a bucket they are thought to be spread evenly; the last one has no end, so that what is
    in it counts as its start.
    """
    wanted = share * sum(buckets)
    if not wanted:
        return None
    low = 0.0
    for high, number in zip(bounds, buckets, strict=False):
        if number and wanted <= number:
            return low + (high - low) * wanted / number
        wanted -= number
        low = high
    return low


def _window(grown: list[float], seconds: float, bounds: cabc.Sequence[float]) -> Window:
    requests, errors, spent, *buckets = grown
    ended = sum(buckets)
    return Window(
        seconds=seconds,
        requests=round(requests),
        rate=requests / seconds if seconds else 0.0,
        errors=min(1.0, errors / requests) if requests else 0.0,
        mean=spent / ended if ended else None,
        p50=quantile(0.5, buckets, bounds),
        p90=quantile(0.9, buckets, bounds),
        p99=quantile(0.99, buckets, bounds),
    )
