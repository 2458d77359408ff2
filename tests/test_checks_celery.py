"""The `celery` check, with a worker, and with Redis or RabbitMQ for a broker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from support.backends import SECRET, Backend, RabbitMQ, Redis
from support.calls import failure, keeps_nothing, passes
from support.environment import free_port
from support.waiting import eventually

from flask_health.checks import celery
from flask_health.exceptions import Degraded


@pytest.fixture(scope="module")
def broker() -> Iterator[Redis]:
    with Redis() as running:
        yield running


@pytest.fixture
def app(broker: Redis) -> Iterator[Celery]:
    made = Celery("tasks", broker=broker.url, set_as_current=False)
    yield made
    made.close()


def _check(app: Celery, *args: Any, **options: Any) -> celery:
    check = celery(app, *args, **options)
    check.timeout = 4.0
    return check


class Worker(Backend):
    """A Celery worker that has no task."""

    user = ""  # the interpreter may be where another cannot reach it

    def __init__(self, broker: Redis | RabbitMQ) -> None:
        self.need = broker.need  # type: ignore[misc]
        super().__init__()
        self._url = broker.url

    def environment(self) -> dict[str, str]:
        return {"CELERY_BROKER_URL": self._url, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}

    def command(self) -> list[str]:
        words = "worker --pool=solo --without-gossip --without-mingle --loglevel=INFO"
        return [sys.executable, "-m", "celery", *words.split(), "--hostname=one@here"]

    def answers(self) -> bool:
        return "one@here ready." in self.log()


@pytest.fixture
def worker(broker: Redis) -> Iterator[Worker]:
    with Worker(broker) as running:
        yield running


def test_follows_a_worker_that_stops_dies_and_returns(app: Celery, worker: Worker) -> None:
    """Nobody answers, or somebody does."""
    check = _check(app)
    eventually(lambda: passes(check), within=60, why="the worker answers")
    assert check() == (1, "workers")
    silence = "0 of at least 1 Celery workers answered within"
    with worker.frozen():
        assert silence in str(failure(check))
    eventually(lambda: passes(check))
    two = _check(app, min_workers=2)
    assert str(failure(two)).startswith("1 of at least 2 Celery workers answered")
    worker.kill()
    assert silence in str(failure(check))
    worker.start()
    eventually(lambda: passes(check), within=60, why="the worker answers again")


def test_follows_a_broker_that_stops_dies_and_returns(app: Celery, broker: Redis) -> None:
    """It is told which broker, without its password."""
    check = _check(app, "orders", min_workers=0)
    app.send_task("sell", queue="orders")
    check()
    with broker.frozen():
        assert isinstance(told := failure(check), TimeoutError)
        assert "Celery's broker at redis://" in str(told)
        assert f"127.0.0.1:{broker.port}/0: no answer after " in str(told)
    eventually(lambda: passes(check))
    broker.kill()
    assert "refused" in str(failure(check))
    broker.start()
    app.send_task("sell", queue="orders")
    eventually(lambda: passes(check))


def test_50_calls_leave_nothing_behind(app: Celery, broker: Redis, worker: Worker) -> None:
    """However they end: no connection stays open, and no key for replies stays in Redis."""
    passing = _check(app, "empty")
    eventually(lambda: passes(passing), within=60, why="the worker answers")
    with app.connection_for_write() as connection:
        redis = connection.default_channel.client
        keys = redis.keys()
        keeps_nothing(passing)
        assert sorted(redis.keys()) == sorted(keys)


def test_50_refused_calls_leave_nothing_behind() -> None:
    """However they end: no connection stays open."""
    for url in (
        f"redis://:{SECRET}@127.0.0.1:{free_port()}/0",
        f"amqp://guest:{SECRET}@127.0.0.1:{free_port()}//",
    ):
        with Celery("tasks", broker=url, set_as_current=False) as app:
            check = _check(app)
            assert "refused" in str(failure(check))
            keeps_nothing(check)


def test_wrong_password_is_told_without_it(broker: Redis) -> None:
    """In the broker's own words."""
    url = broker.url.replace(SECRET, "wrong-password")
    with Celery("tasks", broker=url, set_as_current=False) as app:
        check = _check(app)
        told = str(failure(check))
        assert "invalid username-password pair" in told
        assert "wrong-password" not in told
        keeps_nothing(check)


def test_follows_a_worker_and_a_broker_that_is_rabbitmq() -> None:
    """The worker answers, the queue is counted; a broker that stops or dies is told in time."""
    with (
        RabbitMQ() as broker,
        Worker(broker) as worker,
        Celery("tasks", broker=broker.url, set_as_current=False) as app,
    ):
        answered, counted = _check(app), _check(app, "sales", min_workers=0)
        eventually(lambda: passes(answered), within=60, why="the worker answers")
        assert answered() == (1, "workers")
        keeps_nothing(answered)
        assert "no queue 'sales'" in str(failure(counted))
        app.send_task("sell", queue="sales")
        eventually(counted, lambda told: told == (1, "messages"), within=60)
        keeps_nothing(counted)
        worker.kill()
        assert "0 of at least 1 Celery workers answered" in str(failure(answered))
        with broker.frozen():
            assert isinstance(told := failure(counted), TimeoutError)
            assert f"broker at amqp://guest:**@127.0.0.1:{broker.port}//: no answer" in str(told)
        eventually(lambda: passes(counted), within=60, why="the broker answers again")
        broker.kill()
        assert "refused" in str(failure(counted))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, None, ""),
        ({"max_length": 2, "warn_length": 2}, None, ""),
        ({"max_length": 1}, RuntimeError, "2 messages wait in queue 'sales', more than 1"),
        ({"max_length": 2, "warn_length": 1}, Degraded, "2 messages wait in queue 'sales'"),
    ],
)
def test_length_of_a_queue_is_observed(
    app: Celery, options: dict[str, Any], error: type[Exception] | None, words: str
) -> None:
    """The messages that wait; the threshold itself is fine."""
    with app.connection_for_write() as connection:
        connection.default_channel.queue_purge("sales")
    for _ in range(2):
        app.send_task("sell", queue="sales")
    check = _check(app, "sales", min_workers=0, **options)
    assert check.measurement == "queueLength"
    if error is None:
        assert check() == (2, "messages")
        return
    with pytest.raises(error, match=words):
        check()


def test_empty_queue_on_redis_passes(app: Celery) -> None:
    """Redis knows no empty queue: it is not there when its last message is taken."""
    assert _check(app, "empty", min_workers=0)() == (0, "messages")


def test_what_is_no_queue_is_told(app: Celery) -> None:
    """Redis' own words about a key of another kind."""
    with app.connection_for_write() as connection:
        connection.default_channel.client.set("text", "x")
    assert "WRONGTYPE" in str(failure(_check(app, "text", min_workers=0)))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("celery",), {}, TypeError, "'app' must be a celery.Celery, not a str"),
        ((Celery(set_as_current=False),), {"max_length": 1}, ValueError, "need 'queue'"),
        ((Celery(set_as_current=False),), {"min_workers": 0}, ValueError, "need 'queue'"),
        ((Celery(set_as_current=False),), {"min_workers": -1}, ValueError, "at least 0, not -1"),
        ((Celery(set_as_current=False), ""), {}, ValueError, "'queue' must not be empty"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        celery(*arguments, **options)
