"""Figures, moments and curves of the pages: what they are for each value."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.model.course import SLICES, STEP, Slice, course
from flask_health.model.traffic import Series, Traffic, Window
from flask_health.web import curves, figures, plot

DASH = "\u2013"
THIN = "\u202f"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, DASH),
        (0.0, "0 ms"),
        (0.000_004, "0.004 ms"),
        (0.000_42, "0.42 ms"),
        (0.0042, "4.2 ms"),
        (0.05, "50 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.25, "1.2 s"),
        (59.9, "60 s"),
        (60.0, "1 min"),
        (3600.0, "1 h"),
        (7500.0, "2 h 5 min"),
        (90061.0, "1 d 1 h"),
        (8_640_000.0, "100 d"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    """At most two units and as many digits as help."""
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5.0, "just now"),
        (0.4, "just now"),
        (1.0, "1 s ago"),
        (75.0, "1 min 15 s ago"),
        (200.0, "3 min ago"),
        (7300.0, "2 h 1 min ago"),
        (1_000_000.0, "11 d ago"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    """Never in the future, whatever somebody does to the clock."""
    assert figures.age(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, DASH),
        (0, "0 B"),
        (999, "999 B"),
        (1024, "1 KiB"),
        (48 * 2**20, "48 MiB"),
        (2**31, "2 GiB"),
    ],
)
def test_sizes(amount: float | None, text: str) -> None:
    """In the unit that leaves few digits."""
    assert figures.size(amount) == text


def test_rates_shares_and_moments() -> None:
    """Small ones do not become nothing."""
    assert figures.rate(None) == DASH
    assert figures.rate(0.25) == "0.25/s"
    assert figures.rate(12_345.6) == f"12{THIN}346/s"
    assert figures.share(None) == DASH
    assert figures.share(0.0) == "0 %"
    assert figures.share(0.00001) == "< 0.01 %"
    assert figures.share(0.5) == "50 %"
    assert figures.whole(1_234_567) == f"1{THIN}234{THIN}567"
    assert figures.clock(0.0) == "00:00:00 UTC"
    assert figures.iso(1_800_000_000.0) == "2027-01-15T08:00:00Z"


@given(st.floats(0.0, 1e9))
def test_every_number_has_few_digits(number: float) -> None:
    """No exponent, no tail."""
    for text in (figures.duration(number), figures.rate(number), figures.size(number)):
        assert re.fullmatch(r"[\d.\u202f]+[ /]?(ms|s|min|h|d|B|KiB|MiB|GiB)( \d+ \w+)?", text), text
        digits = re.sub(r"\D", "", text.split("/")[0])
        assert len(digits.lstrip("0")) <= max(4, len(str(math.ceil(number)))), text


# Curves


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0.0, 1.0), (0.3, 0.3), (1.0, 1.0), (1.01, 1.5), (42.0, 50.0), (90_000.0, 100_000.0)],
)
def test_the_upper_edge_is_a_round_number(highest: float, top: float) -> None:
    """One that is read at once, not below the curve and not far above it."""
    assert plot.ceiling([[None, highest / 2], [highest]]) == pytest.approx(top)


@given(st.lists(st.none() | st.floats(0.0, 1e9), min_size=1, max_size=80))
def test_a_line_stays_in_its_plot(values: list[float | None]) -> None:
    """From the left edge to the right, from the upper to the lower, with a gap for what is not."""
    top = plot.ceiling([values])
    path = plot.line(values, top)
    points = [tuple(map(float, p)) for p in re.findall(r"[ML]([\d.]+) (-?[\d.]+)", path)]
    assert len(points) == sum(value is not None for value in values)
    for x, y in points:
        assert 0 <= x <= plot.WIDTH
        assert -0.05 <= y <= plot.HEIGHT
    starts = [
        n for n, v in enumerate(values) if v is not None and (n == 0 or values[n - 1] is None)
    ]
    assert path.count("M") == len(starts)


def test_the_area_is_closed_at_the_bottom() -> None:
    """What is not known has none."""
    assert plot.area([1.0, None, 0.5], 1.0) == "M0 0h0L150 60L300 30L300 60L0 60Z"
    assert plot.area([], 1.0) == ""


def test_strokes_stand_at_the_right() -> None:
    """The last one at the edge; each can be seen, however short; a gap is a gap."""
    assert plot.bars([1.0, None, 0.0], 30) == "M82 20v-20M88 20v-1"


# Traffic over time

BOUNDS = (0.1, 1.0)


def series(*points: tuple[float, int, int, int]) -> Series:
    """Counters over time: moments, requests, errors, and how many took at most 0.1 s."""
    return Series(tuple((at, (n, bad, 0, fast, n - fast, 0)) for at, n, bad, fast in points))


def test_the_course_of_traffic() -> None:
    """Slices of five seconds that are over, those of all workers added up."""
    one = series((290.0, 0, 0, 0), (295.0, 50, 0, 50), (300.0, 150, 10, 100))
    other = series((290.0, 0, 0, 0), (300.0, 10, 0, 10))
    found = course([one, other], 302.0, BOUNDS)
    assert len(found) == SLICES
    assert found[:-2] == [None] * (SLICES - 2)
    before, last = found[-2:]
    assert before and last
    assert (before.rate, before.errors) == (11.0, 0.0)
    assert (last.rate, last.errors) == (21.0, 2.0)
    assert before.p99 is not None
    assert before.p99 <= 0.1
    assert last.p99 is not None
    assert 0.1 < last.p99 <= 1.0


def test_the_course_is_the_same_until_a_slice_is_over() -> None:
    """A curve does not tremble between two looks."""
    grown = series(*((float(n), n * n, 0, n) for n in range(1, 400)))
    assert course([grown], 300.0, BOUNDS) == course([grown], 304.9, BOUNDS)
    assert course([grown], 300.0, BOUNDS)[1:] == course([grown], 305.0, BOUNDS)[:-1]


def test_no_traffic_has_no_course() -> None:
    """Neither without a record, nor without a request."""
    assert course([], 1000.0, BOUNDS) == [None] * SLICES
    idle = course([series((0.0, 0, 0, 0), (999.0, 0, 0, 0))], 1000.0, BOUNDS)
    assert idle == [Slice(0.0, 0.0, None, None)] * SLICES


def test_a_counter_that_seems_to_shrink_is_no_traffic() -> None:
    """Records are read one after the other: a worker may be counted a little early."""
    shrunk = series((0.0, 0, 0, 0), (995.0, 10, 0, 10), (1000.0, 9, 0, 9))
    last = course([shrunk], 1000.0, BOUNDS)[-1]
    assert last == Slice(0.0, 0.0, None, None)


def traffic(requests: int = 100, errors: float = 0.0) -> Traffic:
    """What all workers have counted."""
    minute = Window(60.0, requests, requests / 60, errors, 0.02, 0.012, 0.05, 0.2)
    return Traffic(3, {"1m": minute, "5m": minute, "boot": minute}, requests, 0, 1.0, ())


def test_the_plots_of_traffic() -> None:
    """Requests and latency; a curve of failures only where there are some."""
    calm: list[Slice | None] = [None, *[Slice(10.0 + n, 0.0, 0.01, 0.1) for n in range(59)]]
    (first, requests), (second, latency) = curves.plots(traffic(), calm)
    assert (first, second) == ("Requests", "Latency")
    assert [curve.kind for curve in requests.curves] == ["area", "line"]
    assert (requests.now, requests.top) == ("1.7/s", "80/s")
    assert requests.told == "last minute 1.7/s, highest 68/s in the last 5 minutes"
    assert [curve.name for curve in latency.curves] == ["p50", "p99"]
    assert (latency.now, latency.top) == ("p50 12 ms, p99 200 ms", "100 ms")
    bad = [*calm[:-1], Slice(68.0, 2.0, 0.01, 0.1)]
    (_, requests), _ = curves.plots(traffic(), bad)
    assert [curve.kind for curve in requests.curves] == ["area", "line", "bad"]
    assert requests.curves[-1].path.count("L") == 1  # only where there are some


def test_what_a_minute_comes_to() -> None:
    """In one line."""
    told = curves.told(traffic(requests=12_345, errors=0.002))
    assert told == (
        f"206/s in the last minute; 0.2 % failed; 3 in flight; 12{THIN}345 since the server started"
    )


def test_a_slice_is_as_long_as_workers_remember() -> None:
    """Five minutes, in steps in which the records are kept."""
    assert STEP * SLICES == 300.0
    assert math.isclose(STEP, 5.0)
