"""Setup steps that one server runs for all, by way of a real Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from support.backends import Redis
from support.environment import free_port
from support.fleets import Fleet
from support.local import Blocked
from support.stores import USUAL, Slow, client
from support.waiting import eventually

from flask_health import ConfigError, HealthCheck
from flask_health.exceptions import LeaseLostError
from flask_health.fleet import lease as leases
from flask_health.fleet import steps as fleet_steps
from flask_health.fleet.keys import Keys

STEP = Keys("shop").step("1.0", "migrate")


@pytest.fixture(params=USUAL)
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A store of the test's."""
    with request.param() as found:
        yield found


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of two seconds, and servers that look often."""
    monkeypatch.setattr(leases, "LENGTH", 2.0)
    monkeypatch.setattr(fleet_steps, "SHORTEST_LOOK", 0.05)
    monkeypatch.setattr(fleet_steps, "LONGEST_LOOK", 0.1)


def migrating(step: Callable[[], object], **options: Any) -> Callable[[HealthCheck], None]:
    """Registers a step for the whole fleet."""

    def register(health: HealthCheck) -> None:
        health.setup(step, name="migrate", scope="fleet", **options)

    return register


def step_of(server: Any) -> Any:
    """What a server tells of its step."""
    return server.report().steps[0]


def test_a_step_runs_once_for_all_servers(server: Redis) -> None:
    """The others wait for it, say for whom, and are not ready; later ones find it done."""
    blocked = Blocked()
    with Fleet(server.url, migrating(blocked)) as fleet:
        for _ in range(4):
            fleet.add()
        assert blocked.begun.wait(10)
        waiting = eventually(
            lambda: [s for s in fleet.servers if step_of(s).state == "waiting"],
            lambda found: len(found) == 3,
        )
        assert step_of(waiting[0]).note.endswith("runs it for the fleet")
        assert [s.answers() for s in fleet.servers] == [503] * 4
        assert "runs it for the fleet" in waiting[0].report().reason
        blocked.go.set()
        eventually(lambda: [s.answers() for s in fleet.servers], lambda c: c == [200] * 4)
        late = fleet.add()
        eventually(late.answers, lambda code: code == 200)
        assert blocked.calls == 1


def test_each_release_runs_its_own(server: Redis) -> None:
    """What 1.0 has done is not what 1.1 needs."""
    done: list[int] = []
    with Fleet(server.url, migrating(lambda: done.append(1))) as fleet:
        eventually(fleet.add().answers, lambda code: code == 200)
        eventually(fleet.add(HEALTH_VERSION="1.1").answers, lambda code: code == 200)
        eventually(fleet.add(HEALTH_VERSION="1.1").answers, lambda code: code == 200)
    assert len(done) == 2


def test_a_failure_is_told_to_all(server: Redis) -> None:
    """With its reason, without its secrets, until the attempt that ends well."""
    blocked = Blocked()
    blocked.error = ConnectionError("no route to postgres://shop:hunter2@db/shop")
    with Fleet(server.url, migrating(blocked)) as fleet:
        runner = fleet.add()
        assert blocked.begun.wait(10)
        other = fleet.add()
        blocked.go.set()
        failed = eventually(lambda: step_of(other).error, why="the other one learns of it")
        assert "no route to postgres://shop:***@db/shop" in failed
        assert "runs it for the fleet" in failed
        assert other.report().gate == "failed"
        blocked.error = None
        eventually(lambda: [runner.answers(), other.answers()], lambda c: c == [200, 200])
        assert not step_of(other).error


def test_a_failure_of_any_letters_is_told(server: Redis) -> None:
    """As of a file whose name is no UTF-8: the store takes it, and the others learn of it."""
    blocked = Blocked()
    blocked.error = FileNotFoundError("no file 'caf\udce9'")
    with Fleet(server.url, migrating(blocked, retries=0)) as fleet:
        fleet.add()
        assert blocked.begun.wait(10)
        other = fleet.add()
        eventually(lambda: step_of(other).state == "waiting", why="it waits")
        blocked.go.set()
        failed = eventually(lambda: step_of(other).error, why="the other one learns of it")
        assert "no file 'caf\\udce9'" in failed
        assert not any(one.fleet.problem for one in fleet.servers)


def test_what_may_not_be_tried_again_stands_failed(server: Redis) -> None:
    """For those who waited; a server that starts later tries it, and all follow."""
    blocked = Blocked()
    blocked.error = RuntimeError("no table")
    with Fleet(server.url, migrating(blocked, retries=0)) as fleet:
        first = fleet.add()
        assert blocked.begun.wait(10)
        other = fleet.add()
        eventually(lambda: step_of(other).state == "waiting", why="it waits")
        blocked.go.set()
        eventually(lambda: step_of(other).error, why="it learns")
        blocked.error = None
        later = fleet.add()
        eventually(lambda: [later.answers(), other.answers()], lambda c: c == [200, 200])
        assert blocked.calls == 2
        assert first.answers() == 503


def test_a_step_gets_a_number_that_grows(server: Redis) -> None:
    """`health.fencing`, inside a fleet step alone; also when the store has forgotten the last."""
    numbers: list[int | None] = []

    def register(health: HealthCheck) -> None:
        health.setup(lambda: numbers.append(health.fencing), name="own")
        health.setup(lambda: numbers.append(health.fencing), name="migrate", scope="fleet")

    with Fleet(server.url, register) as fleet:
        eventually(fleet.add().answers, lambda code: code == 200)
        with client(server.url) as asked:
            asked.flushall()
        eventually(fleet.add().answers, lambda code: code == 200)
        assert fleet.servers[0].health.fencing is None
    none, first, again_none, second = numbers
    assert none is None
    assert again_none is None
    assert first is not None
    assert second is not None
    assert second > first > 0


def test_a_runner_that_is_cut_off_learns_that_it_has_lost(
    server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Another server takes over; the number of the first is refused, and its end does not count."""
    seen: list[str] = []
    go, begun = threading.Event(), threading.Event()

    def register(health: HealthCheck) -> None:
        @health.setup(name="migrate", scope="fleet")
        def migrate() -> None:
            begun.set()
            assert go.wait(20)
            try:
                seen.append(str(health.fencing))
            except LeaseLostError:
                seen.append("lost")

    other = Blocked()
    with Slow(server.port, 0.0) as line:
        url = server.url.replace(str(server.port), str(line.port))
        with Fleet(server.url) as fleet, Fleet(url, register) as far:
            cut = far.add()
            assert begun.wait(10)
            line.delay = 60.0
            eventually(lambda: "is lost while it runs" in caplog.text, why="it notices")
            near = fleet.add(migrating(other))
            assert other.begun.wait(10)
            go.set()
            eventually(lambda: seen, why="its step has ended")
            assert seen == ["lost"]
            line.delay = 0.0
            eventually(lambda: "that one counts" in caplog.text, why="it is told")
            assert cut.answers() == 503
            other.go.set()
            eventually(lambda: [cut.answers(), near.answers()], lambda c: c == [200, 200])
    assert other.calls == 1


