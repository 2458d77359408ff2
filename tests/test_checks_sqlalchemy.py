"""The `sqlalchemy` check, with PostgreSQL and SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from support.backends import PostgreSQL
from support.calls import failure, keeps_nothing, passes
from support.environment import free_port
from support.waiting import eventually

from flask_health.checks import sqlalchemy
from flask_health.exceptions import Degraded


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as running:
        yield running


@pytest.fixture
def engine(server: PostgreSQL) -> Iterator[sa.Engine]:
    made = sa.create_engine(server.url("psycopg"), pool_size=1, max_overflow=0)
    yield made
    made.dispose()


def _check(source: Any, **options: Any) -> sqlalchemy:
    check = sqlalchemy(source, **options)
    check.timeout = 3.5  # libpq connects for 2 s at least
    return check


@pytest.mark.parametrize(
    ("driver", "pre_ping"),
    [("psycopg", False), ("psycopg", True), ("psycopg2", True)],
)
def test_follows_a_server_that_stops_dies_and_returns(
    server: PostgreSQL, driver: str, pre_ping: bool
) -> None:
    """A stopped server is told as such in time, on an idle connection and on a new one."""
    engine = sa.create_engine(server.url(driver), pool_pre_ping=pre_ping)
    check = _check(engine)
    seconds, unit = check()
    assert 0 < seconds < check.timeout
    assert unit == "s"
    with server.frozen():
        for _ in "idle", "new":
            told = failure(check)
            assert isinstance(told, TimeoutError)
            assert f"postgresql://127.0.0.1:{server.port}/postgres: no answer after" in str(told)
    eventually(lambda: passes(check))
    server.kill()
    told = failure(check)
    assert isinstance(told, ConnectionError)
    server.start()
    eventually(lambda: passes(check))
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    engine.dispose()


def test_connection_refused_is_told(server: PostgreSQL) -> None:
    """Nobody listens: the message names the place, and not the password."""
    url = sa.make_url(server.url("psycopg")).set(port=(port := free_port()))
    told = str(failure(_check(sa.create_engine(url))))
    assert told.startswith(f"postgresql://127.0.0.1:{port}/postgres: ")
    assert "refused" in told


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("ends", ["passes", "refused", "late", "wrong password"])
def test_50_calls_leave_nothing_behind(server: PostgreSQL, driver: str, ends: str) -> None:
    """However they end: neither a connection that stays open nor one that the pool misses."""
    url = sa.make_url(server.url(driver))
    if ends == "refused":
        url = url.set(port=free_port())
    if ends == "wrong password":
        url = url.set(password="wrong-password")
    engine = sa.create_engine(url, pool_size=1, max_overflow=0)
    check = _check(engine, statement="SELECT pg_sleep(1)" if ends == "late" else None)
    if ends == "late":
        check.timeout = 0.02
    assert passes(check) is (ends == "passes")
    keeps_nothing(check)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_wrong_password_is_told_without_it(server: PostgreSQL, driver: str) -> None:
    """PostgreSQL's own words, of which none is the password."""
    url = sa.make_url(server.url(driver)).set(password="wrong-password")
    told = str(failure(_check(sa.create_engine(url))))
    assert "password authentication failed" in told
    assert "wrong-password" not in told


def test_slow_statement_is_cancelled_by_the_server(engine: sa.Engine) -> None:
    """The connection survives it and is back in the pool, without a limit for others."""
    with engine.connect() as connection:
        before = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    check = _check(engine, statement="SELECT pg_sleep(30)")
    assert "statement timeout" in str(failure(check))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) == before
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "0"


def test_autocommit_keeps_no_limit(server: PostgreSQL) -> None:
    """Without a transaction nothing is set that could outlive it."""
    engine = sa.create_engine(server.url("psycopg"), isolation_level="AUTOCOMMIT")
    _check(engine)()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "0"
    engine.dispose()


