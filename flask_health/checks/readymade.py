"""What all ready-made checks have in common."""

from __future__ import annotations

import abc
import typing as t

MARGIN = 0.8
"""The share of a check's timeout that its driver gets, so that the call ends by itself."""


class ReadyMade(abc.ABC):
    """A check that knows what it is about.

    :cvar component_type: as in draft-inadarei-api-health-check-06, 4.3: `component`, `datastore`
        or `system`.
    :cvar measurement: what the observed value measures, in the draft's words: `responseTime`,
        `utilization`, `connections`, `uptime`, or one of our own.
    :cvar network: whether it asks another process. Such a check is refused for liveness: when
        a dependency is down, restarting every process that uses it does not help.
    :ivar timeout: seconds that the check may take; set when it is registered.
    """

    component_type: t.ClassVar[str] = "component"
    measurement: t.ClassVar[str] = "responseTime"
    network: t.ClassVar[bool] = True
    timeout: float = 5.0

    @property
    def driver_timeout(self) -> float:
        """Seconds that the driver may take, less than the check."""
        return self.timeout * MARGIN

    @abc.abstractmethod
    def __call__(self) -> object:
        """The observed value with its unit; raises when it fails."""
