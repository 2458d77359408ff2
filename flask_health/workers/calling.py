"""Calling a setup step or a check: also an async one, also under gevent."""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import inspect
import sys

from .steps import Step


def finished(step: Step, result: object) -> object:
    """What a step returned, unless that shows that it has not even begun.

    :raises TypeError: for a coroutine: the step is async in a way that no inspection shows.
    """
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"setup step '{step.name}' returned a coroutine: make it an 'async def'")
    return result


def gevent_rules() -> bool:
    """Whether threads of this process are greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def call_natively(function: cabc.Callable[[], object]) -> object:
    """Calls a function on a native thread while the greenlet that asked waits; where gevent does
    not rule, just calls it.
    """
    if not gevent_rules():
        return function()
    import gevent

    def caught() -> tuple[object, BaseException | None]:
        # gevent prints what leaves a function of its pool, each time and with all that it says.
        try:
            return function(), None
        except BaseException as error:
            return None, error

    context = contextvars.copy_context()
    result, error = gevent.get_hub().threadpool.apply(context.run, (caught,))
    if error is not None:
        raise error
    return result
