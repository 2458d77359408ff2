"""The `redis` check."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as driver
import redis.asyncio
from redis.sentinel import Sentinel
from support.backends import SECRET, Redis, RedisSentinel
from support.calls import failure, keeps_nothing, passes
from support.environment import free_port
from support.waiting import eventually

from flask_health.checks import redis as redis_check
from flask_health.exceptions import Degraded


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with Redis() as running:
        yield running


Client = Callable[..., Any]


@pytest.fixture
def client(server: Redis) -> Iterator[Client]:
    """Make clients of the server; their connections end with the test."""

    def make(**options: Any) -> Any:
        settings = {"host": "127.0.0.1", "port": server.port, "password": SECRET, **options}
        made: Any = driver.Redis(**settings)
        stack.callback(made.connection_pool.disconnect)
        return made

    with contextlib.ExitStack() as stack:
        yield make


def _check(client: Any, **options: Any) -> redis_check:
    check = redis_check(client, **options)
    check.timeout = 2.0
    return check


@pytest.mark.parametrize("options", [{}, {"socket_timeout": None}, {"protocol": 3}])
def test_follows_a_server_that_stops_dies_and_returns(
    server: Redis, client: Client, options: dict[str, Any]
) -> None:
    """A stopped server is told as such in time, whatever the client's own timeouts are."""
    check = _check(client(**options))
    seconds, unit = check()
    assert 0 < seconds < check.timeout
    assert unit == "s"
    with server.frozen():
        for _ in "idle", "new":
            told = failure(check)
            assert isinstance(told, TimeoutError)
            assert f"Redis at 127.0.0.1:{server.port}: no answer after " in str(told)
    eventually(lambda: passes(check))
    server.kill()
    assert "refused" in str(failure(check))
    server.start()
    eventually(lambda: passes(check))


def test_uses_one_connection_of_the_pool(client: Client) -> None:
    """It is there before and after, and as patient as it was."""
    own = client(socket_timeout=33)
    check = _check(own)
    check()
    own.client_setname("the-pools")
    for _ in range(3):
        check()
    assert [found["name"] for found in own.client_list()].count("the-pools") == 1
    with own.client() as single:
        connection: Any = single.connection
        assert connection.socket_timeout == 33
        assert connection._sock.gettimeout() == 33
    eventually(own.client_list, lambda found: len(found) == 1, why="nothing else stays open")


@pytest.mark.parametrize(
    ("options", "passed"), [({}, True), ({"port": 0}, False), ({"password": "wrong"}, False)]
)
def test_50_calls_leave_nothing_behind(
    client: Client, options: dict[str, Any], passed: bool
) -> None:
    """However they end: no connection stays open, none is missing from the pool."""
    if "port" in options:
        options = {"port": free_port()}
    check = _check(client(max_connections=1, **options))
    assert passes(check) is passed
    keeps_nothing(check)


class Deaf(driver.Connection):
    """A connection of the app's on which no answer comes within the check's time."""

    def can_read(self, timeout: float = 0) -> bool:
        return self.socket_timeout != 33 and super().can_read(timeout)


def test_late_answer_is_nobody_elses(server: Redis) -> None:
    """A connection that owes an answer is not lent again: the next question would get it."""
    settings: Any = {"host": "127.0.0.1", "port": server.port, "password": SECRET}
    pool = driver.ConnectionPool(connection_class=Deaf, socket_timeout=33, **settings)
    own: Any = driver.Redis(connection_pool=pool)
    assert isinstance(failure(_check(own)), TimeoutError)
    assert own.echo("mine") == b"mine"
    pool.disconnect()


def test_full_pool_is_told(client: Client) -> None:
    """A pool that lends no more connections fails, and works again when one is back."""
    own = client(max_connections=1)
    check = _check(own)
    with own.client():
        assert "Too many connections" in str(failure(check))
    check()


def test_unix_socket(server: Redis, client: Client) -> None:
    """The message names the path."""
    check = _check(client(unix_socket_path=server.path))
    check()
    with server.frozen():
        assert f"Redis at {server.path}: no answer" in str(failure(check))


def test_sentinel(server: Redis) -> None:
    """The client of a Sentinel is checked like any other; the message names the service."""
    with RedisSentinel(server) as sentinel:
        make: Any = Sentinel
        watching = make([("127.0.0.1", sentinel.port)], socket_timeout=10)
        check = _check(watching.master_for("main", password=SECRET))
        eventually(lambda: passes(check))
        with server.frozen():
            assert "Redis main: no answer" in str(failure(check))
        eventually(lambda: passes(check))


def test_wrong_password_is_told(client: Client) -> None:
    """In Redis' own words."""
    check = _check(client(password="wrong-password"))
    told = str(failure(check))
    assert "invalid username-password pair" in told
    assert "wrong-password" not in told


def test_refused_writes_are_told(server: Redis, client: Client) -> None:
    """A Redis that cannot save refuses writes, and PING with them."""
    own = client()
    check = _check(own)
    own.config_set("save", "3600 1")
    dump = server.home / "dump.rdb"
    dump.mkdir()  # in the way of the file
    own.bgsave()
    eventually(lambda: not passes(check), why="the snapshot fails")
    assert "RDB snapshots" in str(failure(check))
    dump.rmdir()
    own.save()
    check()


def test_slow_answer_is_degraded(client: Client) -> None:
    """Beyond `warn_after` it works, but badly."""
    own = client()
    check = _check(own, warn_after=0.5)
    check.timeout = 10.0
    check()
    own.client_pause(1500, all=True)
    with pytest.raises(Degraded, match="more than 0.5 s"):
        check()


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ("redis://localhost", "must be a redis.Redis, not a str"),
        (redis.asyncio.Redis(), "not one of redis.asyncio"),
    ],
)
def test_wrong_arguments(client: Any, words: str) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(TypeError, match=words):
        redis_check(client)
