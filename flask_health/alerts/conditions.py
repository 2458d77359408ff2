"""What is worth a message about the server itself, its checks aside: pure decisions.

Trouble is, and its end; what happens on purpose is not. A server that starts, drains or is paused
is not ready, and nobody has to look.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..model import judge
from ..model.server import Census, WorkerState
from ..model.status import Status
from .outbox import Edge

SETTLED_AFTER = 2.0
"""Seconds for which the workers have to be in a new condition before it is told: workers that are
told to stop do so one after the other.
"""

Seen = tuple[Status | None, str]
"""A status and its reason; None when there is nothing to be told now."""

NOTHING: Seen = (None, "")


def of_gate(state: str, reason: str) -> Seen:
    """What the init gate is: fail once setup has failed, pass once it is open."""
    if state == "failed":
        return Status.FAIL, reason
    return (Status.PASS, "") if state == "open" else NOTHING


def of_workers(census: Census, min_workers: int, misses_one: bool) -> Seen:
    """What the workers of a server are, once its gate has opened."""
    stopping = census.how_many(frozenset({WorkerState.STOPPING}))
    on_purpose = stopping or census.draining or census.paused
    if on_purpose or census.orphaned or not census.opened:
        return NOTHING
    return (
        judge.status(census, min_workers, misses_one),
        judge.reason(census, min_workers, misses_one),
    )


@dataclasses.dataclass
class Condition:
    """One of these, as it was told last. Times are on the monotonic clock.

    :ivar settled_after: seconds that a new status has to last before it is told.
    :ivar since: when the status began.
    """

    name: str
    settled_after: float = 0.0
    status: Status = Status.PASS
    since: float = 0.0
    _new: Status = Status.PASS
    _new_since: float = 0.0

    def see(self, seen: Seen, now: float, time: float) -> Edge | None:
        """What is to be told of what was seen now; None when nothing is.

        :param time: the same moment in seconds since the epoch.
        """
        status, output = seen
        if status is None or status is self.status:
            self._new = self.status
            return None
        if status is not self._new:
            self._new, self._new_since = status, now
        if now - self._new_since < self.settled_after:
            return None
        old, began = self.status, self.since
        self.status, self.since = status, self._new_since
        outage = now - began if status is Status.PASS else 0.0
        return Edge(self.name, 0, old, status, output, 0, outage, time)

    def dump(self) -> dict[str, t.Any]:
        """What the next worker has to know, as JSON can hold it."""
        return {"status": str(self.status), "since": self.since}

    def load(self, content: t.Any) -> None:
        """Takes over what another worker has told.

        :raises KeyError, TypeError, ValueError: for anything else than it dumps.
        """
        self.status, self.since = Status(content["status"]), float(content["since"])
