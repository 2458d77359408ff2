"""The `tcp` check, with memcached."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.backends import Memcached
from support.calls import failure, keeps_nothing, passes
from support.environment import free_port
from support.waiting import eventually

from flask_health.checks import tcp
from flask_health.exceptions import Degraded


@pytest.fixture(scope="module")
def server() -> Iterator[Memcached]:
    with Memcached() as running:
        yield running


def _check(port: int, **options: Any) -> tcp:
    check = tcp("127.0.0.1", port, **options)
    check.timeout = 2.0
    return check


def test_follows_a_server_that_stops_dies_and_returns(server: Memcached) -> None:
    """An expected answer shows what an accepted connection does not: that it is alive."""
    accepts = _check(server.port)
    speaks = _check(server.port, send=b"version\r\n", expect=b"VERSION")
    for check in accepts, speaks:
        seconds, unit = check()
        assert 0 < seconds < check.timeout
        assert unit == "s"
    with server.frozen():
        accepts()  # by the kernel
        assert isinstance(told := failure(speaks), TimeoutError)
        assert f"127.0.0.1:{server.port}: no answer after " in str(told)
    eventually(lambda: passes(speaks))
    server.kill()
    assert "refused" in str(failure(accepts))
    server.start()
    accepts()


def test_50_calls_leave_nothing_behind(server: Memcached) -> None:
    """However they end: no connection stays open."""
    for port, expect, passed in (
        (server.port, b"VERSION", True),
        (server.port, b"220", False),
        (free_port(), b"", False),
    ):
        check = _check(port, send=b"version\r\n", expect=expect)
        assert passes(check) is passed
        keeps_nothing(check)


def test_other_answer_is_told(server: Memcached) -> None:
    """With what was expected."""
    check = _check(server.port, send=b"version\r\n", expect=b"220")
    assert "expected b'220', got b'VER'" in str(failure(check))


def test_every_address_is_tried() -> None:
    """`localhost` may be two addresses of which one is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tcp("localhost", listener.getsockname()[1])()


def test_ipv6_address_is_told_in_brackets() -> None:
    """As in a URL."""
    port = free_port()
    assert f"[::1]:{port}: " in str(failure(tcp("::1", port)))


def test_unknown_name_is_told() -> None:
    """With the name, so that a typo is seen. (`.invalid` exists nowhere, by RFC 2606.)"""
    check = tcp("no-such-host.invalid", 80)
    check.timeout = 60.0  # looking a name up takes as long as the system lets it
    assert "no-such-host.invalid:80: " in str(failure(check))


def test_slow_answer_is_degraded(server: Memcached) -> None:
    """Beyond `warn_after` it works, but badly."""
    with pytest.raises(Degraded, match="more than 1e-09 s"):
        _check(server.port, warn_after=1e-9)()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"host": 1}, TypeError, "'host' must be a str"),
        ({"port": True}, TypeError, "'port' must be a whole number"),
        ({"expect": "220"}, TypeError, "must be bytes"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        tcp(**{"host": "localhost", "port": 80, **options})
