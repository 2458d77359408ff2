"""Ready-made checks: a small file each, given the app's own client, importing nothing until used.

from flask_health.checks import sqlalchemy

health.add_check("database", sqlalchemy(db))
"""

from __future__ import annotations

import importlib
import typing as t

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
