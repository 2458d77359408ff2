"""Whether RabbitMQ answers, and how long a queue is."""

from __future__ import annotations

import contextlib
import time
import typing as t
from collections.abc import Iterator

from ..exceptions import Degraded
from .readymade import Deadline, ReadyMade, count, positive, text


class rabbitmq(ReadyMade):
    """Passes when the broker opens a channel; observes the seconds, or the length of a queue.

    kombu's connections are not for two threads: each call opens one of its own with the settings
    given, with this check's limits, and closes it. The queue is looked at, not declared: one that
    does not exist fails.

    :param connection_or_url: a `kombu.Connection`, or a URL such as `amqp://user:password@host//`.
    :param queue: the queue whose messages, ready to be delivered, are counted.
    :param max_length: more messages fail. None: never.
    :param warn_length: more messages are degraded. None: never.
    :param warn_after: seconds; a longer answer is degraded.
    """

    component_type: t.ClassVar[str] = "datastore"

    def __init__(
        self,
        connection_or_url: t.Any,
        *,
        queue: str | None = None,
        max_length: int | None = None,
        warn_length: int | None = None,
        warn_after: float | None = None,
    ) -> None:
        self._settings = _settings(connection_or_url)
        self._length = None if queue is None else Length(queue, max_length, warn_length)
        if queue is None and (max_length is not None or warn_length is not None):
            raise ValueError("'max_length' and 'warn_length' need 'queue'.")
        if queue is not None:
            self.measurement = "queueLength"
        self._warn_after = None if warn_after is None else positive("warn_after", warn_after)

    def __call__(self) -> tuple[float, str]:
        """The seconds until the answer, or the messages in the queue."""
        began = time.perf_counter()
        with (
            self._asking(_where(self._settings)),
            opened(self._settings.clone(), Deadline(self.driver_timeout)) as connection,
        ):
            if self._length:
                length = self._length.of(connection)
            else:
                connection.channel().close()
        took = time.perf_counter() - began
        if self._length:
            self._length.judge(length)
        if self._warn_after is not None and took > self._warn_after:
            raise Degraded(f"answered after {took:.3f} s, more than {self._warn_after:g} s")
        return (length, "messages") if self._length else (round(took, 6), "s")


class Length:
    """The number of messages in a queue, and what is too many."""

    def __init__(self, queue: str, most: int | None, warn: int | None) -> None:
        self._queue = text("queue", queue)
        self._most = None if most is None else count("max_length", most)
        self._warn = None if warn is None else count("warn_length", warn)
        if self._most is not None and self._warn is not None and self._warn > self._most:
            raise ValueError(f"'warn_length' ({warn}) must not exceed 'max_length' ({most}).")

    def of(self, connection: t.Any) -> int:
        """How many messages wait.

        On RabbitMQ it raises when there is no such queue; on Redis, for one, an empty queue does
        not exist.
        """
        try:
            found = connection.default_channel.queue_declare(self._queue, passive=True)
        except connection.channel_errors as error:
            unknown = str(getattr(error, "reply_code", "")) == "404"
            if unknown and connection.transport.driver_type != "amqp":
                return 0
            raise
        return int(found.message_count)

    def judge(self, length: int) -> None:
        """Raise when it is too long."""
        told = f"{length} messages wait in queue {self._queue!r}, more than"
        if self._most is not None and length > self._most:
            raise RuntimeError(f"{told} {self._most}")
        if self._warn is not None and length > self._warn:
            raise Degraded(f"{told} {self._warn}")


@contextlib.contextmanager
def opened(connection: t.Any, deadline: Deadline) -> Iterator[t.Any]:
    """A connection that nobody has used yet, open for the block, which ends by the deadline.

    It is closed politely after success; after a failure without a word, as the broker may not
    listen.
    """
    transport = connection.transport
    # a broker that stalls is waited for twice at most: while connecting, and while asking
    connection.connect_timeout = deadline.left() / 2
    if transport.driver_type == "redis":
        limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), deadline.left() / 2)
        connection.transport_options = {**connection.transport_options, **limits}
    try:
        connection.ensure_connection(
            max_retries=max(len(connection.alt) - 1, 0),  # every alternate once
            interval_start=0,
            interval_step=0,
            interval_max=0,
        )
        if transport.driver_type == "amqp":
            connection.connection.sock.settimeout(deadline.left())
        yield connection
    except BaseException:
        connection.collect()
        raise
    else:
        connection.release()
    finally:
        # with Redis, kombu leaves the descriptor that it polls with to the garbage collector
        poller = getattr(getattr(transport, "cycle", None), "poller", None)
        if poller is not None:
            poller.close()


def _settings(given: t.Any) -> t.Any:
    """A connection never used, with the settings given. No error shows the URL."""
    from kombu.connection import Connection

    make: t.Any = Connection
    if isinstance(given, str):
        try:
            given = make(given)
        except Exception:
            raise ValueError("'connection_or_url' is not a URL that kombu knows.") from None
    elif not isinstance(given, Connection):
        raise TypeError(
            "'connection_or_url' must be a kombu.Connection or a URL, "
            f"not a {type(given).__name__}."
        )
    if given.transport.driver_type != "amqp":
        raise ValueError(
            f"'connection_or_url' must be AMQP, not {given.transport.driver_type}: "
            "for a Celery broker of another kind use 'celery'."
        )
    return given.clone()


def _where(settings: t.Any) -> str:
    return f"RabbitMQ at {settings.as_uri()}"
