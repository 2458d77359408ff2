"""Figure 1: what a plain probe costs in process."""

from __future__ import annotations

import statistics

from . import inside
from .measure import OURS, Line, at_least, at_most, median_ratio

HOT_LIMIT = 5.0
FASTER = 40.0
COLD_LIMIT = 5.0
WORKERS = (1, 4, 16, 64)


def measure(quick: bool = False) -> list[Line]:
    """Hot against everybody, cold for a growing number of workers."""
    lines = _hot(10 if quick else 150)
    for workers in (1, 2) if quick else WORKERS:
        lines += _cold(workers, 10 if quick else 300)
    return [*lines, *_rested(2 if quick else 20)]


def _hot(rounds: int) -> list[Line]:
    with inside.server(4) as running:
        samples = inside.samples(running, "hot", rounds)
    bare, ours = samples.pop("bare"), samples.pop(OURS)
    note = f"{_median(ours):.2f} us, bare {_median(bare):.2f} us"
    lines = [at_most("probe hot", f"{OURS} / bare", median_ratio(ours, bare), "x", HOT_LIMIT, note)]
    for name, values in samples.items():
        ratio = median_ratio(values, ours)
        note = f"{name} {_median(values):.1f} us"
        lines.append(at_least("probe hot", f"{name} / {OURS}", ratio, "x", FASTER, note))
    return lines


def _cold(workers: int, rounds: int) -> list[Line]:
    lines = []
    for ready in (True, False):
        with inside.server(workers, ready) as running:
            samples = inside.samples(running, "cold", rounds)
        what = f"{'ok' if ready else 'not ready'}, {workers} workers"
        note = f"{median_ratio(samples[OURS], samples['bare']):.0f}x bare"
        lines.append(at_most("probe cold", what, _median(samples[OURS]), "us", COLD_LIMIT, note))
    return lines


def _rested(rounds: int) -> list[Line]:
    """What a probe costs that comes after a rest: with cold caches of the processor, too."""
    with inside.server(4) as running:
        samples = inside.samples(running, "rested", rounds)
    lines = []
    for name, values in samples.items():
        lines.append(Line("probe rested", f"{name}, 4 workers", _median(values), "us"))
    return lines


def _median(nanoseconds: list[float]) -> float:
    """In microseconds."""
    return statistics.median(nanoseconds) / 1000
