"""The lease on a step, in a real Redis: one holder at a time, whatever happens in which order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.backends import Redis
from support.stores import MAKES, ROUNDS, client, keys

from flask_health import exceptions
from flask_health.fleet import lease as leases
from flask_health.fleet.keys import Keys
from flask_health.fleet.lease import Lease
from flask_health.fleet.store import Store
from flask_health.workers.steps import TAKEOVERS

KEYS = Keys("shop")
STEP = KEYS.step("1.0", "migrate")


@pytest.fixture(scope="module", params=MAKES)
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A store of this module's."""
    with request.param() as found:
        yield found


@pytest.fixture
def store(server: Redis) -> Iterator[Any]:
    """A client of an empty Redis."""
    with client(server.url) as asked:
        asked.flushall()
        yield asked


def lease(server: Redis, who: str) -> Lease:
    """The lease of one step, as one server sees it."""
    return Lease(Store(server.url), KEYS, "1.0", "migrate", who)


def end_lease(store: Any) -> None:
    """Let the time of the lease be over, on the clock of the store."""
    if store.hexists(STEP, "until"):
        store.hset(STEP, "until", 1)


def test_one_gets_it_and_the_others_wait(server: Redis, store: Any) -> None:
    """They learn who runs it; the second one gets it when the first has not renewed it."""
    first, second = lease(server, "a"), lease(server, "b")
    assert first.claim(True, TAKEOVERS).state == "yours"
    answer = second.claim(True, TAKEOVERS)
    assert (answer.state, answer.by) == ("running", "a")
    end_lease(store)
    assert second.claim(False, TAKEOVERS).state == "yours"
    assert second.fencing > first.fencing
    assert not first.tell("done")
    assert second.tell("done")
    assert first.claim(False, TAKEOVERS).state == "done"


def test_asking_twice_is_asking_once(server: Redis, store: Any) -> None:
    """An answer that was lost on its way is not another server's lease."""
    mine = lease(server, "a")
    first = mine.claim(True, TAKEOVERS)
    again = mine.claim(False, TAKEOVERS)
    assert (again.state, again.fencing, again.runs) == ("yours", first.fencing, first.runs)


def test_a_lost_lease_gives_no_number(
    server: Redis, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that asks for its number learns in time that another server may run it."""
    mine = lease(server, "a")
    mine.claim(True, TAKEOVERS)
    assert mine.number() == mine.fencing > 0
    monkeypatch.setattr(leases, "LENGTH", 0.0)
    mine.claim(False, TAKEOVERS)
    assert mine.lost
    with pytest.raises(exceptions.LeaseLostError, match="'migrate'"):
        mine.number()


def test_a_lease_is_lost_in_sleep_too(
    server: Redis, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that sleeps for longer than a lease: another server may have taken it over."""
    slept = [0.0]
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: time.monotonic() + slept[0])
    mine = lease(server, "a")
    mine.claim(True, TAKEOVERS)
    assert mine.number() == mine.fencing
    slept[0] = leases.LENGTH
    with pytest.raises(exceptions.LeaseLostError, match="'migrate'"):
        mine.number()


def test_a_failure_is_told_and_ends_with_the_next_attempt(server: Redis, store: Any) -> None:
    """While the server that runs it lives, nobody takes a failing step from it."""
    first, second = lease(server, "a"), lease(server, "b")
    first.claim(True, TAKEOVERS)
    first.tell("failed", "RuntimeError: no table")
    answer = second.claim(True, TAKEOVERS)
    assert (answer.state, answer.by, answer.reason) == ("failed", "a", "RuntimeError: no table")
    first.tell("running")
    assert second.claim(False, TAKEOVERS).state == "running"


def test_what_was_given_up_is_tried_by_servers_that_start_later(server: Redis, store: Any) -> None:
    """Those that waited for it do not try: who started them meant it to run once."""
    first, second, later = lease(server, "a"), lease(server, "b"), lease(server, "c")
    first.claim(True, TAKEOVERS)
    second.claim(True, TAKEOVERS)
    first.tell("given up", "RuntimeError: no table")
    assert second.claim(False, TAKEOVERS).state == "failed"
    assert later.claim(True, TAKEOVERS).state == "yours"
    assert second.claim(False, TAKEOVERS).state == "running"


