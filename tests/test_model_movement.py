"""Busy or stalled: the rule, with the time as an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.model.movement import (
    SLACK,
    Movement,
    all_stalled,
    patience,
    stalled_for,
)
from flask_health.model.server import SERVING, STATES, WorkerState

NOW = 1000.0
READY = WorkerState.READY


@pytest.mark.parametrize(
    ("wanted", "timeout", "idle_beat", "seconds"),
    [
        (None, None, 1.0, 30.0),  # a server that does not tell
        (None, 30, 1.0, 30.0),
        (None, 120, 60.0, 120.0),
        (None, 30, 15.0, 30.0),
        (None, 3, 1.5, 3.5),  # an idle sync worker beats after 1.5 s
        (None, 0, 0.5, None),  # requests may take for ever: so the user has said
        (60.0, 0, 0.5, 60.0),
        (10.0, 30, 1.0, 10.0),
        (10.0, 30, 15.0, 17.0),  # sync: less would be mere idleness
        (0.5, None, 1.0, 3.0),
    ],
)
def test_patience(
    wanted: float | None, timeout: float | None, idle_beat: float, seconds: float | None
) -> None:
    """As configured, else as long as the server has; never less than an idle loop takes."""
    assert patience(wanted, timeout, idle_beat) == seconds


@pytest.mark.parametrize(
    ("state", "last", "limit", "stalled"),
    [
        (READY, NOW - 31, 30.0, 31.0),
        (READY, NOW - 30, 30.0, None),
        (READY, NOW, 30.0, None),
        (WorkerState.LEAVING, NOW - 31, 30.0, 31.0),
        (READY, NOW - 31, None, None),  # it may take for ever
        (READY, 0.0, 30.0, None),  # nobody knows
        (WorkerState.STARTING, NOW - 31, 30.0, None),
        (WorkerState.FAILED, NOW - 31, 30.0, None),
        (WorkerState.STOPPING, NOW - 31, 30.0, None),
    ],
)
def test_stalled(
    state: WorkerState, last: float, limit: float | None, stalled: float | None
) -> None:
    """Only a worker that serves, of which it is known that it has not moved for too long."""
    assert stalled_for(state, Movement(1, last), NOW, limit) == stalled


def test_all() -> None:
    """One that moves, or of which nobody knows, is enough; nobody at all is not stalled."""
    still, slow, moves = Movement(1, NOW - 50), Movement(0, NOW - 40), Movement(3, NOW - 1)
    assert all_stalled([(READY, still), (READY, slow)], NOW, 30.0) == 40.0
    assert all_stalled([(READY, still), (READY, moves)], NOW, 30.0) is None
    assert all_stalled([(READY, still), (READY, Movement())], NOW, 30.0) is None
    assert all_stalled([(READY, still), (WorkerState.STARTING, still)], NOW, 30.0) is None
    assert all_stalled([], NOW, 30.0) is None


ANY_STATE = st.sampled_from(STATES)
MOVEMENTS = st.builds(Movement, st.integers(0, 5), st.just(0.0) | st.floats(1.0, NOW))


@given(
    st.lists(st.tuples(ANY_STATE, MOVEMENTS), max_size=6),
    st.none() | st.floats(0.1, 100.0),
    st.none() | st.integers(0, 100),
)
def test_a_worker_that_moved_in_time_keeps_the_server_alive(
    workers: list[tuple[WorkerState, Movement]], wanted: float | None, timeout: int | None
) -> None:
    """Whatever the others do; and a worker that an idle loop's pause explains is never stalled."""
    limit = patience(wanted, timeout, 1.0)
    stalled = all_stalled(workers, NOW, limit)
    reasons = [
        limit is None or state not in SERVING or not m.last or NOW - m.last <= limit
        for state, m in workers
    ]
    assert (stalled is None) is (any(reasons) or not workers)
    if stalled is not None:
        assert stalled > 1.0 + SLACK
