"""Whether Redis answers."""

from __future__ import annotations

import inspect
import typing as t

from .readymade import Timed


class redis(Timed):
    """Passes when Redis answers PING on a connection of the app's own pool.

    PING also fails while Redis loads its data, and while it refuses writes because it cannot
    save. How long the client waits for an answer is this check's affair and changes nothing for
    others who use the pool. How long the pool waits for a connection of its own is the client's
    (`socket_connect_timeout`, `socket_timeout`, `retry`); so after a failure, and the first time,
    the server is tried on a separate connection first, which this check does bound.

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
        self._trusted = False

    def _ask(self) -> None:
        import redis as driver

        pool = self.client.connection_pool
        with self._asking(_where(pool), driver.TimeoutError):
            trusted, self._trusted = self._trusted, False
            if not trusted:
                self._try_apart(pool)
            connection = _borrow(pool)
            try:
                self._ping(connection)
            finally:
                pool.release(connection)
            self._trusted = True

    def _try_apart(self, pool: t.Any) -> None:
        """Raise unless the server answers on a connection like the pool's, but with our limits."""
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        limits = {name: self.driver_timeout / 2 for name in _LIMITS}
        settings = {**pool.connection_kwargs, **limits, "retry": Retry(NoBackoff(), 0)}
        connection = pool.connection_class(**settings)
        try:
            connection.connect()
            self._ping(connection)
        finally:
            connection.disconnect()

    def _ping(self, connection: t.Any) -> None:
        """Ask on this connection; one that does not answer is closed, or the next would be read
        out of step."""
        try:
            connection.send_command("PING", check_health=False)
            if not connection.can_read(timeout=self.driver_timeout / 2):
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


_LIMITS = ("socket_connect_timeout", "socket_timeout")


def _where(pool: t.Any) -> str:
    """What the pool connects to, without user and password."""
    told = pool.connection_kwargs
    if "path" in told:
        return f"Redis at {told['path']}"
    if "host" in told:
        return f"Redis at {told['host']}:{told.get('port', 6379)}"
    return f"Redis {getattr(pool, 'service_name', '')}".rstrip()
