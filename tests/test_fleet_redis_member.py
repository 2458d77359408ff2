"""Servers that tell of themselves and learn of the others, by way of a real Redis."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.backends import Redis
from support.checking import Told
from support.fleets import Fleet
from support.stores import USUAL, client, keys
from support.waiting import eventually

from flask_health import HealthCheck, Status
from flask_health.fleet import member as members
from flask_health.fleet.keys import Keys
from flask_health.fleet.view import View
from flask_health.model import fleet as model

KEYS = Keys("shop")


@pytest.fixture(params=USUAL)
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A store of the test's."""
    with request.param() as found:
        yield found


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are silent are forgotten after two seconds and a half."""
    monkeypatch.setattr(model, "STALE_AFTER", 2.5)
    monkeypatch.setattr(members, "PERIOD", 0.5)
    monkeypatch.setattr(model, "WARM_UP", 1.0)


def test_servers_see_one_another(server: Redis) -> None:
    """How many, of which release, and how many may be sent traffic."""
    with Fleet(server.url) as fleet:
        fleet.of(2)
        fleet.add(HEALTH_VERSION="1.1")
        fleet.see(3)
        seen = eventually(
            lambda: fleet.servers[0].sees, lambda found: found.ready == 3, why="all are ready"
        )
        assert seen.statuses == {"pass": 3, "warn": 0, "fail": 0}
        assert [(r.name, r.servers, r.ready) for r in seen.releases] == [
            ("1.1", 1, 1),
            ("1.0", 2, 2),
        ]
        assert seen.rolling_out is not None
        assert seen.rolling_out.name == "1.1"


def test_services_do_not_see_one_another(server: Redis) -> None:
    """They share a store, and nothing in it."""
    with Fleet(server.url) as fleet:
        shop = fleet.add()
        stock = fleet.add(HEALTH_SERVICE="stock")
        fleet.see(1)
        assert shop.fleet.service == "shop"
        assert stock.fleet.service == "stock"


def test_a_change_is_seen_by_the_others(server: Redis) -> None:
    """A check that fails on one shows in the aggregate that all read, within three seconds."""
    told = Told()

    def register(health: HealthCheck) -> None:
        health.add_check("database", told, interval=0.2, retry_interval=0.1, failure_threshold=1)

    with Fleet(server.url) as fleet:
        fleet.add(register)
        fleet.add()
        fleet.see(2)
        eventually(lambda: fleet.servers[1].sees.ready, lambda ready: ready == 2)
        told.says = ConnectionError("down")
        began = time.monotonic()
        eventually(lambda: fleet.servers[1].sees.ready, lambda ready: ready == 1)
        assert time.monotonic() - began < 3.5
        (row,) = (r for r in rows(server) if not r["ready"])
        assert row["checks"] == {"database": ["fail", "ConnectionError: down"]}


def rows(server: Redis) -> list[dict[str, Any]]:
    """What each server has told of itself."""
    with client(server.url) as asked:
        found = asked.scan_iter(f"{KEYS.server('')}*")
        return [json.loads(asked.hget(key, "report")) for key in found]


@pytest.mark.usefixtures("brisk")
def test_the_silent_are_forgotten(server: Redis) -> None:
    """A server that was killed leaves the aggregate; its key and the others go by themselves."""
    with Fleet(server.url) as fleet:
        fleet.of(3)
        gone = fleet.servers.pop()
        gone.leave()
        fleet.see(2)
        change = eventually(lambda: fleet.servers[0].member.changes[0])
        assert (change["server"], change["state"]) == (gone.member.name, "gone")
        fleet.servers[0].leave()
        fleet.servers[1].leave()
        assert all(ttl >= 0 for ttl in keys(server.url).values())


class Last:
    """The siblings of a worker that ends while nobody asks the store for its server."""

    def __init__(self, news: View | None) -> None:
        self.news = lambda: news
        self.speaks = False

    def all_stop(self) -> bool:
        return True

    def speak(self, wanted: bool) -> bool:
        self.speaks = wanted
        return wanted

    def let_go(self) -> None:
        self.speaks = False


@pytest.mark.parametrize("told", [True, False], ids=["told", "unknown"])
def test_a_worker_says_goodbye_for_one_before_it(server: Redis, told: bool) -> None:
    """The one that asked the store has ended and none has followed: what it had told is taken back;
    where none had told anything, the store is not asked.
    """
    with Fleet(server.url) as fleet:
        one, two = fleet.of(2)
        other: Any = two.member
        news = other._view
        two.leave()
        other._told, other._view, other._siblings = None, View(), Last(news if told else None)
        two.leave()
        if told:
            soon = model.STALE_AFTER / 2
            eventually(lambda: one.sees.servers, lambda n: n == 1, within=soon, why="it has left")
        else:
            assert other.store._client is None
            assert one.sees.servers == 2


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("key", [KEYS.aggregate, KEYS.members, KEYS.servers, KEYS.changes])
def test_a_key_that_vanishes_is_made_again(server: Redis, key: str) -> None:
    """A store that evicts keys, or a person who deletes one: the counts are right again."""
    with Fleet(server.url) as fleet:
        fleet.of(3)
        with client(server.url) as asked:
            asked.delete(key)
            eventually(lambda: asked.hget(KEYS.aggregate, "n"), lambda n: n == "3", why="three")
            eventually(lambda: asked.zcard(KEYS.servers), lambda n: n == 3, why="three")
        fleet.see(3)


@pytest.mark.usefixtures("brisk")
def test_a_store_that_was_emptied_is_filled_again(server: Redis) -> None:
    """Killed and restarted without its data, while servers go on."""
    with Fleet(server.url) as fleet:
        fleet.of(3)
        server.kill()
        eventually(lambda: all(s.fleet.problem for s in fleet.servers), why="they notice")
        assert all(s.answers() == 200 for s in fleet.servers)
        server.start()
        eventually(lambda: not any(s.fleet.problem for s in fleet.servers), why="they are back")
        fleet.see(3)


def test_the_store_turns_nothing_red(server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Hung: the answers stay as they were, the details and the log say what is wrong, once."""
    with Fleet(server.url) as fleet:
        (one,) = fleet.of(1)
        with server.frozen():
            eventually(lambda: one.fleet.problem, why="it notices")
            assert one.answers() == 200
            assert any("fleet store cannot be asked" in note for note in one.report().notes)
            time.sleep(2.0)
        errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert len([r for r in errors if "fleet store" in r.getMessage()]) == 1
        eventually(lambda: not one.fleet.problem, why="it is back")
        assert not one.report().notes


