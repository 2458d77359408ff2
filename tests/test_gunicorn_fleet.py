"""Real gunicorns that share a real Redis."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.backends import Redis
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.stores import ROUNDS, USUAL, Cluster, Redis6, Slow, TLSRedis, Valkey, client
from support.waiting import eventually

from flask_health.model.fleet import STALE_AFTER


@pytest.fixture(params=USUAL)
def redis(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A store of the test's."""
    with request.param() as found:
        yield found


class Servers:
    """Gunicorns of one fleet, which share a stage too."""

    def __init__(self, serve: Serve, stage: Stage, url: str) -> None:
        self.stage = stage
        self.all: list[Gunicorn] = []
        self._serve = serve
        self._url = url

    def add(self, *args: str, workers: int = 2, **env: Any) -> Gunicorn:
        """Start one more."""
        ours = {
            "FLASK_HEALTH_FLEET_URL": self._url,
            "FLASK_HEALTH_VERSION": "1.0",
            "NUMBER": len(self.all),
        }
        server = self._serve(
            "fleeted:app", *args, workers=workers, env=ours | env, stage=self.stage
        )
        self.all.append(server)
        return server

    def codes(self) -> list[int | str]:
        """What each answers."""
        return [server.get(timeout=5).code for server in self.all]

    def answer(self, *codes: int, within: float = 30.0) -> None:
        """Wait until they answer so, one code for all or one for each."""
        wanted = list(codes) if len(codes) > 1 else list(codes) * len(self.all)
        eventually(self.codes, lambda found: found == wanted, within=within, why=str(codes))


@pytest.fixture
def servers(serve: Serve, redis: Redis, tmp_path: Path) -> Servers:
    """An empty fleet."""
    return Servers(serve, Stage(tmp_path / "stage"), redis.url)


def details(server: Gunicorn, path: str = "/health") -> Any:
    """What a server tells those who may see it."""
    return server.get(f"{path}?format=json").json()


def known(server: Gunicorn, which: str = "total") -> int:
    """How many servers of the fleet a server knows of; none before it has heard of any."""
    return int(details(server)["fleet"].get("servers", {}).get(which, 0))


def step_of(server: Gunicorn) -> Any:
    """The fleet step as a server tells it."""
    return details(server)["gate"]["steps"][0]


def test_one_worker_of_all_servers_runs_a_step(servers: Servers) -> None:
    """The others wait, and say for whom; then all are ready, and a later server finds it done."""
    servers.stage.order("migrate.wait")
    for _ in range(3):
        servers.add()
    (runner,) = eventually(lambda: servers.stage.pids("migrate.started"), why="one begins")
    others = [server for server in servers.all if runner not in server.workers()]
    assert len(others) == 2
    eventually(lambda: "runs it for the fleet" in step_of(others[0]).get("note", ""))
    assert servers.codes() == [503] * 3
    servers.stage.withdraw("migrate.wait")
    servers.answer(200)
    servers.add("--worker-class", "gthread", "--threads", "2")
    servers.answer(200)
    assert servers.stage.pids("migrate.started") == [runner]
    assert len(servers.stage.pids("started")) == 8


@pytest.mark.parametrize("whole", [True, False], ids=["server", "worker"])
def test_a_runner_killed_in_the_middle_is_replaced(servers: Servers, whole: bool) -> None:
    """Kill -9 of the server: another one runs it, after the lease; of the worker alone: too."""
    servers.stage.order("migrate.wait")
    servers.add()
    servers.add()
    (runner,) = eventually(lambda: servers.stage.pids("migrate.started"), why="one begins")
    (own,) = (server for server in servers.all if runner in server.workers())
    (other,) = (server for server in servers.all if server is not own)
    if whole:
        servers.all.remove(own)
        own.kill()
    else:
        own.kill(runner)
    runners = eventually(
        lambda: servers.stage.pids("migrate.started"), lambda pids: len(pids) == 2, why="another"
    )
    if whole:
        assert runners[1] in other.workers()
    servers.stage.withdraw("migrate.wait")
    servers.answer(200)
    first, second = map(int, servers.stage.facts("migrate.number"))
    assert second > first
    assert len(servers.stage.pids("migrate.finished")) == 1


