"""The `memcached` check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from support.backends import Memcached
from support.calls import failure, keeps_nothing, passes
from support.environment import free_port
from support.waiting import eventually

from flask_health.checks import memcached
from flask_health.exceptions import Degraded


@pytest.fixture(scope="module")
def server() -> Iterator[Memcached]:
    with Memcached() as running:
        yield running


def _check(client: Any, **options: Any) -> memcached:
    check = memcached(client, **options)
    check.timeout = 2.0
    return check


CLIENTS: dict[str, Callable[[tuple[str, int]], Any]] = {
    "Client": Client,
    "PooledClient": PooledClient,
    "HashClient": lambda at: HashClient([at]),
    "HashClient of pools": lambda at: HashClient([at], use_pooling=True),
}


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
def test_follows_a_server_that_stops_dies_and_returns(
    server: Memcached, make: Callable[[tuple[str, int]], Any]
) -> None:
    """A stopped server is told as such in time, on an idle connection and on a new one."""
    client = make(("127.0.0.1", server.port))
    check = _check(client)
    seconds, unit = check()
    assert 0 < seconds < check.timeout
    assert unit == "s"
    with server.frozen():
        for _ in "idle", "new":
            assert isinstance(told := failure(check), TimeoutError)
            assert f"memcached at 127.0.0.1:{server.port}: no answer after " in str(told)
    eventually(lambda: passes(check))
    server.kill()
    failure(check)  # of a pool: the connection that the server closed
    assert "refused" in str(failure(check))
    server.start()
    eventually(lambda: passes(check))
    client.close()


@pytest.mark.parametrize("passed", [True, False], ids=["passes", "refused"])
@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
def test_50_calls_leave_nothing_behind(
    server: Memcached, make: Callable[[tuple[str, int]], Any], passed: bool
) -> None:
    """However they end: no connection stays open but the one of a pool."""
    client = make(("127.0.0.1", server.port if passed else free_port()))
    check = _check(client)
    assert passes(check) is passed
    keeps_nothing(check)
    client.close()


def test_pool_lends_one_connection(server: Memcached) -> None:
    """It is back there, as patient as it was."""
    client = PooledClient(("127.0.0.1", server.port), timeout=33, connect_timeout=34)
    check = _check(client)
    for _ in range(3):
        check()
    assert not client.client_pool.used
    (one,) = client.client_pool.free
    assert (one.timeout, one.connect_timeout) == (33, 34)
    assert one.sock.gettimeout() == 33
    client.close()


def test_full_pool_is_told(server: Memcached) -> None:
    """It works again when a connection is back."""
    client = PooledClient(("127.0.0.1", server.port), max_pool_size=1)
    check = _check(client)
    with client.client_pool.get_and_release():
        assert "Too many objects" in str(failure(check))
    check()
    client.close()


def test_plain_client_is_left_alone(server: Memcached) -> None:
    """It is not for two threads: the check never touches its connection."""
    client = Client(("127.0.0.1", server.port))
    check = _check(client)
    check()
    assert client.sock is None
    client.set("key", "value")
    before, open_before = client.sock, client.stats()[b"curr_connections"]
    check()
    assert client.sock is before
    eventually(lambda: client.stats()[b"curr_connections"] == open_before, why="its own is closed")
    client.close()


def test_each_server_is_asked(server: Memcached) -> None:
    """The one that is gone is named."""
    gone = free_port()
    client = HashClient([("127.0.0.1", server.port), ("127.0.0.1", gone)])
    assert f"memcached at 127.0.0.1:{gone}: " in str(failure(_check(client)))
    client.close()


def test_slow_answer_is_degraded(server: Memcached) -> None:
    """Beyond `warn_after` it works, but badly."""
    with pytest.raises(Degraded, match="more than 1e-09 s"):
        _check(Client(("127.0.0.1", server.port)), warn_after=1e-9)()


@pytest.mark.parametrize(
    ("client", "error", "words"),
    [
        ("localhost:11211", TypeError, "of pymemcache, not a str"),
        (HashClient([]), ValueError, "'client' has no servers"),
    ],
)
def test_wrong_arguments(client: Any, error: type[Exception], words: str) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        memcached(client)