def register_shared(told: Told) -> Any:
    """One fleet check for all servers of a test."""

    def register(health: HealthCheck) -> None:
        health.add_check("shared", told, scope="fleet", interval=2.0, retry_interval=1.0)

    return register


def test_a_fleet_check_is_run_once_for_all(server: Redis) -> None:
    """Five servers: about one run per interval, not five, and all tell the same result."""
    told = Told((7, "rows"))
    with Fleet(server.url, register_shared(told)) as fleet:
        fleet.of(5)
        for one in fleet.servers:
            eventually(lambda one=one: one.answers() == 200, why="its first result")  # type: ignore[misc]
        began, runs = time.monotonic(), told.runs
        time.sleep(6.0)
        elapsed = time.monotonic() - began
        assert 1 <= told.runs - runs <= elapsed / 2.0 + 2
        results = [one.report().results[0] for one in fleet.servers]
        assert {r.observed_value for r in results} == {7}
        times = {r.time for r in results if r.time is not None}
        assert max(times) - min(times) < 6.0


def test_a_fleet_check_that_fails_fails_everywhere(server: Redis) -> None:
    """With the reason of the server that ran it; one of them tells who listens."""
    told = Told()
    heard: list[str] = []
    with Fleet(server.url, register_shared(told)) as fleet:
        fleet.of(3)
        eventually(lambda: all(s.answers() == 200 for s in fleet.servers), why="all are ready")
        from flask_health import status_changed

        def hear(sender: object, **what: Any) -> None:
            heard.append(what["check"])

        status_changed.connect(hear)
        try:
            told.says = ConnectionError("refused")
            eventually(lambda: all(s.answers() == 503 for s in fleet.servers), why="all fail")
            outputs = {s.report().results[0].output for s in fleet.servers}
            assert outputs == {"ConnectionError: refused"}
            eventually(lambda: heard, why="somebody hears")
        finally:
            status_changed.disconnect(hear)
        told.says = None
        eventually(lambda: all(s.answers() == 200 for s in fleet.servers), why="all recover")
        assert heard == ["shared"]


def test_since_when_a_shared_check_fails_stays_the_same(server: Redis) -> None:
    """However often it is run again, and by whom; and when it worked last is told too."""
    told = Told()

    def register(health: HealthCheck) -> None:
        health.add_check("shared", told, scope="fleet", interval=1.0, failure_threshold=1)

    with Fleet(server.url, register) as fleet:
        one, _ = fleet.of(2)
        eventually(lambda: all(s.answers() == 200 for s in fleet.servers), why="all are ready")
        told.says = ConnectionError("refused")
        eventually(lambda: all(s.answers() == 503 for s in fleet.servers), why="all fail")
        # What the server knows that ran it first is its own time until the store has told it.
        eventually(
            lambda: {s.report().results[0].since for s in fleet.servers}, lambda t: len(t) == 1
        )
        before, runs = one.report().results[0], told.runs
        eventually(lambda: told.runs, lambda n: n >= runs + 5, why="it is run again")
        for each in fleet.servers:
            after = each.report().results[0]
            assert (after.since, after.succeeded) == (before.since, before.succeeded)
            assert after.succeeded is not None


