"""What is sent, when, and what is left out; and what is worth a message about a server."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.alerts.conditions import NOTHING, Condition, of_gate, of_workers
from flask_health.alerts.outbox import APART, LONGEST_PAUSE, MOST, TRIES, Edge, Outbox, Waiting
from flask_health.model.server import Census, Marker, WorkerState
from flask_health.model.status import Status

PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL


def edge(new: Status = FAIL, component: str = "database", worker: int = 0) -> Edge:
    """A change of a component, from its opposite."""
    old = PASS if new is FAIL else FAIL
    return Edge(component, worker, old, new, f"{component} {new}", 1, 0.0, 1000.0)


def sends(outbox: Outbox, now: float) -> Waiting:
    """Send what is due, with success."""
    item = outbox.next(now)
    assert item, "nothing is due"
    outbox.sent(item, now)
    return item


def test_the_first_change_is_sent_at_once() -> None:
    """Nothing waits before it, and nothing after it."""
    outbox = Outbox()
    assert (outbox.next(5.0), outbox.pause(5.0)) == (None, None)
    outbox.put(edge())
    assert outbox.pause(5.0) == 0
    assert sends(outbox, 5.0) == Waiting(edge())
    assert (outbox.next(5.0), outbox.pause(5.0)) == (None, None)


def test_a_component_is_told_of_once_a_minute() -> None:
    """The latest change, from what was told before, with the number of those left out."""
    outbox = Outbox()
    outbox.put(edge(FAIL))
    sends(outbox, 0.0)
    for new in (PASS, FAIL, PASS, FAIL, PASS):
        outbox.put(edge(new))
        assert outbox.next(1.0) is None
    assert outbox.pause(1.0) == APART - 1
    item = sends(outbox, APART)
    assert (item.edge.old, item.edge.new, item.left_out) == (FAIL, PASS, 4)
    outbox.put(edge(FAIL))
    assert outbox.next(APART + 1) is None
    assert sends(outbox, 2 * APART).left_out == 0


def test_components_do_not_wait_for_one_another() -> None:
    """Nor does what a worker finds out about itself for the other workers."""
    outbox = Outbox()
    found = [edge(), edge(component="cache"), edge(component="own", worker=11)]
    found.append(edge(component="own", worker=12))
    for one in found:
        outbox.put(one)
    assert [sends(outbox, 0.0).edge for _ in found] == found


def test_all_together_are_bounded() -> None:
    """However many there are: the rest waits, and is told when there is room."""
    outbox = Outbox()
    for number in range(MOST + 5):
        outbox.put(edge(component=f"c{number}"))
    for second in range(MOST):
        sends(outbox, float(second))
    assert outbox.next(MOST + 1.0) is None
    assert outbox.pause(MOST + 1.0) == APART - MOST - 1
    assert sends(outbox, APART).edge.component == f"c{MOST}"
    assert outbox.next(APART) is None
    assert sends(outbox, APART + 1).edge.component == f"c{MOST + 1}"


def test_a_message_that_does_not_arrive_is_tried_again() -> None:
    """After 1, 2, 4 s and so on, at most a minute; then it is dropped."""
    outbox = Outbox()
    outbox.put(edge())
    now, pauses = 0.0, []
    while True:
        item = outbox.next(now)
        assert item
        if not outbox.failed(item, now):
            break
        pause = outbox.pause(now)
        assert pause
        assert outbox.next(now + pause - 0.01) is None
        pauses.append(pause)
        now += pause
    assert pauses == [min(2.0**n, LONGEST_PAUSE) for n in range(TRIES - 1)]
    assert outbox.pause(now) is None
    assert 300 < now < 420


def test_one_receiver_that_is_down_holds_all_messages_up() -> None:
    """They go to the same place; one that arrives ends the waiting."""
    outbox = Outbox()
    outbox.put(edge())
    outbox.put(edge(component="cache"))
    for now in (0.0, 1.0):
        item = outbox.next(now)
        assert item
        outbox.failed(item, now)
        assert outbox.next(now + 0.5) is None
    sends(outbox, 3.0)
    sends(outbox, 3.0)


@pytest.mark.parametrize(
    ("asked", "pause"), [(0.0, 1.0), (30.0, 30.0), (1e9, TRIES * LONGEST_PAUSE)]
)
def test_a_receiver_may_ask_to_wait(asked: float, pause: float) -> None:
    """Within limits."""
    outbox = Outbox()
    outbox.put(edge())
    outbox.failed(Waiting(edge()), 0.0, asked)
    assert outbox.pause(0.0) == pause


def test_what_is_refused_is_dropped() -> None:
    """And holds nothing up."""
    outbox = Outbox()
    outbox.put(edge())
    outbox.put(edge(component="cache"))
    item = outbox.next(0.0)
    assert item
    outbox.refused(item)
    assert sends(outbox, 0.0).edge.component == "cache"


def test_what_comes_while_a_message_is_under_way_is_not_lost() -> None:
    """It is told next, and only what came in between is left out."""
    outbox = Outbox()
    outbox.put(edge(FAIL))
    item = outbox.next(0.0)
    assert item
    for new in (PASS, FAIL, PASS):
        outbox.put(edge(new))
    outbox.sent(item, 0.5)
    later = sends(outbox, 0.5 + APART)
    assert (later.edge.old, later.edge.new, later.left_out) == (FAIL, PASS, 2)


def test_the_next_worker_goes_on() -> None:
    """With what waits, and with what was told already; through JSON."""
    outbox = Outbox()
    outbox.put(edge())
    outbox.put(edge(component="cache"))
    sends(outbox, 0.0)
    outbox.put(edge(PASS))
    outbox.put(edge(FAIL))
    heir = Outbox.load(json.loads(json.dumps(outbox.dump())))
    assert heir.waiting == outbox.waiting
    assert sends(heir, 1.0).edge.component == "cache"
    assert heir.next(1.0) is None
    assert sends(heir, APART).left_out == 1


STATUSES = st.sampled_from(list(Status))
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abc"), STATUSES),
    st.tuples(st.just("wait"), st.floats(0.0, 90.0), st.just(None)),
    st.tuples(st.just("try"), st.sampled_from(["sent", "failed", "refused"]), st.just(None)),
)


@given(st.lists(STEPS, max_size=80))
def test_whatever_comes_is_bounded_and_the_last_word_is_told(
    steps: list[tuple[str, object, object]],
) -> None:
    """Never two messages about a component within a minute, never more than one for each waits,
    and once the receiver is well the last status of each component has been told or refused.
    """
    outbox, now = Outbox(), 0.0
    told: dict[str, list[float]] = {}
    last: dict[str, object] = {}
    said: dict[str, object] = {}

    def attempt(outcome: str) -> None:
        item = outbox.next(now)
        if item is None:
            return
        name = item.edge.component
        if outcome == "failed":
            if outbox.failed(item, now):
                return
        elif outcome == "refused":
            outbox.refused(item)
        else:
            outbox.sent(item, now)
            told.setdefault(name, []).append(now)
        said[name] = item.edge.new

    for kind, what, status in steps:
        if kind == "put":
            name = str(what)
            outbox.put(Edge(name, 0, PASS, Status(str(status)), "", 0, 0.0, 0.0))
            last[name] = status
        elif kind == "wait":
            assert isinstance(what, float)
            now += what
        else:
            attempt(str(what))
        assert len(outbox.waiting) <= 3
    while (pause := outbox.pause(now)) is not None:
        now += pause
        attempt("sent")
    assert said == last
    for moments in told.values():
        assert all(b - a >= APART - 1e-6 for a, b in pairwise(moments))


# What is worth a message about the server


def census(*states: WorkerState, **facts: bool) -> Census:
    """A look at a server of three whose gate is open."""
    markers = tuple(Marker(n, 100 + n, 0, 3, state) for n, state in enumerate(states))
    return Census(markers, **{"opened": True, **facts})


READY, FAILED, STARTING = WorkerState.READY, WorkerState.FAILED, WorkerState.STARTING
LEAVING, STOPPING = WorkerState.LEAVING, WorkerState.STOPPING


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (census(READY, READY, READY), (PASS, "")),
        (census(LEAVING, READY, STARTING), (PASS, "")),
        (census(READY, READY, FAILED), (WARN, "failed: worker 102")),
        (census(READY, STARTING), (FAIL, "1 of 3 workers serve, at least 2 must")),
        (census(STARTING, opened=False), NOTHING),
        (census(FAILED, opened=False), NOTHING),
        (census(READY, draining=True), NOTHING),
        (census(READY, paused=True), NOTHING),
        (census(READY, orphaned=True), NOTHING),
        (census(READY, STOPPING, STOPPING), NOTHING),
    ],
)
def test_trouble_with_workers_is_told_and_what_is_done_on_purpose_is_not(
    seen: Census, expected: object
) -> None:
    """Starting, draining, pausing and stopping are no trouble."""
    assert of_workers(seen, 2, False) == expected


def test_a_worker_that_stays_missing_is_told() -> None:
    """As a warning, like everywhere."""
    assert of_workers(census(READY, READY), 1, True)[0] is WARN


@pytest.mark.parametrize(
    ("state", "status"), [("pending", None), ("running", None), ("failed", FAIL), ("open", PASS)]
)
def test_the_gate_is_told_when_setup_fails(state: str, status: Status | None) -> None:
    """With the reason; and when it opens after all."""
    assert of_gate(state, "no model" if state == "failed" else "")[0] is status


def test_a_condition_is_told_at_its_edges() -> None:
    """Not in between, and not while there is nothing to be told of."""
    gate = Condition("gate")
    assert gate.see((PASS, ""), 0.0, 1000.0) is None
    failed = gate.see((FAIL, "no model"), 5.0, 1005.0)
    assert failed == Edge("gate", 0, PASS, FAIL, "no model", 0, 0.0, 1005.0)
    for seen in (NOTHING, (FAIL, "no model"), NOTHING, (FAIL, "still none")):
        assert gate.see(seen, 8.0, 1008.0) is None
    opened = gate.see((PASS, ""), 15.0, 1015.0)
    assert opened == Edge("gate", 0, FAIL, PASS, "", 0, 10.0, 1015.0)


def test_a_condition_has_to_last() -> None:
    """Workers that are told to stop do so one after the other."""
    workers = Condition("workers", settled_after=2.0)
    for now, seen in ((0.0, FAIL), (1.9, FAIL), (2.0, PASS), (3.0, FAIL), (4.9, None), (5.0, FAIL)):
        assert workers.see((seen, ""), now, now) is None
    told = workers.see((FAIL, "gone"), 7.0, 7.0)
    assert told
    assert told.new is FAIL
    assert workers.see((PASS, ""), 10.0, 10.0) is None
    told = workers.see((PASS, ""), 12.0, 12.0)
    assert told
    assert told.outage == 7.0


def test_the_next_worker_knows_what_was_told() -> None:
    """It tells the end of what another one has told the beginning of, and nothing twice."""
    first = Condition("gate")
    assert first.see((FAIL, ""), 5.0, 5.0)
    heir = Condition("gate")
    heir.load(json.loads(json.dumps(first.dump())))
    assert heir.see((FAIL, ""), 6.0, 6.0) is None
    told = heir.see((PASS, ""), 8.0, 8.0)
    assert told
    assert told.outage == 3.0
