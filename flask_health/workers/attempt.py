"""One run of one check, and what it came to."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import time
import typing as t

from ..exceptions import Degraded
from ..model.check import Check, Outcome, observe
from ..model.mask import mask
from ..model.status import Status


def attempt(check: Check, call: cabc.Callable[[Check], object]) -> Outcome:
    """Runs a check to its end; never raises."""
    began = time.monotonic()
    value: t.Any = None
    unit = None
    try:
        returned = call(check)
        if inspect.iscoroutine(returned):
            returned.close()
            raise TypeError("it returned a coroutine: make it an 'async def'")
        status, value, unit = observe(returned)
        output = "returned False" if status is Status.FAIL else ""
    except Degraded as error:
        status, output = Status.WARN, mask(_words(error)) or type(error).__name__
    # Whatever a check raises is its result: what left this thread would be lost.
    except BaseException as error:
        said = _words(error)
        status, output = Status.FAIL, mask(type(error).__name__ + (said and f": {said}"))
    ended = time.monotonic()
    return Outcome(status, output, time.time(), ended, ended - began, value, unit)


def timed_out(check: Check) -> Outcome:
    """The outcome of a run that takes longer than it may."""
    output = f"timed out after {check.timeout} s"
    return Outcome(Status.FAIL, output, time.time(), time.monotonic(), check.timeout)


def _words(error: BaseException) -> str:
    """What an exception says; nothing when it cannot be put into words."""
    try:
        return str(error)
    except Exception:
        return ""
