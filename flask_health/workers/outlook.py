"""What the checks mean to each probe, made ready so that a probe only has to read."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import math
import time

from ..model.check import Result
from ..model.status import Status


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What the checks mean to each probe, ready to be read.

    :ivar statuses: the worst of its checks.
    :ivar good_until: until when, on the monotonic clock, none of its results becomes stale.
    """

    statuses: cabc.Mapping[str, Status]
    good_until: cabc.Mapping[str, float]

    def allows(self, probe: str) -> bool:
        """Whether the checks of a probe allow it to pass now."""
        return self.statuses[probe] is not Status.FAIL and self.is_fresh(probe)

    def is_fresh(self, probe: str) -> bool:
        """Whether no result that may fail a probe has become stale."""
        return time.monotonic() < self.good_until[probe]


def fresh_until(results: cabc.Iterable[Result]) -> float:
    """When the first result that may fail its probe becomes stale, on the monotonic clock."""
    return min(
        (
            result.stale_at
            for result in results
            if result.check.critical and result.stale_at is not None
        ),
        default=math.inf,
    )
