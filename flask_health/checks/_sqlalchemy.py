"""Whether a database answers."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import typing as t
from collections.abc import Iterator

from .readymade import Deadline, Timed, is_late, text

_POOL_PATIENCE = 0.02
"""Seconds between two looks at a pool that has no connection free."""

_CONNECT_TIMEOUT = frozenset({"psycopg", "psycopg2", "pymysql", "mysqldb"})
"""Drivers whose `connect_timeout`, in whole seconds, bounds connecting and nothing later."""

_thread = threading.local()
"""`deadline`: of the check that this thread is in, if any. What is registered with an engine looks
here, and leaves every other use of it alone."""


class sqlalchemy(Timed):
    """Passes when the database answers a statement on a connection of the app's own pool.

    What ends by itself, below the check's timeout:

    - waiting for a connection, when the pool has none free;
    - connecting, with psycopg, psycopg2, PyMySQL and mysqlclient (whole seconds, with PostgreSQL
      at least 2; for each address of the host);
    - the statement, on PostgreSQL by `statement_timeout`, set for its transaction only, on SQLite
      by `busy_timeout`, put back afterwards;
    - an answer, or the pool's pre-ping, that never comes, with psycopg and psycopg2: the
      connection is shut and leaves the pool.

    With other drivers what `connect_args` says of timeouts holds.

    :param engine_or_db: an `Engine`, or the `SQLAlchemy` of Flask-SQLAlchemy, whose engine is
        looked up in the app context that the check runs in.
    :param bind_key: with Flask-SQLAlchemy, which of several engines.
    :param statement: SQL to run. Default: what the database answers without work.
    :param warn_after: seconds; a longer answer is degraded.
    """

    component_type: t.ClassVar[str] = "datastore"

    def __init__(
        self,
        engine_or_db: t.Any,
        *,
        bind_key: str | None = None,
        statement: str | None = None,
        warn_after: float | None = None,
    ) -> None:
        super().__init__(warn_after)
        self._database = Database(engine_or_db, bind_key)
        self._statement = None if statement is None else text("statement", statement)

    def _ask(self) -> None:
        import sqlalchemy as sa

        engine = self._database.engine()
        with self._asking(where(engine)), connected(engine, self.driver_timeout) as connection:
            if self._statement is not None:
                connection.execute(sa.text(self._statement))
            elif engine.dialect.name == "sqlite":  # SELECT 1 would not even look at the file
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
            else:
                connection.execute(sa.select(sa.literal(1)))


class Database:
    """Where an engine comes from: given, or looked up in an app context at each call.

    :raises TypeError: if it is neither an engine nor something that has one.
    """

    def __init__(self, source: t.Any, bind_key: str | None = None) -> None:
        if hasattr(source, "sync_engine"):
            raise TypeError("'engine_or_db' must be an Engine, not an AsyncEngine.")
        if not hasattr(type(source), "engine") or hasattr(source, "in_transaction"):
            raise TypeError(
                "'engine_or_db' must be an Engine, or the SQLAlchemy of Flask-SQLAlchemy, "
                f"not a {type(source).__name__}."
            )
        if bind_key is not None and not hasattr(type(source), "engines"):
            raise TypeError("'bind_key' needs the SQLAlchemy of Flask-SQLAlchemy.")
        self._source = source
        self._bind_key = bind_key

    def engine(self) -> t.Any:
        if self._bind_key is not None:
            return self._source.engines[self._bind_key]
        return self._source.engine


def where(engine: t.Any) -> str:
    """The engine's URL without user, password and query."""
    url = engine.url
    site = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    return f"{url.get_backend_name()}://{site}/{url.database or ''}"


