"""The `celery` check, with a worker and Redis for a broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from support.backends import SECRET, Backend, Redis, failure, passes
from support.waiting import eventually

from flask_health.checks import celery
from flask_health.exceptions import Degraded


@pytest.fixture(scope="module")
def broker() -> Iterator[Redis]:
    with Redis() as running:
        yield running


def _url(broker: Redis) -> str:
    return f"redis://:{SECRET}@127.0.0.1:{broker.port}/0"


@pytest.fixture
def app(broker: Redis) -> Iterator[Celery]:
    made = Celery("tasks", broker=_url(broker), set_as_current=False)
    yield made
    made.close()


def _check(app: Celery, *args: Any, **options: Any) -> celery:
    check = celery(app, *args, **options)
    check.timeout = 2.0
    return check


class Worker(Backend):
    """A Celery worker that has no task."""

    user = ""  # the interpreter may be where another cannot reach it

    def __init__(self, broker: Redis) -> None:
        self.need = broker.need  # type: ignore[misc]
        super().__init__()
        self._url = _url(broker)

    def environment(self) -> dict[str, str]:
        return {"CELERY_BROKER_URL": self._url}

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
    check.timeout = 3.0
    eventually(lambda: passes(check), why="the worker answers")
    assert check() == (1, "workers")
    silence = "0 of at least 1 Celery workers answered within"
    with worker.frozen():
        assert silence in str(failure(check))
    eventually(lambda: passes(check))
    two = _check(app, min_workers=2)
    two.timeout = 3.0
    assert str(failure(two)).startswith("1 of at least 2 Celery workers answered")
    worker.kill()
    assert silence in str(failure(check))
    worker.start()
    eventually(lambda: passes(check), why="the worker answers again")


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
