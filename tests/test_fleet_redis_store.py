"""Asking the store: every kind of Redis, and a clear reason when one does not answer."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from support.backends import SECRET, Redis
from support.environment import free_port
from support.stores import MAKES, Cluster, Cluster6, ClusterOfValkey, Slow, TLSRedis, client
from support.waiting import eventually

from flask_health import ConfigError, HealthCheck
from flask_health.fleet import store as stores
from flask_health.fleet.keys import Keys
from flask_health.fleet.lease import Lease
from flask_health.fleet.store import LONGEST_PAUSE, Store, StoreError

KEYS = Keys("shop")


@pytest.fixture(scope="module", params=MAKES)
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A store of this module's."""
    with request.param() as found:
        yield found


@contextmanager
def asked(url: str, patience: float = 1.0) -> Iterator[Store]:
    """A store, closed at the end."""
    store = Store(url, patience)
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("kind", [*MAKES, TLSRedis, Cluster, Cluster6, ClusterOfValkey])
def test_every_kind_is_asked_by_the_same_url(kind: Callable[[], Any]) -> None:
    """With a password, with TLS, and a cluster of three that is told by the answer of one node."""
    with kind() as found, asked(found.url) as store:
        for service in ("shop", "stock", "mail", "search"):  # In a cluster: on other nodes.
            lease = Lease(store, Keys(service), "1.0", "migrate", "a")
            assert lease.claim(True, 3).state == "yours"
            assert lease.tell("done")
            step = Keys(service).step("1.0", "migrate")
            (row, nothing) = store.rows([step, step + "x"])
            assert row["state"] == "done"
            assert nothing == {}


def test_a_unix_socket_is_asked_too(server: Redis) -> None:
    """With the password in the URL, as redis-py writes it."""
    with asked(f"unix://:{SECRET}@{server.path}") as store:
        assert store.command("PING")


def problem_of(url: str, patience: float = 0.5) -> str:
    """Why a store cannot be asked."""
    with asked(url, patience) as store:
        with pytest.raises(StoreError) as raised:
            store.command("HGETALL", KEYS.members)
        assert store.problem == str(raised.value)
        return store.problem