@pytest.mark.parametrize(("state", "shown"), [("done", "done"), ("given up", "failed")])
def test_an_end_that_is_told_twice_counts(
    server: Redis, store: Any, state: str, shown: str
) -> None:
    """The answer was lost on its way; what is said of the step later changes nothing."""
    mine = lease(server, "a")
    mine.claim(True, TAKEOVERS)
    assert mine.tell(state, "no table")
    assert mine.tell(state, "no table")
    mine.tell("failed", "too late")
    answer = lease(server, "b").claim(False, TAKEOVERS)
    assert (answer.state, answer.reason) == (shown, "no table")


def test_a_step_that_kills_its_servers_is_given_up(server: Redis, store: Any) -> None:
    """It is taken over three times, not for ever."""
    for number in range(TAKEOVERS + 1):
        assert lease(server, str(number)).claim(False, TAKEOVERS).state == "yours"
        end_lease(store)
    answer = lease(server, "last").claim(False, TAKEOVERS)
    assert (answer.state, answer.reason) == ("failed", "the servers that ran it died, 4 of them")


def test_a_store_that_forgot_believes_who_has_done_it(server: Redis, store: Any) -> None:
    """Restarted empty while the step ran: its end still counts, and numbers go on growing."""
    mine = lease(server, "a")
    mine.claim(True, TAKEOVERS)
    store.flushall()
    other = lease(server, "b")
    other.claim(True, TAKEOVERS)
    assert other.fencing > mine.fencing
    assert not mine.tell("done")
    store.flushall()
    assert mine.tell("done")
    assert lease(server, "c").claim(True, TAKEOVERS).state == "done"


def test_what_became_of_a_step_is_kept_for_a_month_after_the_last_question(
    server: Redis, store: Any
) -> None:
    """Each question begins it anew, so a release that lives is never run twice."""
    mine = lease(server, "a")
    mine.claim(True, TAKEOVERS)
    mine.tell("done")
    store.expire(STEP, 1000)
    lease(server, "b").claim(True, TAKEOVERS)
    assert keys(server.url)[STEP] > 29 * 86400


class Leases(RuleBasedStateMachine):
    """Three servers that do what they like in any order, while leases end and numbers are kept."""

    server: Redis

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(self.server.url)
        self.store.command("FLUSHALL")
        self.leases = [Lease(self.store, KEYS, "1.0", "migrate", who) for who in "abc"]
        self.highest = 0
        self.last = (0, -1)
        self.holder: int | None = None
        self.done = False

    def teardown(self) -> None:
        self.store.close()

    @rule(who=st.integers(0, 2), fresh=st.booleans())
    def claim(self, who: int, fresh: bool) -> None:
        """Only one holds it; a new holder's number is higher; what is done is never run again."""
        answer = self.leases[who].claim(fresh, TAKEOVERS)
        if self.done:
            assert answer.state == "done"
        elif answer.state == "yours":
            assert self.holder in (None, who)
            assert answer.fencing > self.highest or (answer.fencing, who) == self.last
            self.highest, self.holder = answer.fencing, who
            self.last = answer.fencing, who

    @rule(who=st.integers(0, 2), state=st.sampled_from(["running", "failed", "given up", "done"]))
    def tell(self, who: int, state: str) -> None:
        """Who does not hold it any more has no say; who was not replaced has."""
        runner = self.store.command("HGET", STEP, "token") == self.leases[who]._token
        lost = not self.store.command("EXISTS", STEP)
        again = self.store.command("HGET", STEP, "ended") == self.leases[who]._token
        counts = self.leases[who].tell(state)
        assert counts is (runner or again or (lost and state == "done"))
        if counts and not again and state in ("done", "given up"):
            self.holder = None
            self.done = state == "done"

    @rule()
    def end(self) -> None:
        """The holder's server is cut off, dies, or sleeps for longer than its lease."""
        if self.store.command("HEXISTS", STEP, "until"):
            self.store.command("HSET", STEP, "until", 1)
        self.holder = None

    @invariant()
    def it_goes_away_by_itself(self) -> None:
        """Nothing is left for ever."""
        assert self.store.command("PTTL", STEP) != -1


def test_leases_hold_in_any_order(server: Redis) -> None:
    """A state machine of three servers: never two at a time, never again once it is done."""
    Leases.server = server
    run_state_machine_as_test(
        Leases,
        settings=settings(
            max_examples=40 * ROUNDS,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
