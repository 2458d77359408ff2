"""What all ready-made checks have in common."""

from __future__ import annotations

import abc
import contextlib
import time
import typing as t
from collections.abc import Iterator

from ..exceptions import Degraded
from ..model.mask import mask

MARGIN = 0.8
"""The share of a check's timeout that its driver gets, so that the call ends by itself."""


class ReadyMade(abc.ABC):
    """A check that knows what it is about.

    :cvar component_type: as in draft-inadarei-api-health-check-06, 4.3: `component`, `datastore`
        or `system`.
    :cvar measurement: what the observed value measures, in the draft's words: `responseTime`,
        `utilization`, `connections`, `uptime`, or one of our own. A check whose arguments decide
        what it measures sets it on the instance.
    :cvar network: whether it asks another process. Such a check is refused for liveness: when
        a dependency is down, restarting every process that uses it does not help.
    :ivar timeout: seconds that the check may take; set when it is registered.
    """

    component_type: t.ClassVar[str] = "component"
    measurement: str = "responseTime"
    network: t.ClassVar[bool] = True
    timeout: float = 5.0

    @property
    def driver_timeout(self) -> float:
        """Seconds that the driver may take, less than the check."""
        return self.timeout * MARGIN

    @abc.abstractmethod
    def __call__(self) -> object:
        """The observed value with its unit; raises when it fails."""

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Say in one line, without a secret, what went wrong while `what` was asked.

        Within the block a ValueError is an answer, but a wrong one.
        """
        began = time.monotonic()
        try:
            yield
        except Degraded:
            raise
        except Exception as error:
            if is_late(error):
                after = f"no answer after {time.monotonic() - began:.1f} s"
                raise TimeoutError(f"{what}: {after} ({told(error)})") from None
            raise ConnectionError(f"{what}: {told(error)}") from None


class Timed(ReadyMade):
    """A check whose observed value is how long the answer took, in seconds.

    :param warn_after: seconds; an answer that took longer is degraded. None: never.
    """

    def __init__(self, warn_after: float | None = None) -> None:
        self._warn_after = None if warn_after is None else positive("warn_after", warn_after)

    def __call__(self) -> tuple[float, str]:
        """Seconds until the answer; raises when there is none, or not the one expected."""
        began = time.perf_counter()
        self._ask()
        took = time.perf_counter() - began
        if self._warn_after is not None and took > self._warn_after:
            raise Degraded(f"answered after {took:.3f} s, more than {self._warn_after:g} s")
        return round(took, 6), "s"

    @abc.abstractmethod
    def _ask(self) -> None:
        """Ask, and raise unless the answer is the one expected."""


class Deadline:
    """A moment by which something must have ended.

    :param seconds: seconds from now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain, more than 0; raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


def is_late(error: Exception) -> bool:
    """Whether the time was up. Most drivers have exceptions of their own for that."""
    if isinstance(error, ValueError):
        return False
    words = str(error).lower()
    return isinstance(error, TimeoutError) or "timed out" in words or "timeout" in words


def told(error: BaseException) -> str:
    """The driver's own words in one line, without secrets."""
    return mask(str(error)) or type(error).__name__


def number(name: str, value: object) -> float:
    """The value as it is; TypeError, naming the argument, unless it is a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name!r} must be a number, not {value!r}.")
    return value


def positive(name: str, value: object) -> float:
    """The value as it is; ValueError, naming the argument, unless it is more than 0."""
    if not (found := number(name, value)) > 0:
        raise ValueError(f"{name!r} must be more than 0, not {value!r}.")
    return found


def count(name: str, value: object, least: int = 0) -> int:
    """The value as it is; TypeError or ValueError unless it is a whole number >= `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name!r} must be a whole number, not {value!r}.")
    if value < least:
        raise ValueError(f"{name!r} must be at least {least}, not {value!r}.")
    return value


def text(name: str, value: object) -> str:
    """The value as it is; TypeError or ValueError unless it is a text with something in it."""
    if not isinstance(value, str):
        raise TypeError(f"{name!r} must be a str, not {value!r}.")
    if not value:
        raise ValueError(f"{name!r} must not be empty.")
    return value
