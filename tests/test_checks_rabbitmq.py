"""The `rabbitmq` check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kombu.connection import Connection
from support.backends import SECRET, RabbitMQ
from support.calls import failure, keeps_nothing, passes
from support.environment import free_port
from support.waiting import eventually

from flask_health.checks import rabbitmq
from flask_health.checks._rabbitmq import Length
from flask_health.exceptions import Degraded

connection: Any = Connection


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitMQ]:
    with RabbitMQ() as running:
        yield running


def _check(given: Any, **options: Any) -> rabbitmq:
    check = rabbitmq(given, **options)
    check.timeout = 5.0
    return check


@pytest.fixture
def queue(server: RabbitMQ) -> Iterator[str]:
    """A queue in which 3 messages wait."""
    with connection(server.url) as opened:
        found = opened.SimpleQueue("orders")
        for number in range(3):
            found.put(number)
        channel = opened.default_channel
        eventually(
            lambda: channel.queue_declare("orders", passive=True).message_count,
            lambda length: length == 3,
        )
        yield "orders"
        channel.queue_delete("orders")
        found.close()


def test_length_of_a_queue_is_observed(server: RabbitMQ, queue: str) -> None:
    """The messages that wait; looking takes none away."""
    check = _check(server.url, queue=queue)
    assert check.measurement == "queueLength"
    assert [check(), check()] == [(3, "messages")] * 2


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_length": 3, "warn_length": 3}, None, ""),
        ({"max_length": 2}, RuntimeError, "3 messages wait in queue 'orders', more than 2"),
        ({"max_length": 9, "warn_length": 2}, Degraded, "wait in queue 'orders', more than 2"),
        ({"warn_after": 1e-9}, Degraded, "answered after .* s, more than 1e-09 s"),
    ],
)
def test_thresholds(
    server: RabbitMQ,
    queue: str,
    options: dict[str, Any],
    error: type[Exception] | None,
    words: str,
) -> None:
    """The threshold itself is fine."""
    check = _check(server.url, queue=queue, **options)
    if error is None:
        assert check() == (3, "messages")
        return
    with pytest.raises(error, match=words):
        check()


def test_silence_after_connecting_is_told_in_time(
    server: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker stops between the handshake and the question."""
    ask = Length.of

    def stop_and_ask(length: Length, opened: Any) -> int:
        opened.channel().close()
        with server.frozen():
            return ask(length, opened)

    monkeypatch.setattr(Length, "of", stop_and_ask)
    assert isinstance(failure(_check(server.url, queue=queue)), TimeoutError)


def test_missing_queue_is_told(server: RabbitMQ) -> None:
    """It is looked at, not declared."""
    check = _check(server.url, queue="nowhere")
    for _ in range(2):
        assert "no queue 'nowhere' in vhost '/'" in str(failure(check))


def test_wrong_password_is_told_without_it(server: RabbitMQ) -> None:
    """The broker says who was refused."""
    url = server.url.replace(SECRET, "wrong-password")
    told = str(failure(_check(url)))
    assert "ACCESS_REFUSED" in told
    assert "wrong-password" not in told


@pytest.mark.parametrize("ends", ["passes", "refused", "no queue", "wrong password"])
def test_50_calls_leave_nothing_behind(server: RabbitMQ, ends: str) -> None:
    """However they end: no connection stays open."""
    url = server.url
    if ends == "refused":
        url = url.replace(str(server.port), str(free_port()))
    if ends == "wrong password":
        url = url.replace(SECRET, "wrong-password")
    check = _check(url, queue="nowhere" if ends == "no queue" else None)
    assert passes(check) is (ends == "passes")
    keeps_nothing(check)


def test_given_connection_is_left_alone(server: RabbitMQ) -> None:
    """It is not for two threads: the check opens one of its own, and closes it."""
    with connection(server.url) as own:
        seconds, unit = _check(own)()
        assert 0 < seconds < 5
        assert unit == "s"
        assert not own.connected


def test_follows_a_server_that_stops_dies_and_returns(server: RabbitMQ) -> None:
    """A stopped broker is told as such in time. The last test: a broker starts slowly."""
    check = _check(server.url)
    check()
    with server.frozen():
        assert isinstance(told := failure(check), TimeoutError)
        place = f"RabbitMQ at amqp://guest:**@127.0.0.1:{server.port}//"
        assert f"{place}: no answer after " in str(told)
    eventually(lambda: passes(check), within=60)
    server.kill()
    assert "refused" in str(failure(check))
    server.start()
    eventually(lambda: passes(check), within=60)


@pytest.mark.parametrize(
    ("given", "options", "error", "words"),
    [
        (5672, {}, TypeError, "must be a kombu.Connection or a URL, not a int"),
        ("nothing://u:pw@host", {}, ValueError, "is not a URL that kombu knows"),
        ("memory://", {}, ValueError, "must be AMQP, not memory"),
        ("amqp://", {"max_length": 1}, ValueError, "need 'queue'"),
        ("amqp://", {"queue": "q", "max_length": -1}, ValueError, "'max_length' must be at least"),
        ("amqp://", {"queue": "q", "warn_length": 1.5}, TypeError, "'warn_length' must be a whole"),
        (
            "amqp://",
            {"queue": "q", "warn_length": 2, "max_length": 1},
            ValueError,
            r"'warn_length' \(2\) must not exceed 'max_length' \(1\)",
        ),
    ],
)
def test_wrong_arguments(
    given: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words) as caught:
        rabbitmq(given, **options)
    assert "pw" not in str(caught.value)
