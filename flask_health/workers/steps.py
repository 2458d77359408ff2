"""Setup steps: what they are, and running one until it has ended well."""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import importlib.util
import inspect
import math
import re
import sys
import typing as t

Scope = t.Literal["worker", "server", "fleet"]
SCOPES: tuple[Scope, ...] = t.get_args(Scope)

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
TAKEOVERS = 3
"""How often another worker takes a server's step over from one that died in it."""


class Step(t.NamedTuple):
    """A setup step as it was registered.

    :ivar scope: `worker`: every worker runs it; `server`: one worker for all; `fleet`: one worker
        of all servers, once for each release.
    :ivar timeout: seconds after which it counts as failed; None: never.
    :ivar retries: how often it is tried again after it raised; None: for ever.
    :ivar native_thread: under gevent, run it on a native thread instead of in a greenlet.
    """

    name: str
    function: cabc.Callable[[], object]
    scope: Scope = "worker"
    timeout: float | None = None
    retries: int | None = None
    native_thread: bool = False


NAME = r"[A-Za-z0-9_-]{1,64}"
RESERVED = frozenset(
    "status checks live ready startup health all gate workers traffic info metrics ui fleet "
    "state".split()
)


def make_step(
    function: object,
    name: str | None,
    scope: object,
    timeout: float | None,
    retries: int | None,
    native_thread: bool,
) -> Step:
    """A step, when all that was said of it is right.

    :raises TypeError: for a function that cannot be called without arguments.
    :raises ValueError: for anything else; the message names the step, the value and what would
        be right.
    """
    if not callable(function):
        raise TypeError(f"A setup step must be callable, not {function!r}")
    name = check_name(function, name, "setup step")
    check_signature(function, name, "Setup step")
    if scope not in SCOPES:
        right = "one of " + ", ".join(f"'{word}'" for word in SCOPES)
        raise ValueError(f"'scope' of setup step '{name}' must be {right}, not {scope!r}")
    if timeout is not None and (not _is_number(timeout) or timeout <= 0):
        raise ValueError(
            f"'timeout' of setup step '{name}' must be a number of seconds > 0, not {timeout!r}"
        )
    if retries is not None and (type(retries) is not int or retries < 0):
        raise ValueError(
            f"'retries' of setup step '{name}' must be a whole number >= 0, not {retries!r}"
        )
    return Step(name, function, scope, timeout, retries, bool(native_thread))


def proper_name(function: object) -> str | None:
    """The name of a function, when it can be the name of a step; else None."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and re.fullmatch(NAME, name) else None


def same_function(one: object, other: object) -> bool:
    """Whether two functions are the same piece of code: an app factory that is called twice
    defines its functions twice.
    """
    one, other = _unwrap(one), _unwrap(other)
    code = getattr(one, "__code__", None)
    return one == other or (code is not None and code is getattr(other, "__code__", None))


def check_name(function: object, given: str | None, what: str) -> str:
    """The name that something is registered under.

    :param what: what is registered, for the message of the ValueError that a wrong name raises.
    """
    name = proper_name(function) if given is None else given
    if name is None:
        raise ValueError(f"The {what} {function!r} has no plain name: pass 'name='")
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise ValueError(
            f"'name' of a {what} must be 1 to 64 letters, digits, '_' or '-', not {name!r}"
        )
    if name.lower() in RESERVED:
        raise ValueError(f"A {what} cannot be named '{name}': pass another 'name='")
    return name


def check_signature(function: cabc.Callable[..., object], name: str, what: str) -> None:
    """Raises TypeError for a function that needs arguments, and ValueError for an async one where
    `asgiref`, which runs it, is missing.
    """
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise TypeError(f"{what} '{name}' is called without arguments: {error}") from None
    except ValueError:
        pass  # Some built-in functions have no signature to look at.
    if inspect.iscoroutinefunction(function) and not importlib.util.find_spec("asgiref"):
        raise ValueError(f"{what} '{name}' is async: install 'flask[async]'")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(t.cast(float, value))


def _unwrap(function: object) -> object:
    return inspect.unwrap(function) if callable(function) else function


class Progress:
    """How far a step has come.

    :ivar state: `pending`, `running`, `waiting` (another worker runs it), `failed` or `done`.
    :ivar fraction: from 0 to 1, as the step itself told; None when it did not.
    :ivar note: what it told with it.
    :ivar started: when the running attempt began, on the monotonic clock.
    :ivar error: why it failed, None when it did not.
    :ivar fencing: gives the fencing number of a step that runs for the fleet; None for others.
    """

    def __init__(self, step: Step, state: str = "pending", started: float | None = None) -> None:
        self.step = step
        self.state = state
        self.fraction: float | None = None
        self.note: str = ""
        self.started = started
        self.error: BaseException | None = None
        self.fencing: cabc.Callable[[], int] | None = None

    def late(self, now: float, default_timeout: float | None) -> float | None:
        """The timeout in seconds that the running attempt has exceeded; None when it has not."""
        timeout = self.step.timeout if self.step.timeout is not None else default_timeout
        if self.state != "running" or timeout is None or self.started is None:
            return None
        return timeout if now - self.started > timeout else None


running: contextvars.ContextVar[Progress | None] = contextvars.ContextVar(
    "flask_health_step", default=None
)
"""The step that the current thread of execution belongs to."""


def backoff(attempt: int) -> float:
    """Seconds to wait before attempt 1, 2, 3 ... is repeated: 1, 2, 4 ... 60."""
    return float(min(FIRST_RETRY * 2 ** min(attempt - 1, 10), LONGEST_RETRY))


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