@contextlib.contextmanager
def connected(engine: t.Any, seconds: float) -> Iterator[t.Any]:
    """A connection of the engine's pool, back there when the block ends, which it does in time.

    A TimeoutError tells when it did not end by itself.
    """
    _watch(engine)
    deadline = _thread.deadline = Deadline(seconds)
    try:
        _await_free(engine.pool, deadline)
        with (
            engine.connect() as connection,
            _shut_after(connection.connection.dbapi_connection, deadline),
            _limited(connection, deadline),
        ):
            yield connection
            connection.rollback()
    except Exception as error:
        if _ran_out(error, deadline):
            raise TimeoutError(_own_words(error)) from error
        raise ConnectionError(_own_words(error)) from error
    finally:
        _thread.deadline = None


def _own_words(error: Exception) -> str:
    """What the driver said, without SQLAlchemy's additions: statement, parameters, link."""
    return str(getattr(error, "orig", None) or error)


def _ran_out(error: Exception, deadline: Deadline) -> bool:
    """Whether the time was up, whoever noticed."""
    if is_late(getattr(error, "orig", None) or error):  # not by what the statement is called
        return True
    try:
        deadline.left()
    except TimeoutError:
        return True
    return False


def _await_free(pool: t.Any, deadline: Deadline) -> None:
    """Return as soon as the pool could lend a connection, where it can be asked."""
    try:
        room = pool.size() + pool._max_overflow
    except (AttributeError, TypeError):  # a pool without a limit
        return
    while pool._max_overflow >= 0 and pool.checkedout() >= room:
        try:
            time.sleep(min(_POOL_PATIENCE, deadline.left()))
        except TimeoutError:
            raise TimeoutError(f"all {room} connections of the pool are in use") from None


@contextlib.contextmanager
def _limited(connection: t.Any, deadline: Deadline) -> Iterator[None]:
    """Let the database itself give up in time, where it can be told to for this use only.

    A little before our own deadline, so that the connection survives.
    """
    milliseconds = max(int(deadline.left() * 900), 1)
    name = connection.dialect.name
    if name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        yield
    elif name == "sqlite":
        before = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {before}")
    else:
        yield


@contextlib.contextmanager
def _shut_after(dbapi_connection: t.Any, deadline: Deadline) -> Iterator[None]:
    """Shut the connection's socket at the deadline, if the block still runs then.

    For drivers that wait for an answer without limit, as libpq does.
    """
    left = deadline.left()
    try:
        sock = socket.socket(fileno=os.dup(dbapi_connection.fileno()))
    except (AttributeError, OSError):  # no socket, or not shown
        yield
        return
    lock = threading.Lock()
    over = False

    def shut() -> None:
        with lock:
            if not over:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(left, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()
        timer.join()
        sock.close()


def _watch(engine: t.Any) -> None:
    """Have connecting and pre-pings of this engine bounded, once, for threads in a check."""
    from sqlalchemy import event

    if event.contains(engine, "do_connect", _limit_connect):
        return
    event.listen(engine, "do_connect", _limit_connect)
    ping = engine.dialect.do_ping

    def do_ping(dbapi_connection: t.Any) -> t.Any:
        if (deadline := getattr(_thread, "deadline", None)) is None:
            return ping(dbapi_connection)
        with _shut_after(dbapi_connection, deadline):
            return ping(dbapi_connection)

    engine.dialect.do_ping = do_ping


def _limit_connect(dialect: t.Any, record: t.Any, arguments: t.Any, named: t.Any) -> t.Any:
    """Connect for the check, or None: let SQLAlchemy do it as ever."""
    deadline = getattr(_thread, "deadline", None)
    if deadline is None or dialect.driver not in _CONNECT_TIMEOUT:
        return None
    least = 2 if dialect.name == "postgresql" else 1  # libpq waits no shorter
    limit = max(int(deadline.left()), least)
    own = int(named.get("connect_timeout") or 0)
    # not into `named` itself: before 2.1 SQLAlchemy keeps it for the next connection
    chosen = {**named, "connect_timeout": min(own or limit, limit)}
    return dialect.connect(*arguments, **chosen)
