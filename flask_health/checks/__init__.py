"""Ready-made checks: a small file each, given the app's own client, importing nothing until used.

Each is made with what it checks, and registered under a name:

    from flask_health.checks import sqlalchemy

    health.add_check("database", sqlalchemy(db))
"""

from __future__ import annotations

import importlib
import typing as t

if t.TYPE_CHECKING:
    from ._alembic import alembic as alembic
    from ._celery import celery as celery
    from ._certificate import certificate as certificate
    from ._disk import disk as disk
    from ._file_age import file_age as file_age
    from ._http import http as http
    from ._memcached import memcached as memcached
    from ._memory import memory as memory
    from ._rabbitmq import rabbitmq as rabbitmq
    from ._redis import redis as redis
    from ._sqlalchemy import sqlalchemy as sqlalchemy
    from ._tcp import tcp as tcp

__all__ = [
    "alembic",
    "celery",
    "certificate",
    "disk",
    "file_age",
    "http",
    "memcached",
    "memory",
    "rabbitmq",
    "redis",
    "sqlalchemy",
    "tcp",
]


def __getattr__(name: str) -> t.Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}._{name}"), name)