def test_a_server_that_starts_is_not_told_to_check(server: Redis) -> None:
    """It cannot, and those that serve would wait for its result."""
    told, go = Told(), threading.Event()

    def register_starting(health: HealthCheck) -> None:
        health.setup(lambda: go.wait(30), name="warm_up")
        register_shared(told)(health)

    with Fleet(server.url) as fleet:
        starting = fleet.add(register_starting)
        eventually(lambda: starting.sees.servers, why="it has told of itself")
        with client(server.url) as asked:
            assert not asked.hgetall(KEYS.checks)
            serving = fleet.add(register_shared(told))
            eventually(lambda: serving.answers() == 200, why="it checks")
        go.set()
        eventually(lambda: starting.answers() == 200, why="it finds the result")


def test_without_the_store_each_server_checks_for_itself(server: Redis) -> None:
    """Within an interval, and says so; one run for all again once the store is back."""
    told = Told()
    with Fleet(server.url, register_shared(told)) as fleet:
        fleet.of(3)
        eventually(lambda: all(s.answers() == 200 for s in fleet.servers), why="all are ready")
        with server.frozen():
            eventually(lambda: all(s.fleet.alone for s in fleet.servers), why="they notice")
            before = told.runs
            eventually(lambda: told.runs, lambda runs: runs >= before + 3, within=2.5)
            assert all("run for this server alone" in s.report().notes[0] for s in fleet.servers)
            assert all(s.answers() == 200 for s in fleet.servers)
        eventually(lambda: not any(s.fleet.alone for s in fleet.servers), why="they are back")


def test_a_fleet_check_whose_server_died_is_run_by_another(server: Redis) -> None:
    """Whoever was told to run it and does not deliver is replaced when its time is over."""
    hung, told = Told(), Told()
    with Fleet(server.url) as fleet:
        with hung.hanging():

            def register_hung(health: HealthCheck) -> None:
                health.add_check("shared", hung, scope="fleet", interval=2.0, timeout=1.0)

            dead = fleet.add(register_hung)
            eventually(lambda: hung.runs, why="the first server begins")
            dead.leave()
            fleet.servers.remove(dead)
        other = fleet.add(register_shared(told))
        eventually(lambda: told.runs, within=6.0, why="the other one runs it")
        eventually(lambda: other.answers() == 200, why="its result")


def register_panicking(told: Told) -> Any:
    """A check of each server's own that may panic."""

    def register(health: HealthCheck) -> None:
        health.add_check(
            "database", told, panic=True, interval=0.2, retry_interval=0.1, failure_threshold=1
        )

    return register


PANIC: Any = {"HEALTH_FLEET_PANIC": 0.5, "HEALTH_FLEET_PANIC_MIN": 5}


