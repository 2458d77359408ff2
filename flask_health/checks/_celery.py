"""Whether Celery's workers answer, and how long a queue is."""

from __future__ import annotations

import typing as t

from ._rabbitmq import Length, opened
from .readymade import Deadline, ReadyMade, count

CLOSING = 1.0
"""Seconds that kombu may take to close a connection to Redis on which it waits for messages."""


class celery(ReadyMade):
    """Passes when workers answer a ping; observes how many did, or the length of a queue.

    It waits for `min_workers` answers and not for more, so the number observed is at most that.
    A worker of the `solo` pool does not answer while a task runs. Each call opens a connection to
    the broker with the app's settings and this check's limits, and closes it; with Redis that may
    take a second, so that a timeout below 2.5 s may be overrun when no worker answers. With
    brokers other than RabbitMQ and Redis the broker's own settings bound a call.

    :param app: the `celery.Celery`.
    :param queue: the queue whose waiting messages are counted.
    :param max_length: more messages fail. None: never.
    :param warn_length: more messages are degraded. None: never.
    :param min_workers: fewer answers fail. 0: do not ask workers, only count messages.
    """

    measurement: str = "workers"

    def __init__(
        self,
        app: t.Any,
        queue: str | None = None,
        *,
        max_length: int | None = None,
        warn_length: int | None = None,
        min_workers: int = 1,
    ) -> None:
        if not hasattr(app, "control") or not hasattr(app, "connection_for_write"):
            raise TypeError(f"'app' must be a celery.Celery, not a {type(app).__name__}.")
        self.app = app
        self._min_workers = count("min_workers", min_workers)
        self._length = None if queue is None else Length(queue, max_length, warn_length)
        if queue is not None:
            self.measurement = "queueLength"
        elif max_length is not None or warn_length is not None or not min_workers:
            raise ValueError("'max_length', 'warn_length' and 'min_workers=0' need 'queue'.")

    def __call__(self) -> tuple[int, str]:
        """The workers that answered, or the messages in the queue."""
        connection = self.app.connection_for_write()
        with self._asking(f"Celery's broker at {connection.as_uri()}"):
            deadline = Deadline(self.driver_timeout)
            with opened(connection, deadline):
                length = self._length.of(connection) if self._length else 0
                patience = max(deadline.left() - CLOSING, deadline.left() / 2)
                answered = self._answers(connection, patience) if self._min_workers else 0
        if answered < self._min_workers:
            few = f"{answered} of at least {self._min_workers} Celery workers answered"
            raise RuntimeError(f"{few} within {patience:.1f} s")
        if self._length:
            self._length.judge(length)
        return (length, "messages") if self._length else (answered, "workers")

    def _answers(self, connection: t.Any, patience: float) -> int:
        replies = self.app.control.ping(
            timeout=patience / self._min_workers,  # Celery waits this long for each answer anew
            limit=self._min_workers,
            connection=connection,
        )
        return len({name for reply in replies or [] for name in reply})
