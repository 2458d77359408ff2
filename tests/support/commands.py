"""Running a command of the command line inside the test's own process."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, NamedTuple

from flask_health.cli.table import run

if TYPE_CHECKING:
    from flask import Flask


class Ran(NamedTuple):
    """How a command ended, and what it printed on either channel."""

    code: int
    out: str
    err: str


def ran(*words: str, app: Flask | None = None) -> Ran:
    """Run `flask health`, with its words."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words, "flask health", app)
    return Ran(code, out.getvalue(), err.getvalue())
