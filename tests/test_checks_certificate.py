"""The `certificate` check, with TLS servers whose certificates the tests make."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.calls import failure, keeps_nothing, passes
from support.certificates import Authority
from support.environment import free_port

from flask_health.checks import certificate
from flask_health.exceptions import Degraded


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def showing(context: ssl.SSLContext) -> Iterator[int]:
    """A server that shakes hands and hangs up; tells its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), connection:
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _check(authority: Authority, port: int, **options: Any) -> certificate:
    check = certificate("127.0.0.1", port, **{"context": authority.client(), **options})
    check.timeout = 2.0
    return check


def test_days_left_are_observed(authority: Authority) -> None:
    """Of the server's certificate, not of the authority's."""
    with showing(authority.server("127.0.0.1", days=50)) as port:
        days, unit = _check(authority, port)()
    assert 49.99 < days < 50.01
    assert unit == "days"


@pytest.mark.parametrize(
    ("days", "options", "error", "words"),
    [
        (13.9, {}, Degraded, r"13\.9 days left, until 20..-..-.., fewer than 14"),
        (20, {"warn_days": 21}, Degraded, "fewer than 21"),
        (6.9, {"fail_days": 7}, ConnectionError, r"6\.9 days left, .* fewer than 7"),
        (-2, {}, ConnectionError, "not accepted: certificate has expired"),
        (0.5, {}, Degraded, r"0\.5 days left"),
    ],
)
def test_few_days(
    authority: Authority, days: float, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Few days warn; fewer, or none, fail."""
    with showing(authority.server("127.0.0.1", days=days)) as port:
        with pytest.raises(error, match=words) as caught:
            _check(authority, port, **options)()
        assert f"certificate of 127.0.0.1 at 127.0.0.1:{port}: " in str(caught.value)


def test_other_name(authority: Authority) -> None:
    """The name asked for must be in it; it need not be the host connected to."""
    with showing(authority.server("www.example", days=50)) as port:
        _check(authority, port, server_name="www.example")()
        assert "not accepted: IP address mismatch" in str(failure(_check(authority, port)))


def test_unknown_authority(authority: Authority) -> None:
    """What clients refuse fails, however long it is valid."""
    with showing(authority.server("127.0.0.1")) as port:
        assert "not accepted: " in str(failure(_check(authority, port, context=None)))


def test_follows_a_server_that_is_silent_or_gone(authority: Authority) -> None:
    """Silence is told in time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = failure(_check(authority, listener.getsockname()[1]))
        assert isinstance(told, TimeoutError)
    assert "refused" in str(failure(_check(authority, free_port())))


def test_50_calls_leave_nothing_behind(authority: Authority) -> None:
    """However they end: no connection stays open."""
    with showing(authority.server("127.0.0.1", days=50)) as port:
        accepted, unknown = _check(authority, port), _check(authority, port, context=None)
        refused = _check(authority, free_port())
        for check in accepted, unknown, refused:
            assert passes(check) is (check is accepted)
            keeps_nothing(check)


def test_other_protocol_is_told(authority: Authority, tmp_path: Path) -> None:
    """A server that does not speak TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(b"220 mail\r\n")
                connection.recv(1024)

        thread = threading.Thread(target=run)
        thread.start()
        assert "SSL" in str(failure(_check(authority, listener.getsockname()[1])))
        thread.join()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"host": ""}, ValueError, "'host' must not be empty"),
        ({"port": "443"}, TypeError, "'port' must be a whole number"),
        ({"port": 0}, ValueError, "'port' must be at least 1"),
        ({"port": 65536}, ValueError, "'port' must be at most 65535"),
        ({"warn_days": 3, "fail_days": 4}, ValueError, r"between 0 and 'warn_days' \(3\), not 4"),
        ({"fail_days": -1}, ValueError, "not -1"),
        ({"context": ssl._create_unverified_context()}, TypeError, "must be a verifying"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        certificate(**{"host": "localhost", **options})
