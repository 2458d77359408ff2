"""An app for gunicorn's dirty workers, which are no web workers."""

from __future__ import annotations

from gunicorn.dirty.app import DirtyApp  # type: ignore[import-untyped, unused-ignore]


class Calculator(DirtyApp):  # type: ignore[misc, unused-ignore]
    """Does nothing but exist."""
