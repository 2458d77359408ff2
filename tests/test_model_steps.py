"""Setup steps as values: the pause before a retry, and when an attempt is late."""

from __future__ import annotations

import pytest

from flask_health.workers.steps import Progress, Step, backoff


def step(timeout: float | None = None) -> Step:
    return Step("load", lambda: None, timeout=timeout)


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (10_000, 60)],
)
def test_the_pause_doubles_up_to_a_minute(attempt: int, seconds: float) -> None:
    """1, 2, 4 ... 60 seconds, and 60 for ever."""
    assert backoff(attempt) == seconds


@pytest.mark.parametrize(
    ("own", "default", "elapsed", "late"),
    [
        (None, None, 1e9, None),
        (5.0, None, 5.0, None),
        (5.0, None, 5.1, 5.0),
        (None, 5.0, 5.1, 5.0),
        (None, 5.0, 4.9, None),
        (9.0, 5.0, 6.0, None),  # a step's own timeout wins
        (5.0, 9.0, 6.0, 5.0),
    ],
)
def test_an_attempt_is_late_after_its_timeout(
    own: float | None, default: float | None, elapsed: float, late: float | None
) -> None:
    """The step's own timeout counts, else the configured one, else none."""
    progress = Progress(step(own), state="running", started=100.0)
    assert progress.late(100.0 + elapsed, default) == late


@pytest.mark.parametrize("state", ["pending", "waiting", "failed", "done"])
def test_only_a_running_attempt_is_late(state: str) -> None:
    """The clock does not run while a step waits for another worker, or for its next attempt."""
    assert Progress(step(1.0), state=state, started=0.0).late(1000.0, None) is None
    assert Progress(step(1.0), state="running").late(1000.0, None) is None
