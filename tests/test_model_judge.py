"""The verdicts as tables: what a look at the workers means."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.model import judge
from flask_health.model.server import Census, Marker, WorkerState
from flask_health.model.status import Status

LETTERS = {
    "s": WorkerState.STARTING,
    "r": WorkerState.READY,
    "l": WorkerState.LEAVING,
    "f": WorkerState.FAILED,
    "x": WorkerState.STOPPING,
}


def census(workers: str, expected: int = 2, opened: bool = True, orphaned: bool = False) -> Census:
    """A look at workers in these states, a letter each."""
    markers = tuple(
        Marker(age, 100 + age, 1, expected, LETTERS[letter])
        for age, letter in enumerate(workers, 1)
    )
    return Census(markers, opened, orphaned)


@pytest.mark.parametrize(
    ("workers", "expected", "complete"),
    [
        ("", 0, False),
        ("", 2, False),
        ("r", 1, True),
        ("r", 2, False),
        ("rs", 2, False),
        ("rf", 2, False),
        ("rl", 2, False),  # told to stop: it does not count towards the expected number
        ("rx", 2, False),
        ("rr", 2, True),
        ("rrs", 2, True),
        ("rrr", 2, True),
        ("r", 0, True),
    ],
)
def test_the_gate_opens_when_all_expected_are_ready(
    workers: str, expected: int, complete: bool
) -> None:
    """Only ready workers count, and without any worker nothing is complete."""
    assert judge.gate_complete(census(workers, opened=False), expected) is complete


@pytest.mark.parametrize(
    ("workers", "opened", "state"),
    [
        ("", False, "pending"),
        ("s", False, "running"),
        ("sr", False, "running"),
        ("rr", False, "running"),
        ("sf", False, "failed"),
        ("", True, "open"),
        ("ff", True, "open"),
    ],
)
def test_the_gate_has_four_states(workers: str, opened: bool, state: str) -> None:
    """Open is for good; before that one failure shows, whatever the others do."""
    assert judge.gate_state(census(workers, opened=opened)) == state


@pytest.mark.parametrize(
    ("workers", "minimum", "ready"),
    [
        ("", 1, False),
        ("s", 1, False),
        ("f", 1, False),
        ("x", 1, False),
        ("r", 1, True),
        ("l", 1, True),
        ("sr", 1, True),
        ("fr", 1, True),
        ("xr", 1, True),
        ("rs", 2, False),
        ("rl", 2, True),
        ("rr", 2, True),
        ("rr", 3, True),  # the server wants only 2: a higher minimum means all of them
        ("rs", 3, False),
    ],
)
def test_an_open_server_is_ready_while_enough_serve(
    workers: str, minimum: int, ready: bool
) -> None:
    """Ready and leaving workers serve; the minimum is never more than the server wants."""
    assert judge.ready(census(workers), minimum) is ready


@given(
    st.text(alphabet="srlfx", max_size=6),
    st.integers(min_value=1, max_value=8),
    st.integers(min_value=1, max_value=8),
)
def test_nothing_is_ready_before_the_gate_has_opened(
    workers: str, expected: int, minimum: int
) -> None:
    """However many workers are ready: before the gate opens, and without a master, all is red."""
    assert not judge.ready(census(workers, expected, opened=False), minimum)
    assert not judge.ready(census(workers, expected, orphaned=True), minimum)


@given(st.text(alphabet="srlfx", max_size=6), st.booleans())
def test_an_order_turns_every_server_red(workers: str, draining: bool) -> None:
    """Whoever is ready: a server that drains or pauses is not, and says so."""
    look = census(workers)._replace(draining=draining, paused=not draining)
    order = "draining" if draining else "paused"
    assert not judge.ready(look, 1)
    assert judge.status(look, 1) is Status.FAIL
    assert judge.reason(look, 1) == order


@given(st.text(alphabet="srlfx", max_size=6), st.integers(min_value=1, max_value=8))
def test_a_worker_more_never_hurts(workers: str, minimum: int) -> None:
    """A server that is ready stays so when one more worker becomes ready."""
    if judge.ready(census(workers, 4), minimum):
        assert judge.ready(census(workers + "r", 4), minimum)


@pytest.mark.parametrize(
    ("workers", "opened", "status"),
    [
        ("rr", True, Status.PASS),
        ("rs", True, Status.PASS),
        ("r", True, Status.PASS),
        ("rf", True, Status.WARN),
        ("ff", True, Status.FAIL),
        ("rr", False, Status.FAIL),
        ("", True, Status.FAIL),
    ],
)
def test_the_status_of_a_server(workers: str, opened: bool, status: Status) -> None:
    """A missing worker alone is no warning; a failed one beside one that serves is."""
    assert judge.status(census(workers, opened=opened), 1) is status


@pytest.mark.parametrize(
    ("look", "minimum", "reason"),
    [
        (census("rr"), 1, ""),
        (census("rs"), 1, ""),
        (census("rr", orphaned=True), 1, "the server's master process is gone"),
        (census("rf"), 1, "failed: worker 102"),
        (census("ffs", 3, opened=False), 1, "failed: worker 101, 102"),
        (census("rs", opened=False), 1, "setup finished in 1 of 2 workers"),
        (census("", opened=False), 1, "setup finished in 0 of 1 workers"),
        (census("rs"), 2, "1 of 2 workers serve, at least 2 must"),
    ],
)
def test_a_reason_is_given_for_people(look: Census, minimum: int, reason: str) -> None:
    """The reason says the first thing to look at, and is empty when there is nothing."""
    assert judge.reason(look, minimum) == reason


def test_a_fail_always_has_a_reason() -> None:
    """No state of two workers fails without saying why."""
    for letters in itertools.product("srlfx", repeat=2):
        for opened, orphaned, minimum in itertools.product((True, False), (True, False), (1, 2)):
            look = census("".join(letters), 2, opened, orphaned)
            if judge.status(look, minimum) is not Status.PASS:
                assert judge.reason(look, minimum), look
