"""Figure 3: what the extension adds to a business request."""

from __future__ import annotations

from . import inside
from .measure import OURS, Line, at_most, median_difference

LIMIT = 1.0


def measure(quick: bool = False) -> list[Line]:
    """Microseconds that a request to a bare callable takes longer with the extension around it."""
    with inside.server(1) as running:
        samples = inside.samples(running, "business", 10 if quick else 300)
    added = median_difference(samples[OURS], samples["bare"]) / 1000
    return [at_most("business", "added to a request", added, "us", LIMIT)]
