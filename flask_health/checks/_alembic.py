"""Whether a database has the schema that the code expects."""

from __future__ import annotations

import os
import typing as t

from ..exceptions import Degraded
from ._sqlalchemy import Database, connected, where
from .readymade import ReadyMade


class alembic(ReadyMade):
    """Passes when the database is at the newest revision; observes how many are missing.

    A database at a revision that this code does not know is degraded, not failing: during a
    rolling deployment the new release migrates while the old one still serves. The revisions are
    read once per process, at the first call. Limits are those of the `sqlalchemy` check.

    :param engine_or_db: an `Engine`, or the `SQLAlchemy` of Flask-SQLAlchemy.
    :param config_or_script_location: an `alembic.config.Config`, the path of an `alembic.ini`, or
        the directory that holds `env.py` and `versions`. Flask-Migrate's is `migrations`.
    :param bind_key: with Flask-SQLAlchemy, which of several engines.
    :param version_table: as in `env.py`.
    :param version_table_schema: as in `env.py`.
    """

    component_type: t.ClassVar[str] = "datastore"
    measurement: str = "missingRevisions"

    def __init__(
        self,
        engine_or_db: t.Any,
        config_or_script_location: t.Any,
        *,
        bind_key: str | None = None,
        version_table: str = "alembic_version",
        version_table_schema: str | None = None,
    ) -> None:
        self._database = Database(engine_or_db, bind_key)
        self._config = _config(config_or_script_location)
        self._options = {
            "version_table": version_table,
            "version_table_schema": version_table_schema,
        }
        self._scripts: t.Any = None

    def __call__(self) -> tuple[int, str]:
        """0 revisions; raises when some are missing."""
        scripts = self._revisions()
        current = self._current()
        unknown = [name for name in current if name not in scripts.known]
        if unknown:
            raise Degraded(f"database at {_names(unknown)}, which this code does not know")
        missing = scripts.count_after(current)
        if missing:
            at = _names(current) if current else "no revision"
            raise RuntimeError(
                f"database at {at}, {missing} behind {_names(scripts.heads)}: "
                "run 'alembic upgrade heads'"
            )
        return 0, "revisions"

    def _revisions(self) -> _Scripts:
        if self._scripts is None:
            self._scripts = _Scripts(self._config)
        return t.cast(_Scripts, self._scripts)

    def _current(self) -> tuple[str, ...]:
        from alembic.runtime.migration import MigrationContext

        engine = self._database.engine()
        with self._asking(where(engine)), connected(engine, self.driver_timeout) as connection:
            context = MigrationContext.configure(connection, opts=self._options)
            return context.get_current_heads()


class _Scripts:
    """The revisions that this code knows."""

    def __init__(self, config: t.Any) -> None:
        from alembic.script import ScriptDirectory

        self._directory = ScriptDirectory.from_config(config)
        self.heads = tuple(self._directory.get_heads())
        self.known = {script.revision for script in self._directory.walk_revisions()}

    def count_after(self, current: tuple[str, ...]) -> int:
        """How many revisions a database at these lacks."""
        if set(self.heads) <= set(current):
            return 0
        have: set[str] = set()
        for name in current:
            have.update(s.revision for s in self._directory.iterate_revisions(name, "base"))
        return len(self.known - have)


def _config(given: t.Any) -> t.Any:
    from alembic.config import Config

    if isinstance(given, Config):
        return given
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(
            "'config_or_script_location' must be an alembic.config.Config or a path, "
            f"not a {type(given).__name__}."
        )
    path = os.fspath(given)
    if os.path.isfile(path):
        return Config(path)
    if not os.path.isfile(os.path.join(path, "env.py")):
        raise ValueError(f"{path!r} is neither an alembic.ini nor a directory with an env.py.")
    config = Config()
    config.set_main_option("script_location", path.replace("%", "%%"))
    return config


def _names(revisions: t.Iterable[str]) -> str:
    return ", ".join(sorted(revisions))
