"""What counters tell: windows, shares and percentiles, without a clock or a thread."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.model.traffic import Series, measure, quantile, total

BOUNDS = (0.1, 1.0)
"""Two bounds make three buckets."""


def counts(requests: int, errors: int = 0, *, fast: int = 0, slow: int = 0) -> tuple[float, ...]:
    """Counters of requests that took 0.05 s each, or 5 s."""
    return (requests, errors, fast * 0.05 + slow * 5.0, fast, 0, slow)


def steady(start: float, end: float, rate: int) -> Series:
    """The series of a worker that had this many fast requests per second, a point each 5 s."""
    times = [*range(int(start), int(end), 5), end]
    return Series(tuple((t, counts(n, fast=n)) for t in times for n in [int((t - start) * rate)]))


def test_nothing_counted() -> None:
    """Without a request there are no durations, and no share of nothing."""
    told = measure([Series(((100.0, counts(0)),))], 0, 160.0, BOUNDS)
    assert told.histogram == ((0.1, 0), (1.0, 0), (math.inf, 0))
    assert list(told.windows) == ["1m", "5m", "boot"]
    for window in told.windows.values():
        assert (window.requests, window.rate, window.errors) == (0, 0.0, 0.0)
        assert window.mean is window.p50 is window.p90 is window.p99 is None


def test_nobody_counts() -> None:
    """A server without any record has had no requests; it is no error."""
    told = measure([], 0, 160.0, BOUNDS)
    assert told.requests == told.windows["boot"].requests == 0


def test_windows_reach_back_as_far_as_they_say() -> None:
    """A steady load has the same rate in all of them, and requests by their length."""
    told = measure([steady(0, 1000, 10)], 3, 1000.0, BOUNDS)
    assert told.in_flight == 3
    for name, seconds in {"1m": 60, "5m": 300, "boot": 1000}.items():
        window = told.windows[name]
        assert (window.seconds, window.requests) == (seconds, 10 * seconds)
        assert window.rate == pytest.approx(10.0)
        assert window.mean == pytest.approx(0.05)


def test_a_young_server_has_short_windows() -> None:
    """Ten seconds after its start, requests are divided by ten seconds."""
    window = measure([steady(0, 10, 7)], 0, 10.0, BOUNDS).windows["5m"]
    assert (window.seconds, window.requests, window.rate) == (10.0, 70, 7.0)


def test_a_worker_that_came_later_counts_for_the_window_of_the_server() -> None:
    """The rate is the server's: a replacement of 10 s does not make the minute shorter."""
    series = [steady(0, 1000, 0), steady(990, 1000, 12)]
    window = measure(series, 0, 1000.0, BOUNDS).windows["1m"]
    assert (window.seconds, window.requests, window.rate) == (60.0, 120, 2.0)


def test_what_happened_before_a_window_is_not_in_it() -> None:
    """A burst two minutes ago is in the five minutes, not in the last one."""
    burst = Series(
        ((0.0, counts(0)), (500.0, counts(0)), (505.0, counts(50, 5)), (600.0, counts(50, 5)))
    )
    windows = measure([burst], 0, 625.0, BOUNDS).windows
    assert windows["1m"].requests == 0
    assert (windows["5m"].requests, windows["5m"].errors) == (50, 0.1)


def test_errors_are_a_share() -> None:
    """From 0 to 1, also when a request that began before the window failed in it."""
    series = Series(((0.0, counts(0)), (540.0, counts(10)), (600.0, counts(11, 4))))
    windows = measure([series], 0, 600.0, BOUNDS).windows
    assert windows["boot"].errors == pytest.approx(4 / 11)
    assert windows["1m"].errors == 1.0


def test_percentiles_come_from_buckets() -> None:
    """Half, nine of ten, ninety-nine of a hundred; the last bucket counts as its start."""
    series = Series(((0.0, counts(0)), (60.0, counts(100, fast=90, slow=10))))
    window = measure([series], 0, 60.0, BOUNDS).windows["boot"]
    assert window.p50 == pytest.approx(0.1 * 50 / 90)
    assert window.p90 == pytest.approx(0.1)
    assert window.p99 == 1.0


def test_the_histogram_is_cumulative() -> None:
    """As Prometheus wants it: each bound with all that took at most as long."""
    series = [Series(((0.0, (7, 1, 4.0, 1, 2, 3)),))] * 2
    told = measure(series, 1, 10.0, BOUNDS)
    assert told.histogram == ((0.1, 2), (1.0, 6), (math.inf, 12))
    assert (told.requests, told.errors, told.spent) == (14, 2, 8.0)


times = st.floats(0, 1000)
growth = st.lists(st.tuples(st.floats(0.001, 50), *[st.integers(0, 1000)] * 6), max_size=20)


@st.composite
def series_of(draw: st.DrawFn) -> Series:
    """A series that only grows, from some time on."""
    now = draw(st.floats(0, 500))
    points = [(now, (0,) * 6)]
    for later, *more in draw(growth):
        now += later
        points.append((now, tuple(a + b for a, b in zip(points[-1][1], more, strict=True))))
    return Series(tuple(points))


@given(series_of(), times, times)
def test_a_series_only_grows(series: Series, first: float, second: float) -> None:
    """At a later time no counter is smaller, and none leaves what was ever counted."""
    early, late = (series.at(t) for t in sorted((first, second)))
    for before, after, last in zip(early, late, series.last, strict=True):
        assert 0 <= before <= after * (1 + 1e-12) + 1e-6
        assert after <= last


@given(st.lists(series_of(), min_size=1, max_size=4), times)
def test_windows_are_within_one_another(series: list[Series], now: float) -> None:
    """What is in the last minute is in the last five, and in all that was ever counted."""
    now += max(s.points[-1][0] for s in series)
    told = measure(series, 0, now, BOUNDS)
    requests = [told.windows[name].requests for name in ("1m", "5m", "boot")]
    assert requests == sorted(requests)
    assert requests[-1] == told.requests == total(s.last for s in series)[0]
    for window in told.windows.values():
        assert 0 <= window.errors <= 1
        assert window.rate >= 0


@given(
    st.lists(st.integers(0, 100), min_size=3, max_size=3),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
def test_percentiles_are_in_order(buckets: list[int], first: float, second: float) -> None:
    """A larger share took at least as long, within the bucket that its last request fell into."""
    low, high = (quantile(share, buckets, BOUNDS) for share in sorted((first, second)))
    if not sum(buckets):
        assert low is high is None
        return
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= BOUNDS[-1]
