"""A clock that stands still, so that results grow old without anybody waiting."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import sys
import time
import types
import typing as t
from unittest import mock

import flask

from ..extension import STATE
from ..workers import runner as _runner  # noqa: F401  # Its clock stands still too.
from ..workers import survey as _survey  # noqa: F401
from .waiting import eventually

if t.TYPE_CHECKING:
    from ..wired import Wired
    from ..workers.runner import Runner


class Clock:
    """The time that the extension sees; see :func:`frozen_clock`."""

    def __init__(self, wired: Wired) -> None:
        self._wired = wired
        self._monotonic = time.monotonic()
        self._time = time.time()

    def monotonic(self) -> float:
        """Seconds, as `time.monotonic` gives them."""
        return self._monotonic

    def monotonic_ns(self) -> int:
        """Nanoseconds, as `time.monotonic_ns` gives them."""
        return round(self._monotonic * 1e9)

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._time

    def advance(self, seconds: float, timeout: float = 10.0) -> None:
        """Lets time pass. Checks that are due then have run when this returns, or have been given
        up because their own timeout has passed.

        :param timeout: seconds of real time that they may take.
        :raises ValueError: for a negative number.
        :raises AssertionError: when they take longer.
        """
        if seconds < 0:
            raise ValueError(f"'seconds' must be a number >= 0, not {seconds!r}")
        self._monotonic += seconds
        self._time += seconds
        runner = self._wired.verdict.runner
        if runner is not None:
            eventually(lambda: _idle(runner, self._monotonic), bool, timeout)


@contextlib.contextmanager
def frozen_clock(app: flask.Flask) -> cabc.Iterator[Clock]:
    """Stops the clock that the extension looks at for as long as the block lasts: for when checks
    are due and results are stale. Threads, sleeping and the app's own code keep real time.

    Setup has to be over, see :func:`wait_until_ready`.

    :raises RuntimeError: for an app that is not wired.
    """
    if STATE not in app.extensions:
        raise RuntimeError(f"This app ({app.name!r}) is not wired to a HealthCheck.")
    wired: Wired = app.extensions[STATE]
    clock = Clock(wired)
    stopped = types.SimpleNamespace(**{**vars(time), **_methods(clock)})
    verdict, true_class = wired.verdict, type(wired.verdict)
    never = property(lambda self: 0.0, lambda self, value: None)
    with contextlib.ExitStack() as stack:
        for module in _ours():
            stack.enter_context(mock.patch.object(module, "time", stopped))
        # What is remembered is remembered in real time.
        verdict.__class__ = type("Forgetful", (true_class,), {"good_until": never})
        try:
            yield clock
        finally:
            verdict.__class__ = true_class
            verdict.good_until = 0.0


def _ours() -> list[types.ModuleType]:
    """The modules of the extension that look at the clock."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("flask_health.")
        and not name.startswith("flask_health.testing")
        and getattr(module, "time", None) is time
    ]


def _methods(clock: Clock) -> dict[str, object]:
    names = ("monotonic", "monotonic_ns", "time")
    return {name: getattr(clock, name) for name in names}


def _idle(runner: Runner, now: float) -> bool:
    """Whether nothing is due; else has the runner look again."""
    runs = runner.runs
    runs.woken.set()
    quiet = (now < s.due and (s.started is None or s.given_up) for s in runs.slots.values())
    return all(quiet) and not runs.ended
