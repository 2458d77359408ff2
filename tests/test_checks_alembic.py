"""The `alembic` check, with SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from flask_sqlalchemy import SQLAlchemy
from support.backends import PostgreSQL
from support.calls import failure, keeps_nothing, passes
from support.waiting import eventually

from flask_health.checks import alembic
from flask_health.exceptions import Degraded

ENV = """
from alembic import context

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""
REVISION = """
revision, down_revision, depends_on = {revision!r}, {down!r}, {depends_on!r}

def upgrade(): pass
def downgrade(): pass
"""


class Migrations:
    """A directory of migrations, `one` and `two` at first."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "versions").mkdir(parents=True)
        (home / "env.py").write_text(ENV)
        self.add("one", None)
        self.add("two", "one")

    def add(self, revision: str, down: str | None, depends_on: str | None = None) -> None:
        text = REVISION.format(revision=revision, down=down, depends_on=depends_on)
        (self.home / "versions" / f"{revision}.py").write_text(text)

    def upgrade(self, engine: sa.Engine, to: str) -> None:
        config = Config()
        config.set_main_option("script_location", str(self.home))
        config.attributes["engine"] = engine
        command.upgrade(config, to)


@pytest.fixture
def migrations(tmp_path: Path) -> Migrations:
    return Migrations(tmp_path / "migrations")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = sa.create_engine(f"sqlite:///{tmp_path}/app.db")
    yield made
    made.dispose()


def test_revisions_that_are_missing(migrations: Migrations, engine: sa.Engine) -> None:
    """Empty, behind, up to date: with what to do."""
    check = alembic(engine, migrations.home)
    assert str(failure(check)) == (
        "database at no revision, 2 behind two: run 'alembic upgrade heads'"
    )
    migrations.upgrade(engine, "one")
    assert "database at one, 1 behind two" in str(failure(check))
    migrations.upgrade(engine, "heads")
    assert check() == (0, "revisions")
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_newer_database_is_degraded(migrations: Migrations, engine: sa.Engine) -> None:
    """While a rolling deployment goes on, the old release still serves."""
    check = alembic(engine, str(migrations.home))
    migrations.upgrade(engine, "heads")
    assert check() == (0, "revisions")
    migrations.add("three", "two")
    migrations.upgrade(engine, "heads")
    with pytest.raises(Degraded, match="at three, which this code does not know"):
        check()


@pytest.mark.parametrize("depends_on", [None, "two"])
def test_branches(migrations: Migrations, engine: sa.Engine, depends_on: str | None) -> None:
    """Every head must be there."""
    migrations.add("other", None, depends_on)
    check = alembic(engine, migrations.home)
    migrations.upgrade(engine, "two")
    assert "database at two, 1 behind" in str(failure(check))
    migrations.upgrade(engine, "heads")
    assert check() == (0, "revisions")


def test_config(migrations: Migrations, engine: sa.Engine, tmp_path: Path) -> None:
    """An ini file, or what was made of it."""
    ini = tmp_path / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {migrations.home}\npath_separator = os\n")
    migrations.upgrade(engine, "heads")
    for given in ini, str(ini), Config(str(ini)):
        assert alembic(engine, given)() == (0, "revisions")


def test_flask_sqlalchemy(migrations: Migrations, engine: sa.Engine) -> None:
    """The engine is found in the app context of the call."""
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = engine.url
    check = alembic(SQLAlchemy(app), migrations.home)
    migrations.upgrade(engine, "heads")
    with app.app_context():
        assert check() == (0, "revisions")


def test_other_version_table(migrations: Migrations, engine: sa.Engine) -> None:
    """As `env.py` names it."""
    migrations.upgrade(engine, "heads")
    check = alembic(engine, migrations.home, version_table="versions")
    assert "database at no revision" in str(failure(check))


def test_follows_a_server_that_stops_dies_and_returns(migrations: Migrations) -> None:
    """A stopped PostgreSQL is told as such in time, and no call leaves anything behind."""
    with PostgreSQL() as server:
        engine = sa.create_engine(server.url("psycopg"))
        migrations.upgrade(engine, "heads")
        check = alembic(engine, migrations.home)
        check.timeout = 3.5
        assert check() == (0, "revisions")
        with server.frozen():
            assert isinstance(failure(check), TimeoutError)
        eventually(lambda: passes(check))
        server.kill()
        assert isinstance(failure(check), ConnectionError)
        assert "refused" in str(failure(check))
        keeps_nothing(check)
        server.start()
        eventually(lambda: passes(check))
        keeps_nothing(check)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        engine.dispose()
        url = engine.url.set(password="wrong-password")
        told = str(failure(alembic(sa.create_engine(url), migrations.home)))
        assert "password authentication failed" in told
        assert "wrong-password" not in told


@pytest.mark.parametrize(
    ("location", "error", "words"),
    [
        (None, TypeError, "must be an alembic.config.Config or a path, not a NoneType"),
        ("/nowhere", ValueError, "'/nowhere' is neither an alembic.ini nor a directory"),
    ],
)
def test_wrong_arguments(
    engine: sa.Engine, location: Any, error: type[Exception], words: str
) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        alembic(engine, location)
