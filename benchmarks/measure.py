"""Interleaved timing, medians and intervals: how every figure here is taken."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

OURS = "flask-health"
"""What the tables call this extension."""

LITSERVE = "litserve"

Batch = Callable[[int], object]
"""Performs the operation that many times."""


@dataclass(frozen=True)
class Line:
    """One measured value, and the budget it is held against, if it has one."""

    figure: str
    what: str
    value: float
    unit: str
    budget: str = ""
    holds: bool | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.holds is None:
            return ""
        return "PASS" if self.holds else "FAIL"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def at_most(figure: str, what: str, value: float, unit: str, limit: float, note: str = "") -> Line:
    """A value that may not exceed `limit`."""
    return Line(figure, what, value, unit, f"<= {limit:g} {unit}".rstrip(), value <= limit, note)


def at_least(figure: str, what: str, value: float, unit: str, limit: float, note: str = "") -> Line:
    """A value that must reach `limit`."""
    return Line(figure, what, value, unit, f">= {limit:g} {unit}".rstrip(), value >= limit, note)


def interleave(
    batches: Mapping[str, Batch], rounds: int, batch_seconds: float = 0.002
) -> dict[str, list[float]]:
    """Nanoseconds per operation, one value per name and round.

    Every round visits every name, and every second round in reverse order (A B B A), so that a
    machine that slows down does so for all. A batch is sized to last `batch_seconds`.
    """
    sizes = {name: _batch_size(batch, batch_seconds) for name, batch in batches.items()}
    samples: dict[str, list[float]] = {name: [] for name in batches}
    for number in range(rounds):
        for name in alternate(list(batches), number):
            samples[name].append(time_batch(batches[name], sizes[name]))
    return samples


def alternate(names: Sequence[str], number: int) -> Sequence[str]:
    """The names in order for an even round, in reverse for an odd one."""
    return names if number % 2 == 0 else list(reversed(names))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the rounds' ratios: noise that hits a whole round cancels out."""
    return statistics.median(ratios(numerators, denominators))


def median_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """The median of the rounds' differences."""
    return statistics.median(a - b for a, b in zip(first, second, strict=True))


def median_interval(
    groups: Sequence[Sequence[float]], resamples: int = 2000
) -> tuple[float, float]:
    """The bootstrap 95 % interval of the median of all values; the same values give the same one.

    Groups are drawn first, then values within each: values of one group share something, such as
    the processes that were measured, which more of them would not average out.
    """
    generator = random.Random(0)
    medians = sorted(_resampled_median(groups, generator) for _ in range(resamples))
    return medians[int(0.025 * resamples)], medians[int(0.975 * resamples) - 1]


def _resampled_median(groups: Sequence[Sequence[float]], generator: random.Random) -> float:
    drawn = generator.choices(groups, k=len(groups))
    return statistics.median(
        value for group in drawn for value in generator.choices(group, k=len(group))
    )


def _batch_size(batch: Batch, seconds: float) -> int:
    batch(3)  # The first calls do what is done once.
    size = 1
    while True:
        # The shortest of three: a pause of the machine must not pass for a slow operation.
        elapsed = min(time_batch(batch, size) for _ in range(3)) * size / 1e9
        if elapsed >= seconds / 4 or size >= 1 << 20:
            return max(1, round(size * seconds / max(elapsed, 1e-9)))
        size *= 2


def time_batch(batch: Batch, size: int) -> float:
    """Nanoseconds per operation of one batch, without garbage collection."""
    with _no_collection():
        begin = time.perf_counter_ns()
        batch(size)
        return (time.perf_counter_ns() - begin) / size


@contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage is collected between batches, never inside one."""
    gc.collect(0)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
