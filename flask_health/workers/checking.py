"""Making a check: everything that is wrong with one is said at once."""

from __future__ import annotations

import collections.abc as cabc
import math
import typing as t

from ..model.check import PROBES, Check
from .registering import check_name, check_signature

if t.TYPE_CHECKING:
    from ..model.check import CheckScope, Probe


class CheckOptions(t.TypedDict, total=False):
    """What can be said of a check; see :meth:`flask_health.HealthCheck.add_check`."""

    name: str | None
    probes: cabc.Sequence[Probe]
    critical: bool
    scope: CheckScope
    timeout: float
    interval: float
    retry_interval: float
    failure_threshold: int
    success_threshold: int
    panic: bool


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
    panic: bool,
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
    if scope not in ("server", "worker", "fleet"):
        wrong.append(("scope", scope, "one of 'server', 'worker', 'fleet'"))
    if panic and (scope != "server" or not _are_probes(probes) or set(probes) != {"ready"}):
        right = "False, but for a check with scope='server' and probes=('ready',)"
        wrong.append(("panic", panic, right))
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
        panic=bool(panic),
    )


def _are_probes(value: object) -> bool:
    return (
        isinstance(value, cabc.Collection)
        and not isinstance(value, str)
        and bool(value)
        and all(probe in PROBES for probe in value)
    )