def test_a_clock_that_is_wrong_does_not_matter(servers: Servers, redis: Redis) -> None:
    """Ten minutes late and ten minutes early: leases, ages and results are by the store's clock."""
    servers.stage.order("migrate.wait")
    early, late, right = servers.add(SKEW=600), servers.add(SKEW=-600), servers.add()
    eventually(lambda: servers.stage.pids("migrate.started"), why="one begins")
    time.sleep(4.0)  # longer than the lease
    assert len(servers.stage.pids("migrate.started")) == 1
    servers.stage.withdraw("migrate.wait")
    servers.answer(200)
    for server in (early, late, right):
        eventually(
            lambda server=server: known(server, "ready"),  # type: ignore[misc]
            lambda ready: ready == 3,
        )
    servers.stage.order("shared.fail")
    servers.answer(503)
    servers.stage.withdraw("shared.fail")
    servers.answer(200)
    with client(redis.url) as asked:
        now = int(asked.time()[0])
        seen = [float(at) / 1000 for _, at in asked.zrange(servers_key(), 0, -1, withscores=True)]
    assert all(abs(now - at) < 5 for at in seen)


def servers_key() -> str:
    """The key that knows all servers."""
    return "flask-health:{shop}:servers"


def test_redis_hung_gone_and_empty_turns_nothing_red(servers: Servers, redis: Redis) -> None:
    """Probes answer as before, and as fast; the details say what is wrong, then nothing."""
    one, two = servers.add(), servers.add("--worker-class", "gthread", "--threads", "4")
    servers.answer(200)
    with ExitStack() as stack:
        probers = [stack.enter_context(server.prober(every=0.02)) for server in (one, two)]
        with redis.frozen():
            eventually(lambda: details(one).get("notes"), why="it says so")
            time.sleep(3.0)
        eventually(lambda: not details(one).get("notes"), why="it answers again")
        redis.kill()
        eventually(lambda: details(two).get("notes"), why="it says so")
        time.sleep(3.0)
        redis.start()
        eventually(lambda: not details(two).get("notes"), why="it is back")
        eventually(lambda: known(two), lambda total: total == 2)
    for prober in probers:
        assert prober.codes() == {200}
        assert prober.slowest() < 1.0


@pytest.mark.parametrize("kind", [Redis6, Valkey, TLSRedis, Cluster])
def test_every_kind_of_store_serves_a_fleet(kind: Any, serve: Serve, tmp_path: Path) -> None:
    """The oldest Redis, Valkey, one with TLS, a cluster of which one node is named; gevent too."""
    with kind() as store:
        servers = Servers(serve, Stage(tmp_path / "stage"), store.url)
        one, _ = servers.add(), servers.add("--worker-class", "gevent")
        servers.answer(200)
        eventually(lambda: known(one, "ready"), lambda ready: ready == 2)
        assert len(servers.stage.pids("migrate.started")) == 1
        assert details(one, "/health/fleet")["store"] == "ok"
        servers.stage.order("shared.fail")
        servers.answer(503)
        servers.stage.withdraw("shared.fail")
        servers.answer(200)


def test_a_slow_store_slows_nothing_else(servers: Servers, redis: Redis) -> None:
    """Each answer takes it half a second: setup waits a little longer, probes do not at all."""
    with Slow(redis.port, 0.25) as line:
        url = redis.url.replace(str(redis.port), str(line.port))
        one = servers.add(FLASK_HEALTH_FLEET_URL=url)
        servers.add(FLASK_HEALTH_FLEET_URL=url)
        servers.answer(200)
        with one.prober(every=0.02) as prober:
            eventually(lambda: known(one, "ready"), lambda n: n == 2)
            prober.sees(100)
        assert prober.codes() == {200}
        assert prober.slowest() < 0.5
        assert len(servers.stage.pids("migrate.started")) == 1