def test_a_step_that_ends_while_the_store_is_away_counts_when_it_is_back(server: Redis) -> None:
    """It is not run again, and nobody is ready before the store knows."""
    blocked = Blocked()
    with Fleet(server.url, migrating(blocked)) as fleet:
        one = fleet.add()
        assert blocked.begun.wait(10)
        with server.frozen():
            blocked.go.set()
            eventually(lambda: "has ended, waiting" in step_of(one).note, why="it waits")
            assert one.answers() == 503
        eventually(one.answers, lambda code: code == 200)
        assert blocked.calls == 1


def test_without_the_store_a_step_waits(server: Redis) -> None:
    """Not ready, with the reason; alive; and it runs as soon as the store answers."""
    done: list[int] = []
    server.kill()
    with Fleet(server.url, migrating(lambda: done.append(1))) as fleet:
        one = fleet.add()
        eventually(lambda: "waiting for the fleet store" in one.report().reason, why="it says so")
        assert (one.answers(), one.answers("/health/live")) == (503, 200)
        assert not done
        server.start()
        eventually(one.answers, lambda code: code == 200)
    assert done == [1]


def test_a_store_that_is_not_required_is_waited_for_a_little(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With `HEALTH_FLEET_REQUIRED=False` each server then runs the step for itself, and warns."""
    monkeypatch.setattr(fleet_steps, "GIVES_UP_AFTER", 0.5)
    done: list[int] = []
    url = f"redis://127.0.0.1:{free_port()}/0"
    with Fleet(url, migrating(lambda: done.append(1)), HEALTH_FLEET_REQUIRED=False) as fleet:
        one, two = fleet.add(), fleet.add()
        eventually(lambda: [one.answers(), two.answers()], lambda c: c == [200, 200])
    assert len(done) == 2
    assert "runs for this server alone" in caplog.text


def test_without_a_fleet_each_server_runs_it(caplog: pytest.LogCaptureFixture) -> None:
    """In development and in tests of an app no store is needed; the log says what that means."""
    app, done = Flask("shop"), list[int]()
    health = HealthCheck(app)
    health.setup(lambda: done.append(1), name="migrate", scope="fleet")
    health.add_check("shared", lambda: None, scope="fleet")
    with caplog.at_level(logging.WARNING):
        health.start(wait=True)
    assert done == [1]
    assert app.test_client().get("/health").status_code == 200
    assert "without HEALTH_FLEET_URL" in caplog.text
    assert "migrate, shared" in caplog.text


def test_a_fleet_step_needs_a_release() -> None:
    """Whether it is registered before the app is wired or after; other steps need none."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    app = Flask("shop")
    app.config.update(HEALTH_FLEET_URL=url)
    health = HealthCheck(app)
    health.setup(lambda: None, name="warm_up")
    with pytest.raises(ConfigError, match="'HEALTH_VERSION' must be set: setup step 'migrate'"):
        health.setup(lambda: None, name="migrate", scope="fleet")
    early = HealthCheck()
    early.setup(lambda: None, name="migrate", scope="fleet")
    other = Flask("shop")
    other.config.update(HEALTH_FLEET_URL=url)
    with pytest.raises(ConfigError, match="'HEALTH_VERSION' must be set"):
        early.init_app(other)
