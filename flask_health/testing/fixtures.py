"""The helpers as pytest fixtures: `pytest_plugins = ["flask_health.testing.fixtures"]`."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

import pytest

from .clock import Clock, frozen_clock
from .forcing import forced
from .serving import Server, running

if t.TYPE_CHECKING:
    import flask


@pytest.fixture
def health_server() -> cabc.Iterator[cabc.Callable[..., Server]]:
    """Starts gunicorns, see :func:`flask_health.testing.running`; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(app: str = "app:app", *options: str, **more: t.Any) -> Server:
            return stack.enter_context(running(app, *options, **more))

        yield start


@pytest.fixture
def health_forced() -> cabc.Iterator[cabc.Callable[..., None]]:
    """Has probes answer a status until the test ends, see :func:`flask_health.testing.forced`."""
    with contextlib.ExitStack() as stack:

        def force(app: flask.Flask, **statuses: t.Any) -> None:
            stack.enter_context(forced(app, **statuses))

        yield force


@pytest.fixture
def health_clock() -> cabc.Iterator[cabc.Callable[[flask.Flask], Clock]]:
    """Stops the clock for an app until the test ends, see
    :func:`flask_health.testing.frozen_clock`.
    """
    with contextlib.ExitStack() as stack:

        def stop(app: flask.Flask) -> Clock:
            return stack.enter_context(frozen_clock(app))

        yield stop