def test_one_worker_of_each_server_asks(servers: Servers, redis: Redis) -> None:
    """The one that runs the checks; when it is killed another one does, under the same name."""
    server = servers.add(workers=3)
    servers.answer(200)
    with client(redis.url) as asked:

        def connected() -> int:
            return len([c for c in asked.client_list() if "evalsha" in c["cmd"]])

        eventually(connected, lambda number: number == 1)
        before = asked.zrange(servers_key(), 0, -1)
        (leader,) = {int(pid) for pid in servers.stage.facts("shared")[-1:]}
        server.kill(leader)
        runs = len(servers.stage.facts("shared"))
        eventually(lambda: len(servers.stage.facts("shared")) > runs, why="another one checks")
        eventually(connected, lambda number: number == 1)
        assert asked.zrange(servers_key(), 0, -1) == before
        assert servers.codes() == [200]


def test_panic_keeps_all_workers_of_all_servers_in(servers: Servers) -> None:
    """Three of five fail: all serve, whichever worker is asked."""
    env: Any = {"FLASK_HEALTH_FLEET_PANIC": "0.5", "FLASK_HEALTH_FLEET_PANIC_MIN": "5"}
    for _ in range(5):
        servers.add(**env)
    servers.answer(200)
    servers.stage.order("fail.0", "fail.1")
    servers.answer(503, 503, 200, 200, 200)
    servers.stage.order("fail.2")
    servers.answer(200)
    for server in servers.all[:3]:
        for _ in range(6):
            seen = details(server)
            assert seen["status"] == "warn"
    eventually(lambda: details(servers.all[4])["fleet"].get("panic"), why="all know")
    servers.stage.withdraw("fail.2")
    servers.answer(503, 503, 200, 200, 200)


def test_a_server_that_stops_says_so(servers: Servers) -> None:
    """It leaves the aggregate at once, not after the silence of one that was killed; a reload of
    its workers does not.
    """
    one, two = servers.add(), servers.add()
    servers.answer(200)
    eventually(lambda: known(one), lambda total: total == 2)
    two.signal(signal.SIGHUP)
    eventually(lambda: len(servers.stage.pids("started")), lambda number: number == 6)
    servers.answer(200)
    assert known(one) == 2
    servers.all.remove(two)
    two.stop()
    eventually(
        lambda: known(one),
        lambda total: total == 1,
        within=STALE_AFTER / 2,
    )


@pytest.mark.parametrize("number", range(ROUNDS))
def test_whatever_happens_at_any_moment(servers: Servers, redis: Redis, number: int) -> None:
    """A runner is killed while the store hangs: the step ends well once the faults are over, no two
    run it at a time, and every server becomes ready.
    """
    moment = random.Random(number)
    servers.stage.order("migrate.wait")
    for _ in range(3):
        servers.add(workers=1)
    (runner,) = eventually(lambda: servers.stage.pids("migrate.started"), why="one begins")
    (own,) = (server for server in servers.all if runner in server.workers())
    time.sleep(moment.uniform(0, 2))
    with redis.frozen():
        time.sleep(moment.uniform(0, 2))
        servers.all.remove(own)
        own.kill()
        time.sleep(moment.uniform(0, 2))
    time.sleep(moment.uniform(0, 4))
    servers.stage.withdraw("migrate.wait")
    servers.answer(200)
    started = servers.stage.pids("migrate.started")
    assert len(started) == 2
    assert servers.stage.pids("migrate.finished") == started[1:]


def test_twenty_servers_that_start_at_once_run_a_step_once(servers: Servers) -> None:
    """And all of them are ready after it."""
    for _ in range(20):
        servers.add(workers=1, LEASE="15")
    servers.answer(200, within=120.0)
    assert len(servers.stage.pids("migrate.started")) == 1
    total = eventually(lambda: known(servers.all[0], "ready"), lambda ready: ready == 20)
    assert total == 20
