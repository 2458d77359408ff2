"""The runs of checks in one worker: each in a thread of its own, begun when it is due, and given up
when it takes too long.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import dataclasses
import logging
import random
import threading
import time

from ..model.check import Check, Outcome
from ..model.status import Status
from .attempt import attempt, timed_out

log: logging.Logger = logging.getLogger("flask_health")

TICK = 0.1
"""Seconds between two looks at what others have published, and at what is due."""

JITTER = 0.1
"""The share of an interval by which it is cut at random, so that servers do not check in step. At
least half of it is cut: that makes up for the time that it takes to begin a run and to tell of it.
An interval is never longer: who waits for the result would think that its author is stuck.
"""


@dataclasses.dataclass
class Slot:
    """One check, and its run in progress. Times are on the monotonic clock.

    :ivar due: when the next run begins; of a run that was given up, when it fails again.
    :ivar started: when the run in progress began; None between runs.
    :ivar given_up: whether that run has been reported as timed out.
    :ivar slow: whether the last run took more than half of its time.
    :ivar stands_in: whether this worker runs it in the place of a leader that is late.
    """

    check: Check
    due: float = 0.0
    started: float | None = None
    given_up: bool = False
    slow: bool = False
    stands_in: bool = False


class Runs:
    """When the checks of one app run in this worker, and the runs in progress.

    :ivar slots: the checks by name, in order of registration.
    :ivar ended: the runs that have ended since the last turn.
    :ivar woken: set when one has.
    """

    def __init__(self, checks: cabc.Sequence[Check], call: cabc.Callable[[Check], object]) -> None:
        self.slots: dict[str, Slot] = {check.name: Slot(check) for check in checks}
        self.ended: collections.deque[tuple[Slot, Outcome]] = collections.deque()
        self.woken: threading.Event = threading.Event()
        self._call = call
        self._random = random.Random()  # The app's own row of random numbers stays as it is.

    def turn(
        self, now: float, responsible: cabc.Callable[[Slot], bool]
    ) -> cabc.Iterator[tuple[Slot, Outcome]]:
        """Starts what is due, and gives up what takes too long.

        :param responsible: whether this worker runs a check now.
        :return: what has come out, to be taken in before the next is asked for.
        """
        while self.ended:
            slot, outcome = self.ended.popleft()
            counts = _end(slot, outcome, now)
            if counts is not None:
                yield slot, counts
        for slot in self.slots.values():
            counts = self._step(slot, now, responsible)
            if counts is not None:
                yield slot, counts

    def rest(self, slot: Slot, now: float) -> None:
        """Has a check that is sure of its status wait for its interval."""
        slot.due = now + slot.check.interval * self._random.uniform(1 - JITTER, 1 - JITTER / 2)

    def until_next(self, now: float) -> float:
        """Seconds until something is due, for a worker that runs all of the checks."""
        times = [
            slot.due if slot.started is None or slot.given_up else slot.started + slot.check.timeout
            for slot in self.slots.values()
            if slot.check.scope != "fleet" or slot.started is not None
        ]
        if any(slot.check.scope == "fleet" for slot in self.slots.values()):
            times.append(now + TICK)  # Others decide when it is due.
        return min(max(min(times, default=now + 1.0) - now, 0.01), 1.0)

    def _step(
        self, slot: Slot, now: float, responsible: cabc.Callable[[Slot], bool]
    ) -> Outcome | None:
        """Starts a check that is due, or gives a run up that takes too long.

        A run that goes on to hang fails again at each retry: a component that answers nothing is
        down as soon as one that refuses.
        """
        check = slot.check
        if slot.started is None:
            if now >= slot.due and responsible(slot):
                return self._begin(slot, now)
        elif now - slot.started > check.timeout and (
            not slot.given_up or (now >= slot.due and responsible(slot))
        ):
            slot.given_up, slot.due = True, now + check.retry_interval
            return timed_out(check)
        return None

    def _begin(self, slot: Slot, now: float) -> Outcome | None:
        thread = threading.Thread(
            target=self._run,
            args=(slot,),
            name=f"flask-health-check-{slot.check.name}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:  # This process may have no more threads.
            slot.due = now + slot.check.retry_interval
            return Outcome(Status.FAIL, str(error), time.time(), now, 0.0)
        slot.started, slot.given_up = now, False
        return None

    def _run(self, slot: Slot) -> None:
        self.ended.append((slot, attempt(slot.check, self._call)))
        self.woken.set()


def _end(slot: Slot, outcome: Outcome, now: float) -> Outcome | None:
    """What counts of a run that has ended; None when it was given up."""
    check, given_up = slot.check, slot.given_up
    slot.started, slot.given_up, slot.due = None, False, now + check.retry_interval
    slow = outcome.duration > check.timeout / 2
    if slow and not slot.slow:
        log.warning("check '%s' is slow: %.2f s", check.name, outcome.duration)
    slot.slow = slow
    if given_up:
        return None
    return outcome if outcome.duration <= check.timeout else timed_out(check)