def test_a_check_that_fails_on_too_many_is_only_warned_of(
    server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Two of five are taken out; with four of five all serve, say so, and fail again after it."""
    tolds = [Told() for _ in range(5)]
    with Fleet(server.url, **PANIC) as fleet, caplog.at_level(logging.INFO):
        for told in tolds:
            fleet.add(register_panicking(told))
        fleet.see(5)
        eventually(lambda: [s.answers() for s in fleet.servers], lambda c: c == [200] * 5)
        for told in tolds[:2]:
            told.says = ConnectionError("down")
        eventually(
            lambda: [s.answers() for s in fleet.servers], lambda c: c == [503] * 2 + [200] * 3
        )
        time.sleep(3.0)
        assert [s.answers() for s in fleet.servers] == [503] * 2 + [200] * 3
        for told in tolds[2:4]:
            told.says = ConnectionError("down")
        eventually(lambda: [s.answers() for s in fleet.servers], lambda codes: codes == [200] * 5)
        result = fleet.servers[0].report().results[0]
        assert (result.status, result.counts_as) == (Status.FAIL, Status.WARN)
        eventually(
            lambda: fleet.servers[0].report().results[0].output,
            lambda output: "panic: it fails on 4 of 5 servers" in output,
        )
        panics = {"database": "fails on 4 of 5 servers"}
        eventually(lambda: fleet.servers[4].fleet.panics, panics.__eq__)
        for told in tolds[1:4]:
            told.says = None
        eventually(lambda: [s.answers() for s in fleet.servers], lambda c: c == [503] + [200] * 4)
        for edge in ("panic: check 'database'", "panic is over"):
            eventually(lambda edge=edge: edges(caplog, edge), lambda n: n == 5, why=edge)  # type: ignore[misc]


def test_panic_overrides_no_order_and_no_setup(server: Redis) -> None:
    """While all serve although their check fails: who pauses, drains or starts is not ready."""
    told, go = Told(ConnectionError("down")), threading.Event()

    def register_starting(health: HealthCheck) -> None:
        health.setup(lambda: go.wait(30), name="warm_up")
        register_panicking(told)(health)

    with Fleet(server.url, register_panicking(told), **PANIC) as fleet:
        paused, drained, *others = fleet.of(5)
        eventually(lambda: [s.answers() for s in fleet.servers], lambda c: c == [200] * 5)
        paused.health.pause("by hand")
        drained.health.drain()
        starting = fleet.add(register_starting)
        fleet.see(6)
        assert all(one.fleet.panics for one in others)
        codes = [one.answers() for one in (paused, drained, starting, *others)]
        assert codes == [503] * 3 + [200] * 3
        paused.health.resume()
        go.set()
        eventually(lambda: [paused.answers(), starting.answers()], lambda c: c == [200] * 2)
        assert drained.answers() == 503


def edges(caplog: pytest.LogCaptureFixture, beginning: str) -> int:
    """How many lines of the log begin so."""
    return sum(record.getMessage().startswith(beginning) for record in caplog.records)


def test_panic_is_told_in_numbers(server: Redis) -> None:
    """With what led to it; every series has a row on the page of the metrics."""
    told = Told(ConnectionError("down"))
    config: Any = {"HEALTH_FLEET_PANIC": 0.5, "HEALTH_FLEET_PANIC_MIN": 2}
    with Fleet(server.url, register_panicking(told), **config) as fleet:
        fleet.of(2)
        eventually(lambda: [s.sees.ready for s in fleet.servers], lambda n: n == [2, 2])
        answer = fleet.servers[0].app.test_client().get("/health/metrics").text
        found = [line for line in answer.splitlines() if line.startswith("flask_health_fleet_")]
        assert found == [
            "flask_health_fleet_store_up 1.0",
            'flask_health_fleet_servers{state="ready"} 2.0',
            'flask_health_fleet_servers{state="not ready"} 0.0',
            'flask_health_fleet_release_servers{release="1.0"} 2.0',
            'flask_health_fleet_failing_servers{check="database"} 2.0',
            'flask_health_fleet_panic{check="database"} 1.0',
        ]
        page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
        names = {re.split(r"[{ ]", line)[0] for line in found}
        assert names == set(re.findall(r"^\| `(flask_health_fleet_\w+)`", page, re.MULTILINE))


def test_a_small_fleet_never_panics(server: Redis) -> None:
    """Three servers of which all fail are not ready: perhaps it is them."""
    told = Told(ConnectionError("down"))
    with Fleet(server.url, register_panicking(told), **PANIC) as fleet:
        fleet.of(3)
        time.sleep(3.0)
        assert [s.answers() for s in fleet.servers] == [503] * 3


def test_a_store_that_is_lost_keeps_no_panic_for_ever(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen last holds until it is too old to be believed."""
    monkeypatch.setattr(model, "STALE_AFTER", 6.0)
    told = Told(ConnectionError("down"))
    with Fleet(server.url, register_panicking(told), **PANIC) as fleet:
        fleet.of(5)
        eventually(lambda: [s.answers() for s in fleet.servers], lambda c: c == [200] * 5)
        with server.frozen():
            eventually(lambda: all(s.fleet.problem for s in fleet.servers), why="they notice")
            assert [s.answers() for s in fleet.servers] == [200] * 5
            eventually(lambda: [s.answers() for s in fleet.servers], lambda c: c == [503] * 5)


def test_a_beat_is_one_command_and_small(server: Redis) -> None:
    """At rest, also with a check that is due every two seconds: at most one command and less than
    2 KiB for each server and second.
    """
    told = Told()

    def register(health: HealthCheck) -> None:
        register_shared(told)(health)
        for number in range(10):
            health.add_check(f"check{number}", Told(), panic=True)

    with Fleet(server.url, register) as fleet:
        fleet.of(5)
        eventually(lambda: all(s.answers() == 200 for s in fleet.servers), why="all are ready")
        time.sleep(3.0)
        with client(server.url) as asked:
            before, began = used(asked), time.monotonic()
            time.sleep(10.0)
            after, seconds = used(asked), time.monotonic() - began
        calls, size = (later - earlier for earlier, later in zip(before, after, strict=True))
        assert 0.3 < calls / seconds / 5 <= 1.0
        assert size / seconds / 5 < 2048


def used(asked: Any) -> tuple[int, int]:
    """The scripts that clients have had run, and the bytes that went both ways."""
    calls = asked.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    stats = asked.info("stats")
    return calls, stats["total_net_input_bytes"] + stats["total_net_output_bytes"]
