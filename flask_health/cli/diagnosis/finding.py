"""A finding, and what is made to look for it."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..facts import Facts

Severity = t.Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = t.get_args(Severity)
"""Worst first: does not do what it was asked to; will hurt some day; worth knowing."""


class Finding(t.NamedTuple):
    """Something that will not go as it was meant.

    :ivar name: short and stable, for scripts.
    :ivar what: what is so, in one line.
    :ivar then: what will happen.
    :ivar line: the line that mends it.
    :ivar where: where that line belongs.
    """

    name: str
    severity: Severity
    what: str
    then: str
    line: str
    where: str


Rule = cabc.Callable[[Facts], cabc.Iterator[Finding]]

APP = "the app's configuration"
ENVIRONMENT = "the environment"
GUNICORN = "gunicorn.conf.py"


def key(name: str, value: object) -> str:
    """The line of an app that sets a key."""
    return f'app.config["{name}"] = {value!r}'.replace("'", '"')


def seconds(value: float) -> str:
    """A duration as people write it."""
    return f"{value:g} s"
