"""What follows from what is known of a fleet: panic, releases, results that travel; no store."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_health.fleet.keys import Keys, plain
from flask_health.fleet.sharing import Sharing, decode, encode
from flask_health.fleet.summary import MOST_CHECKS, summarize
from flask_health.fleet.view import View, from_note, read_changes, to_note
from flask_health.model.check import Check, History, Outcome, Result, judge
from flask_health.model.fleet import (
    STALE_AFTER,
    WARM_UP,
    Aggregate,
    Sight,
    newer,
    panics,
    parse_aggregate,
)
from flask_health.model.report import Report
from flask_health.model.status import Status

CHECK = Check("database", lambda: None, scope="fleet")
BROKEN = Outcome(Status.FAIL, "down", 1000.0, 50.0, 0.1)


def sight(servers: int, failing: int, read_at: float = 100.0, age: float = 60.0) -> Sight:
    """A fleet on so many servers of which a check fails."""
    return Sight(Aggregate(servers=servers, failing={"database": failing}, age=age), read_at)


@pytest.mark.parametrize(
    ("servers", "failing", "panic"),
    [(10, 6, True), (10, 5, False), (5, 3, True), (4, 4, False), (0, 0, False), (10, 10, True)],
)
def test_more_than_the_share_of_enough_servers_is_panic(
    servers: int, failing: int, panic: bool
) -> None:
    """With 0.5 and 5: six of ten is panic, five is not, and four servers never are."""
    assert bool(panics(sight(servers, failing), 0.5, 5, 100.0)) is panic


@given(
    servers=st.integers(0, 100_000),
    failing=st.integers(0, 100_000),
    share=st.floats(0, 0.999),
    least=st.integers(1, 50),
    age=st.floats(0, 60),
)
def test_panic_is_what_it_says(
    servers: int, failing: int, share: float, least: int, age: float
) -> None:
    """For any fleet: turned on, big enough, recent enough, and on more than the share."""
    big = servers >= least and failing / servers > share
    wanted = share > 0 and big and age <= STALE_AFTER
    seen = sight(servers, failing, read_at=1000.0)
    assert ("database" in panics(seen, share, least, 1000.0 + age)) is wanted


@given(servers=st.integers(1, 100_000), percent=st.integers(1, 99))
@example(servers=100, percent=29)
def test_exactly_the_share_is_no_panic(servers: int, percent: int) -> None:
    """Whatever a share comes to in binary: 0.29 of a hundred servers is 29 of them."""
    failing = servers * percent // 100
    seen = sight(servers, failing)
    assert not panics(seen, percent / 100, 1, 100.0)
    more = sight(servers, failing + 1)
    assert panics(more, percent / 100, 1, 100.0)


def test_nobody_panics_about_the_unknown() -> None:
    """Neither before the fleet was seen, nor when that is too long ago."""
    assert not panics(None, 0.5, 1, 100.0)
    assert panics(sight(10, 10), 0.5, 5, 100.0 + STALE_AFTER)
    assert not panics(sight(10, 10), 0.5, 5, 100.1 + STALE_AFTER)


def test_a_store_that_was_emptied_ends_no_panic_at_once() -> None:
    """Until all servers may have told of themselves again, the earlier sight holds."""
    before = sight(10, 9, read_at=100.0)
    emptied = sight(1, 0, read_at=102.0, age=0.5)
    assert newer(before, emptied) is before
    filled = sight(10, 9, read_at=103.0, age=1.5)
    assert newer(before, filled) is filled
    settled = sight(1, 0, read_at=110.0, age=WARM_UP)
    assert newer(before, settled) is settled
    assert newer(None, emptied) is emptied
    late = sight(1, 0, read_at=100.1 + STALE_AFTER, age=0.5)
    assert newer(before, late) is late


def test_panic_warns_of_a_failure_and_of_nothing_else() -> None:
    """A result that is stale or missing fails all the same: nobody knows what it would be."""
    history = History(Status.FAIL, BROKEN, 0, 1, 1000.0, 50.0)
    result = judge(CHECK, history, 51.0, "fails on 9 of 10 servers")
    assert (result.status, result.counts_as) == (Status.FAIL, Status.WARN)
    assert "panic: it fails on 9 of 10 servers" in result.output
    stale = judge(CHECK, history, 51.0 + CHECK.stale_after, "fails on 9 of 10 servers")
    assert stale.counts_as is Status.FAIL
    assert judge(CHECK, None, 51.0, "fails on 9 of 10 servers").counts_as is Status.FAIL


def report(*results: Result, status: Status = Status.FAIL) -> Report:
    """The report of a server of one whose gate is open."""
    return Report("health", status, status, "", "open", "local", 1, results)


def test_panic_does_not_end_itself() -> None:
    """What a server tells of a check is its status and not what it counts as in panic."""
    history = History(Status.FAIL, BROKEN, 0, 1, 1000.0, 50.0)
    check = Check("database", lambda: None, panic=True)
    result = judge(check, history, 51.0, "fails on 9 of 10 servers")
    told = summarize(report(result, status=Status.WARN), "1.0").contribution.splitlines()
    assert told == ["n", "s:warn", "r:1.0", "ready", "R:1.0", "f:database"]


def test_checks_without_panic_and_without_result_are_not_counted() -> None:
    """The aggregate has a field for each check that may panic and fails, and for no other."""
    history = History(Status.FAIL, BROKEN, 0, 1, 1000.0, 50.0)
    plain_check = judge(Check("cache", lambda: None), history, 51.0)
    pending = judge(Check("database", lambda: None, panic=True), None, 51.0)
    told = summarize(report(plain_check, pending), "1.0").contribution.splitlines()
    assert told == ["n", "s:fail", "r:1.0"]


def test_what_a_server_tells_stays_short() -> None:
    """However many checks fail, and however much they have to say."""
    words = Outcome(Status.FAIL, "x" * 500, 1000.0, 50.0, 0.1)
    history = History(Status.FAIL, words, 0, 1, 1000.0, 50.0)
    results = [judge(Check(f"check{n}", lambda: None), history, 51.0) for n in range(100)]
    told = summarize(report(*results), "1.0").report
    assert told.count('"check') == MOST_CHECKS + 1
    assert len(told) < 2048


def test_the_aggregate_is_read_as_it_is_kept() -> None:
    """Counts by status, release and check; the release that appeared last comes first."""
    fields = {
        "n": "5",
        "ready": "3",
        "v": "9",
        "born": "1000000",
        "s:pass": "3",
        "s:fail": "2",
        "r:1.0": "3",
        "R:1.0": "3",
        "t:1.0": "1000000",
        "r:1.1": "2",
        "t:1.1": "1500000",
        "f:database": "2",
    }
    found = parse_aggregate(fields, "1000000:9", 2000.0)
    assert (found.servers, found.ready, found.age) == (5, 3, 1000.0)
    assert found.statuses == {"pass": 3, "warn": 0, "fail": 2}
    assert [tuple(release) for release in found.releases] == [
        ("1.1", 2, 0, 1500.0),
        ("1.0", 3, 3, 1000.0),
    ]
    assert found.rolling_out == found.releases[0]
    assert found.failing == {"database": 2}
    assert parse_aggregate({}, "", 0.0).rolling_out is None


@given(
    offset=st.floats(-1e6, 1e6),
    elapsed=st.floats(0, 1000),
    down=st.none() | st.floats(0, 100),
    since=st.floats(1, 1000),
    succeeded=st.none() | st.floats(1, 1000),
)
def test_a_result_travels_between_clocks(
    offset: float, elapsed: float, down: float | None, since: float, succeeded: float | None
) -> None:
    """Whatever the clocks of two servers show: ages and spans stay, times are the store's."""
    last = Outcome(Status.FAIL, "down", 5000.0, 700.0, 0.25, 7, "rows")
    began = None if down is None else 700.0 - down
    history = History(Status.FAIL, last, 1, 2, 5000.0 - since, began, succeeded)
    ended = 1_790_000_000_000
    here = 700.0 + offset
    found = decode(encode(history, last.ended), ended, ended + 1000 * elapsed, here)
    assert found is not None
    assert here - found.last.ended == pytest.approx(elapsed, abs=0.01)
    assert found.last.time == ended / 1000
    assert (found.since, found.succeeded) == (history.since, succeeded)
    assert (found.down_since is None) is (down is None)
    if down is not None and found.down_since is not None:
        assert found.last.ended - found.down_since == pytest.approx(down, abs=0.01)
    assert (found.status, found.streak, found.failures) == (Status.FAIL, 1, 2)
    assert (found.last.observed_value, found.last.observed_unit) == (7, "rows")


