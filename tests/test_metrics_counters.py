"""Sums of what workers count do not depend on which of them have been folded."""

from __future__ import annotations

import array
import time

from hypothesis import given
from hypothesis import strategies as st

from flask_health.workers import tally
from flask_health.workers.records import PROGRESS, REQUESTS, SIZE, SPENT, STARTED
from flask_health.workers.tally import Reading, Total


def reading(pid: int, spent: float) -> Reading:
    """The record of a dead worker that has spent some time."""
    words = array.array("d", bytes(SIZE))
    words[STARTED] = words[PROGRESS] = time.monotonic() - 1.0
    words[REQUESTS], words[SPENT] = 1.0, spent
    return Reading(pid, 1, False, words)


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=8), st.data())
def test_folding_changes_no_sum(spent: list[float], data: st.DataObject) -> None:
    """Not by the last bit: for Prometheus a counter that is a bit less has begun anew."""
    records = [reading(pid, seconds) for pid, seconds in enumerate(spent)]
    before = tally.measure(Total(), records)
    order = data.draw(st.permutations(records))
    total = Total()
    while order:
        now, order = order[:2], order[2:]
        series = [*([total.series] if total.series else []), *(r.series for r in now)]
        total = Total((), tally.merge(series, time.monotonic()))
        after = tally.measure(total, order)
        assert (after.spent, after.requests) == (before.spent, before.requests)
    assert abs(before.spent - sum(spent)) < 1e-5 * len(spent)
