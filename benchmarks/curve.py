"""Figure 7: what a plain probe costs with more and more checks registered: the same."""

from __future__ import annotations

import statistics

from . import inside
from .apps.checked import NUMBERS
from .measure import Line, at_most, median_ratio
from .probe import COLD_LIMIT, HOT_LIMIT

FLAT = 1.2
"""How many times as long as without checks counts as the same."""

WORKERS = 4


def measure(quick: bool = False) -> list[Line]:
    """Hot and cold while all checks pass, cold while all of them fail; in turns in one process."""
    with inside.checked(WORKERS) as running:
        hot = inside.samples(running, "hot", 10 if quick else 300)
        cold = inside.samples(running, "cold", 10 if quick else 500)
    return [*_against_bare(hot), *_microseconds(cold), *_against_none("hot", hot, "passing")] + [
        line for state in ("passing", "failing") for line in _against_none("cold", cold, state)
    ]


def _against_bare(hot: dict[str, list[float]]) -> list[Line]:
    return [
        at_most(
            "curve hot",
            f"{name} / bare",
            median_ratio(values, hot["bare"]),
            "x",
            HOT_LIMIT,
            f"{_median(values):.2f} us",
        )
        for name, values in hot.items()
        if name != "bare"
    ]


def _microseconds(cold: dict[str, list[float]]) -> list[Line]:
    return [
        at_most("curve cold", name, _median(values), "us", COLD_LIMIT)
        for name, values in cold.items()
        if name != "bare"
    ]


def _against_none(figure: str, samples: dict[str, list[float]], state: str) -> list[Line]:
    """Each number of checks against no checks at all."""
    none = samples["0 passing"]
    return [
        at_most(
            f"curve {figure}",
            f"{number} {state} / no checks",
            median_ratio(samples[f"{number} {state}"], none),
            "x",
            FLAT,
        )
        for number in NUMBERS
        if number
    ]


def _median(nanoseconds: list[float]) -> float:
    """In microseconds."""
    return statistics.median(nanoseconds) / 1000