def test_what_began_with_the_last_run_began_when_the_store_says() -> None:
    """By the clock of this server it was another time."""
    last = Outcome(Status.PASS, "", 5000.0, 700.0, 0.25)
    history = History(Status.PASS, last, 0, 0, 5000.0, None, 5000.0)
    found = decode(encode(history, last.ended), 1_790_000_000_000, 1_790_000_000_000, 700.0)
    assert found is not None
    assert found.last.time == found.since == found.succeeded == 1_790_000_000.0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"status": "good"}', "null"])
def test_a_result_of_another_format_is_none(text: str) -> None:
    """Another release of this extension may have written it."""
    assert decode(text, 0, 0.0, 0.0) is None


def test_without_a_store_each_server_checks_within_an_interval() -> None:
    """It is alone from the start, and again after the store is lost; not all at once."""
    woken: list[int] = []
    sharing = Sharing([CHECK], 3.5, lambda: woken.append(1))
    began = time.monotonic()
    assert sharing.may_run(CHECK, None, began + CHECK.interval)
    sharing.told([], [], 0.0, began)
    assert not sharing.may_run(CHECK, None, began)
    sharing.lost(began + 1.0)
    assert sharing.may_run(CHECK, None, began + 1.0 + CHECK.interval - 3.5)


def test_a_server_runs_what_it_is_told_to_and_tells_of_it() -> None:
    """An order holds for the check's timeout; the result is built on the one it knew."""
    woken: list[int] = []
    sharing = Sharing([CHECK], 3.5, lambda: woken.append(1))
    now = time.monotonic()
    sharing.told([["database", "7000", "{}"]], ["database"], 7000.0, now)
    assert sharing.may_run(CHECK, None, now)
    assert not sharing.may_run(CHECK, None, now + CHECK.timeout + 1.1)
    history = History(Status.FAIL, BROKEN, 0, 1, 1000.0, 50.0)
    sharing.ran(CHECK, history, 2.0)
    assert woken
    (give,) = json.loads(sharing.offer(BROKEN.ended + 40.0, True))["gives"]
    assert (give[:2], give[3:]) == (["database", "7000"], [40_000, 2000])
    sharing.told([], [], 7100.0, now)
    assert '"gives":[]' in sharing.offer(now, True)