def test_limits_are_for_the_check_alone(engine: sa.Engine) -> None:
    """A connection that the app opens later knows no limit of ours."""
    check = _check(engine)
    check()
    engine.dispose()
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        assert "connect_timeout" not in raw.info.get_parameters()
        connection.execute(sa.text("SELECT pg_sleep(0.2)"))


def test_full_pool_is_told(engine: sa.Engine) -> None:
    """The check waits for a connection, and not for longer than it may."""
    check = _check(engine)
    check.timeout = 1.0
    with engine.connect():
        told = failure(check)
    assert isinstance(told, TimeoutError)
    assert "all 1 connections of the pool are in use" in str(told)
    check()


def test_free_connection_is_waited_for(engine: sa.Engine) -> None:
    """A pool that is full for a moment is no failure."""
    held = engine.connect()
    release = threading.Timer(0.2, held.close)
    release.start()
    check = _check(engine)
    check()
    release.join()


def test_one_connection_at_a_time(server: PostgreSQL) -> None:
    """It is the pool's: 3 calls open it once."""
    engine = sa.create_engine(server.url("psycopg"))
    opened: list[object] = []
    sa.event.listen(engine, "connect", lambda *found: opened.append(found))
    check = _check(engine)
    for _ in range(3):
        check()
    assert len(opened) == 1
    engine.dispose()


def test_sqlite_file_is_looked_at(tmp_path: Path) -> None:
    """What is no database fails, though SELECT 1 would pass."""
    path = tmp_path / "app.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    check = _check(engine)
    check()
    engine.dispose()
    path.write_bytes(b"no database at all " * 100)
    assert "not a database" in str(failure(check))


def test_sqlite_lock_is_waited_for_in_time(tmp_path: Path) -> None:
    """A writer that keeps its lock is told; the app's own busy_timeout stays as it was."""
    path = tmp_path / "app.db"
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
    check = _check(engine)
    check.timeout = 1.5
    check()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    assert "database is locked" in str(failure(check))
    writer.close()
    check()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30000
    engine.dispose()


@pytest.mark.parametrize("bind_key", [None, "other"])
def test_flask_sqlalchemy(tmp_path: Path, bind_key: str | None) -> None:
    """The engine is found in the app context of the call."""
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/app.db"
    app.config["SQLALCHEMY_BINDS"] = {"other": f"sqlite:///{tmp_path}/other.db"}
    db = SQLAlchemy(app)
    check = _check(db, bind_key=bind_key)
    with app.app_context():
        check()
    assert (tmp_path / f"{bind_key or 'app'}.db").exists()
    with pytest.raises(RuntimeError, match="application context"):
        check()


def test_pool_without_limit(tmp_path: Path) -> None:
    """NullPool cannot be full."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/app.db", poolclass=NullPool)
    _check(engine)()


def test_slow_answer_is_degraded(tmp_path: Path) -> None:
    """Beyond `warn_after` it works, but badly."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/app.db", poolclass=NullPool)
    with pytest.raises(Degraded, match=r"answered after .* s, more than 1e-09 s"):
        _check(engine, warn_after=1e-9)()


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        ("sqlite://", {}, TypeError, "must be an Engine"),
        (create_async_engine("postgresql+psycopg://"), {}, TypeError, "not an AsyncEngine"),
        (sa.create_engine("sqlite://"), {"bind_key": "x"}, TypeError, "'bind_key' needs"),
        (sa.create_engine("sqlite://"), {"statement": ""}, ValueError, "'statement' must not"),
        (sa.create_engine("sqlite://"), {"statement": 1}, TypeError, "'statement' must be a str"),
        (sa.create_engine("sqlite://"), {"warn_after": 0}, ValueError, "'warn_after' must be more"),
        (sa.create_engine("sqlite://"), {"warn_after": "1"}, TypeError, "'warn_after' must be a"),
    ],
)
def test_wrong_arguments(
    source: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        sqlalchemy(source, **options)
