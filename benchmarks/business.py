"""Figure 3: what the extension adds to a business request: the gate, and counting it."""

from __future__ import annotations

from . import inside
from .measure import OURS, Line, at_most, median_difference

LIMIT = 1.5


def measure(quick: bool = False) -> list[Line]:
    """Microseconds that a request takes longer with the extension around a bare callable; and, in
    the same run, that a Flask route takes longer with it, and with others that watch requests.
    """
    with inside.server(1) as running:
        samples = inside.samples(running, "business", 10 if quick else 300)
    bare, route = samples.pop("bare"), samples.pop("flask route")
    added = median_difference(samples.pop(OURS), bare) / 1000
    return [
        at_most("business", "added to a request", added, "us", LIMIT),
        *(
            Line("business", f"added to a flask route: {name.partition(',')[0]}", more, "us")
            for name, values in samples.items()
            for more in [median_difference(values, route) / 1000]
        ),
    ]
