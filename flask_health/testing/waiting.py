"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import collections.abc as cabc
import time
import typing as t

import flask

from ..model.status import Status

if t.TYPE_CHECKING:
    from ..extension import HealthCheck
    from ..model.report import Report

T = t.TypeVar("T")

LOOK = 0.02
"""Seconds between two looks."""


def eventually(
    look: cabc.Callable[[], T],
    good: cabc.Callable[[T], object] = bool,
    timeout: float = 10.0,
) -> T:
    """What `look()` returns as soon as it is `good`.

    :param timeout: seconds.
    :raises AssertionError: when it never is, with what it returned last.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if good(found):
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s; the last look gave {found!r}")
        time.sleep(LOOK)


def wait_until_ready(app: flask.Flask, timeout: float = 10.0) -> None:
    """Starts the setup of an app in this process, as its first request would, and waits until
    readiness is `ok`: setup has finished, and each check has had its first result.

    :param timeout: seconds.
    :raises AssertionError: when it is not, with the reason.
    """
    health: HealthCheck = app.extensions["health"]
    with app.app_context():
        health.start()
        try:
            eventually(lambda: health.report("ready").status is not Status.FAIL, timeout=timeout)
        except AssertionError:
            why = _reason(health.report("ready"))
            raise AssertionError(f"{app.name!r} is not ready within {timeout:g} s: {why}") from None


def _reason(report: Report) -> str:
    failing = [f"{r.name}: {r.output}" for r in report.results if r.counts_as is Status.FAIL]
    return "; ".join([*filter(None, [report.reason]), *failing])