def test_a_server_that_starts_is_told_and_not_asked() -> None:
    """It wants what others have found out, and offers no time for a run of its own."""
    sharing = Sharing([CHECK], 3.5, lambda: None)
    for able, lease in ((False, 0), (True, 6000)):
        assert json.loads(sharing.offer(0.0, able))["wants"] == [["database", "", lease]]


def test_when_nobody_delivers_a_server_helps_itself() -> None:
    """A result that grows too old is renewed before it is not believed any more."""
    sharing = Sharing([CHECK], 3.5, lambda: None)
    sharing.told([], [], 0.0, 100.0)
    history = History(Status.PASS, BROKEN, 0, 0, 1000.0, None)
    late = BROKEN.ended + 2 * CHECK.interval
    assert not sharing.may_run(CHECK, history, late - 0.1)
    assert sharing.may_run(CHECK, history, late + 0.1)
    assert late + CHECK.timeout <= BROKEN.ended + CHECK.stale_after


def test_a_view_is_told_to_the_siblings_as_it_is() -> None:
    """What one worker knows, the others read; what they cannot read is nothing."""
    fields = {"n": "2", "r:1.0": "2", "t:1.0": "5", "born": "1", "f:database": "2"}
    seen = Sight(parse_aggregate(fields, "1:2", 9.0), 12.5)
    changes = ({"time": 1.5, "server": "a", "state": "pass open"},)
    view = View(seen, "no answer", {"database": "fails on 2 of 2 servers"}, changes, True)
    assert from_note(to_note(view)) == view
    assert from_note(to_note(View())) == View()
    assert from_note("") is None
    assert from_note('{"sight": {}}') is None


def test_changes_are_read_whatever_the_client_makes_of_them() -> None:
    """Redis answers with pairs, some clients with dicts."""
    flat = [["1790000000000-0", ["server", "a", "state", "pass", "release", ""]]]
    paired = [("1790000000000-0", {"server": "a", "state": "pass", "release": ""})]
    wanted = ({"time": 1_790_000_000.0, "server": "a", "state": "pass"},)
    assert read_changes(flat) == read_changes(paired) == wanted


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("shop", "shop"),
        ("my shop", "my_shop"),
        ("a{b}:c", "a_b_c"),
        ("", "_"),
        ("x" * 100, "x" * 100),
    ],
)
def test_a_name_breaks_no_key(name: str, shown: str) -> None:
    """Braces would move a key of a cluster, a colon or a line end would be a part of another."""
    assert plain(name) == shown


def test_long_names_stay_different() -> None:
    """The address of an image with its digest, for example: a release whose steps are its own."""
    one, other = (plain("registry.example.com/" + "x" * 90 + f"@sha256:{n}") for n in "ab")
    assert one != other
    assert len(one) == len(other) == 100


def test_all_keys_of_a_service_are_on_one_node() -> None:
    """They have one hash tag, and none is another's beginning by accident."""
    keys = Keys("shop")
    found = [keys.servers, keys.members, keys.aggregate, keys.changes, keys.checks]
    found += [keys.server("1a"), keys.step("1.0", "migrate")]
    assert len(set(found)) == len(found)
    assert all(key.startswith("flask-health:{shop}:") for key in found)
