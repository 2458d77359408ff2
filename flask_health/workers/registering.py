"""What is wrong with a setup step, or with the name or the signature of a check: said when it is
registered.
"""

from __future__ import annotations

import collections.abc as cabc
import importlib.util
import inspect
import math
import re
import typing as t

from .steps import SCOPES, Step

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
