"""Whether Redis answers."""

from __future__ import annotations

import inspect
import typing as t

from .readymade import Deadline, Timed


class redis(Timed):
    """Passes when Redis answers PING on a connection of the app's own pool.

    PING also fails while Redis loads its data, and while it refuses writes because it cannot
    save. The pool opens and reopens connections with the client's own patience, which by default
    is a minute for a server that accepts and says nothing; so the server is first tried on a
    separate connection with the same settings and this check's limits, closed at once. Neither
    changes anything for others who use the pool. A `BlockingConnectionPool` that is full waits as
    long as it was told.

    :param client: a `redis.Redis`, with or without Sentinel. For a cluster, one check per node:
        `node.redis_connection`.
    :param warn_after: seconds; a longer answer is degraded.
    """

    component_type: t.ClassVar[str] = "datastore"

    def __init__(self, client: t.Any, *, warn_after: float | None = None) -> None:
        super().__init__(warn_after)
        pool = getattr(client, "connection_pool", None)
        if inspect.iscoroutinefunction(getattr(pool, "get_connection", None)):
            raise TypeError("'client' must be a redis.Redis, not one of redis.asyncio.")
        if not hasattr(pool, "get_connection"):
            raise TypeError(
                f"'client' must be a redis.Redis, not a {type(client).__name__}; "
                "for a cluster: the 'redis_connection' of each node."
            )
        self.client = client

    def _ask(self) -> None:
        pool = self.client.connection_pool
        with self._asking(_where(pool)):
            deadline = Deadline(self.driver_timeout)
            _try_apart(pool, deadline)
            connection = _borrow(pool)
            try:
                _ping(connection, deadline)
            finally:
                pool.release(connection)


def _try_apart(pool: t.Any, deadline: Deadline) -> None:
    """Raise unless the server answers on a connection like the pool's, but with our limits."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    settings = {**pool.connection_kwargs, "retry": Retry(NoBackoff(), 0)}
    connection = pool.connection_class(**settings)
    # not among the settings: for unix sockets redis-py 5.0 forgets them
    connection.socket_connect_timeout = connection.socket_timeout = deadline.left()
    try:
        connection.connect()
        _ping(connection, deadline)
    finally:
        connection.disconnect()


def _ping(connection: t.Any, deadline: Deadline) -> None:
    """Ask on this connection. One without an answer is closed: the answer may come later, to
    another's question."""
    try:
        connection.send_command("PING", check_health=False)
        if not connection.can_read(timeout=deadline.left()):
            raise TimeoutError("PING")
        connection.read_response()
    except BaseException:
        connection.disconnect()
        raise


def _borrow(pool: t.Any) -> t.Any:
    """A connection of the pool: before redis-py 5.3 it wants to know what for, later it warns."""
    wanted = inspect.signature(pool.get_connection).parameters.get("command_name")
    required = wanted is not None and wanted.default is inspect.Parameter.empty
    return pool.get_connection("PING") if required else pool.get_connection()


def _where(pool: t.Any) -> str:
    """What the pool connects to, without user and password."""
    told = pool.connection_kwargs
    if "path" in told:
        return f"Redis at {told['path']}"
    if "host" in told:
        return f"Redis at {told['host']}:{told.get('port', 6379)}"
    return f"Redis {getattr(pool, 'service_name', '')}".rstrip()
