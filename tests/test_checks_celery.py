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

    def __init__(self, broker: Redis) -> None:
        self.need = broker.need  # type: ignore[misc]
        super().__init__()
        self._url = _url(broker)

    def _as_user(self) -> list[str]:
        return []  # the interpreter may be where another user cannot reach it

    def environment(self) -> dict[str, str]:
        return {"CELERY_BROKER_URL": self._url}

    def command(self) -> list[str]:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [sys.executable, "-m", "celery", "worker", "--pool=solo", *quiet, "-n", "one@here"]

    def answers(self) -> bool:
        return "celery@" in self.log() or " ready." in self.log()


@pytest.fixture
def worker(broker: Redis) -> Iterator[Worker]:
    with Worker(broker) as running:
        yield running


def test_follows_a_worker_that_stops_dies_and_returns(app: Celery, worker: Worker) -> None:
    """Nobody answers, or somebody does."""
    check = _check(app)
    eventually(lambda: passes(check), why="the worker answers")
    assert check() == (1, "workers")
    silence = "0 of at least 1 Celery workers answered within 1.6 s"
    with worker.frozen():
        assert str(failure(check)) == silence
    eventually(lambda: passes(check))
    assert str(failure(_check(app, min_workers=2))).startswith("1 of at least 2 Celery workers")
    worker.kill()
    assert str(failure(check)) == silence
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
        assert f"127.0.0.1:{broker.port}/0: no answer within 1.6 s" in str(told)
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


def test_missing_queue_is_told(app: Celery) -> None:
    """On Redis that is also an empty one to which nothing was ever sent."""
    check = _check(app, "nowhere", min_workers=0)
    assert "no queue 'nowhere'" in str(failure(check))


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
