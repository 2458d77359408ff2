"""Registering setup steps and checks: what is wrong with one is said at once, when it is made."""

from __future__ import annotations

import collections.abc as cabc
import math
import typing as t

from ..model.check import Check
from .runner import PROBES
from .steps import Step, check_name, check_signature, make_step, same_function

Registered = t.TypeVar("Registered", Step, Check)


class Registry:
    """The setup steps and the checks of one extension, in order of registration.

    :param begun: whether setup has started in any of its apps: then it is too late for new ones.
    """

    def __init__(self, begun: cabc.Callable[[], bool]) -> None:
        self._begun = begun
        self._steps: dict[str, Step] = {}
        self._checks: dict[str, Check] = {}

    @property
    def steps(self) -> list[Step]:
        """The setup steps."""
        return list(self._steps.values())

    @property
    def checks(self) -> list[Check]:
        """The checks."""
        return list(self._checks.values())

    def add_step(self, function: object, *options: t.Any) -> None:
        """Registers a setup step; see :func:`make_step`."""
        self._add(self._steps, make_step(function, *options), "setup step", "health.setup")

    def add_check(self, function: object, name: str | None, **options: t.Any) -> Check:
        """Registers a check; see :func:`make_check`."""
        check = make_check(function, name, **options)
        self._add(self._checks, check, "check", "health.check")
        if hasattr(function, "driver_timeout"):
            function.timeout = check.timeout  # type: ignore[attr-defined]
        return check

    def _add(self, known: dict[str, Registered], new: Registered, what: str, how: str) -> None:
        earlier = known.get(new.name.lower())
        if earlier is None and self._begun():
            raise RuntimeError(
                f"{what.capitalize()} '{new.name}' comes too late: setup has started. Did you "
                "register it inside a view or a setup step?"
            )
        if earlier is not None and not same_function(earlier.function, new.function):
            raise ValueError(
                f"Two {what}s are named '{new.name}'. Did you mean to give one of them another "
                f"name, with @{how}(name=...)?"
            )
        known[new.name.lower()] = new


def make_check(
    function: object,
    name: str | None,
    *,
    probes: cabc.Sequence[str],
    critical: bool,
    scope: str,
    timeout: float,
    interval: float,
    retry_interval: float,
    failure_threshold: int,
    success_threshold: int,
) -> Check:
    """A check, when all that was said of it is right.

    :raises TypeError: for a function that cannot be called without arguments.
    :raises ValueError: for anything else; the message has a line for each argument that is wrong,
        with its value and what would be right.
    """
    if not callable(function):
        raise TypeError(f"A check must be callable, not {function!r}")
    name = check_name(function, name, "check")
    check_signature(function, name, "Check")
    wrong: list[tuple[str, object, str]] = []
    if not _are_probes(probes):
        wrong.append(("probes", probes, f"a sequence of {', '.join(map(repr, PROBES))}"))
    if scope not in ("server", "worker"):
        wrong.append(("scope", scope, "'server' or 'worker'"))
    durations = {"timeout": timeout, "interval": interval, "retry_interval": retry_interval}
    for key, value in durations.items():
        if type(value) not in (int, float) or not 0 < value < math.inf:
            wrong.append((key, value, "a number of seconds > 0"))
    counts = {"failure_threshold": failure_threshold, "success_threshold": success_threshold}
    for key, count in counts.items():
        if type(count) is not int or count < 1:
            wrong.append((key, count, "a whole number >= 1"))
    if wrong:
        raise ValueError(
            "\n".join(
                f"'{k}' of check '{name}' must be {right}, not {v!r}." for k, v, right in wrong
            )
        )
    if "live" in probes and getattr(function, "network", False):
        raise ValueError(
            f"Check '{name}' asks another process and cannot be part of 'live': when a dependency "
            "is down, restarting every process that uses it makes things worse. Use 'ready'."
        )
    return Check(
        name=name,
        function=function,
        probes=t.cast(t.Any, tuple(dict.fromkeys(probes))),
        critical=bool(critical),
        scope=t.cast(t.Any, scope),
        timeout=float(timeout),
        interval=float(interval),
        retry_interval=float(min(retry_interval, interval)),
        failure_threshold=failure_threshold,
        success_threshold=success_threshold,
        component_type=getattr(function, "component_type", ""),
        measurement=getattr(function, "measurement", ""),
    )


def _are_probes(value: object) -> bool:
    return (
        isinstance(value, cabc.Collection)
        and not isinstance(value, str)
        and bool(value)
        and all(probe in PROBES for probe in value)
    )
