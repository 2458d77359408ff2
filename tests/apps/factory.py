"""Nothing but a factory: `gunicorn "factory:create_app()"`."""

from __future__ import annotations

from making import create_app

__all__ = ["create_app"]