def test_a_wrong_password_is_said_and_not_shown(
    server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """One error in the log, without the password that was tried."""
    url = f"redis://:guess-of-mine@127.0.0.1:{server.port}/0"
    with asked(url) as store:
        for _ in range(3):
            with pytest.raises(StoreError, match="wrong user or password"):
                store.command("PING")
    assert len(caplog.records) == 1
    assert "guess-of-mine" not in caplog.text
    assert "wrong user or password" in problem_of(f"redis://127.0.0.1:{server.port}/0")


def test_a_user_who_may_not_is_said(server: Redis) -> None:
    """Also where it may not even ask which version it talks to."""
    with client(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "poor", "on", ">poor-pw", "+@connection")
        assert "lacks permission" in problem_of(f"redis://poor:poor-pw@127.0.0.1:{server.port}/0")


def test_the_least_permissions_suffice(server: Redis) -> None:
    """What the documentation gives to a user of its own: our keys, and no INFO."""
    with client(server.url) as admin:
        admin.execute_command(
            *"ACL SETUSER just on >just-pw ~flask-health:* +@connection +@hash +@sortedset".split(),
            *"+@stream +@scripting +del +exists +pexpire +time".split(),
        )
    with asked(f"redis://just:just-pw@127.0.0.1:{server.port}/0") as store:
        lease = Lease(store, KEYS, "9.0", "migrate", "a")
        assert lease.claim(True, 3).state == "yours"
        assert lease.tell("done")


def test_the_least_permissions_suffice_in_a_cluster() -> None:
    """With the two more that a cluster needs, on whichever node a service is."""
    with Cluster() as cluster:
        for node in cluster.nodes:
            with client(node.url) as admin:
                rules = "~flask-health:* +@connection +@hash +@sortedset +@stream +@scripting"
                rules += " +del +exists +pexpire +time +info +cluster|slots"
                admin.execute_command(*f"ACL SETUSER just on >just-pw {rules}".split())
        with asked(f"redis://just:just-pw@127.0.0.1:{cluster.nodes[0].port}/0") as store:
            for service in ("shop", "stock", "mail", "search"):
                lease = Lease(store, Keys(service), "1.0", "migrate", "a")
                assert lease.claim(True, 3).state == "yours"


def test_a_cluster_that_is_gone_is_said() -> None:
    """As with any store: who asks is told why, whether it was connected before or not."""
    with Cluster() as cluster, asked(cluster.url) as store:
        step = KEYS.step("1.0", "migrate")
        assert store.rows([step]) == [{}]
        for node in cluster.nodes:
            node.kill()
        for _ in range(3):
            with pytest.raises(StoreError, match="refused"):
                store.rows([step])
        for node in cluster.nodes:
            node.start()
        eventually(lambda: finds(store, step), why="it answers again")


def finds(store: Store, key: str) -> bool:
    """Whether a store looks for a key now."""
    try:
        return bool(store.rows([key]))
    except StoreError:
        return False


def test_a_master_that_is_one_no_more_is_left(server: Redis) -> None:
    """Its address leads to the new one: it is connected to anew, whatever is open still works."""
    with Redis() as old, Redis() as new, Slow(old.port, 0.0) as line:
        with asked(f"redis://:{SECRET}@127.0.0.1:{line.port}/0") as store:
            lease = Lease(store, KEYS, "1.0", "migrate", "a")
            assert lease.claim(True, 3).state == "yours"
            with client(old.url) as admin:
                admin.config_set("masterauth", SECRET)
                admin.replicaof("127.0.0.1", new.port)
            line._target = new.port
            with pytest.raises(StoreError, match="it is a replica"):
                lease.claim(True, 3)
            assert lease.claim(True, 3).state == "yours"


def test_nobody_there_is_said() -> None:
    """Refused at once."""
    port = free_port()
    assert str(port) in problem_of(f"redis://127.0.0.1:{port}/0")


def test_one_that_hangs_takes_no_longer_than_it_may(server: Redis) -> None:
    """A store that accepts and says nothing: one patience for the connection, one for an answer."""
    with asked(server.url, patience=0.3) as store:
        store.command("PING")
        with server.frozen():
            began = time.monotonic()
            with pytest.raises(StoreError, match="no answer in time"):
                store.command("PING")
            assert time.monotonic() - began < 1.0
        eventually(lambda: answers(store), why="it answers again")


def answers(store: Store) -> bool:
    """Whether a store answers now."""
    try:
        return bool(store.command("PING"))
    except StoreError:
        return False


def test_a_slow_line_is_waited_for(server: Redis) -> None:
    """Slower than a beat and within the patience: that is an answer."""
    with Slow(server.port, 0.05) as line:
        with asked(f"redis://:{SECRET}@127.0.0.1:{line.port}/0") as store:
            assert store.command("PING")
            line.delay = 2.0
            with pytest.raises(StoreError):
                store.command("PING")
            line.delay = 0.0
            eventually(lambda: answers(store), why="it answers again")


def test_a_store_that_comes_back_is_found(server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Killed and restarted empty: scripts are told again, and each edge is logged once."""
    with Redis() as own, asked(own.url) as store, caplog.at_level(logging.INFO):
        assert Lease(store, KEYS, "1.0", "migrate", "a").claim(True, 3).state == "yours"
        own.kill()
        for _ in range(3):
            assert not answers(store)
        own.start()
        assert Lease(store, KEYS, "1.0", "migrate", "b").claim(True, 3).state == "yours"
    edges = [record.getMessage() for record in caplog.records]
    assert sum("cannot be asked" in line for line in edges) <= 2
    assert edges.count("the fleet store answers again") == 1


def test_it_is_asked_less_and_less_often() -> None:
    """Twice as long each time, up to five seconds, and never at the same moment as others."""
    with asked(f"redis://127.0.0.1:{free_port()}/0") as store:
        assert store.pause() == 0.0
        pauses = []
        for _ in range(6):
            assert not answers(store)
            pauses.append(max(store.pause() for _ in range(50)))
        for shorter, longer in itertools.pairwise(pauses):
            assert longer > min(1.5 * shorter, 0.9 * LONGEST_PAUSE)
        assert min(store.pause() for _ in range(50)) >= LONGEST_PAUSE / 2
        assert max(store.pause() for _ in range(50)) <= LONGEST_PAUSE


class Old:
    """Something that says it is an old Redis."""

    def __init__(self, version: str) -> None:
        self._version = version

    def info(self, section: str) -> dict[str, str]:
        return {"redis_version": self._version, "redis_mode": "standalone"}


@pytest.mark.parametrize("version", ["5.0.14", "2.8.24"])
def test_one_that_is_too_old_is_said(version: str) -> None:
    """With its version and the one that would do; Valkey says that it is a Redis 7.2."""
    with pytest.raises(StoreError, match=f"Redis {version} is too old: it must be 6.0 or newer"):
        stores._is_cluster(Old(version))
    assert not stores._is_cluster(Old("6.0.16"))
    assert not stores._is_cluster(Old("7.2.4"))


@pytest.mark.parametrize(
    "url",
    [
        "http://cache:6379",
        "cache:6379",
        "redis",
        "",
        "redis://cache:port/0",
        "redis://user:s3cret-of-mine@cache:6379/0?socket_timeout=soon",
        "redis://user:s3cret-of-mine/=@cache:6379/0",
        "redis://user:s3cret-of-mine?@cache:6379/0",
        "redis://user:12#s3cret-of-mine@cache:6379/0",
    ],
)
def test_a_wrong_url_is_said_by_init_app(url: str) -> None:
    """Before anything connects, and without the password in it."""
    app = Flask("shop")
    app.config.update(HEALTH_FLEET_URL=url)
    with pytest.raises(ConfigError, match="HEALTH_FLEET_URL") as raised:
        HealthCheck(app)
    assert "s3cret-of-mine" not in str(raised.value)


def test_nothing_is_asked_before_setup_begins(server: Redis) -> None:
    """`init_app` opens no connection and starts no thread: it may run in a master that forks."""
    with client(server.url) as admin:
        before = admin.info("stats")["total_connections_received"], threading.active_count()
        app = Flask("shop")
        app.config.update(HEALTH_FLEET_URL=server.url)
        HealthCheck(app)
        after = admin.info("stats")["total_connections_received"], threading.active_count()
    assert after == before
