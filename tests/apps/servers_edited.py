"""The served app, in a file that a test may touch for a reloader to see."""

from __future__ import annotations

from making import create_app

app = create_app()
