"""Busy, or stalled: what the movements of a worker's serving loop mean.

A loop that takes connections moves: it beats (gunicorn's workers touch a file), and requests begin
and end. A busy worker beats late, or not before its request has ended; a stalled one is never
going to move again.
"""

from __future__ import annotations

import collections.abc as cabc

from .server import SERVING, Value, WorkerState

UNKNOWN_TIMEOUT = 30.0
"""Seconds that count where the server does not tell its own timeout: gunicorn's default."""

SLACK = 2.0
"""Seconds by which a beat may be late, and seen late: it is looked at once a second."""


class Movement(Value):
    """A worker as its movements show it.

    :ivar busy: requests that have begun and not ended.
    :ivar last: when it last moved, in seconds on the monotonic clock; 0: nobody knows.
    """

    __slots__ = ("busy", "last")

    def __init__(self, busy: int = 0, last: float = 0.0) -> None:
        self.busy: int = busy
        self.last: float = last


def patience(wanted: float | None, timeout: float | None, idle_beat: float) -> float | None:
    """For how many seconds a worker may not move before it is stalled; None: for ever.

    :param wanted: `HEALTH_STALL_AFTER`; None: as long as the server itself would wait.
    :param timeout: after how many seconds the server ends a worker that does not move, 0: it never
        does; None where nobody knows.
    :param idle_beat: seconds between two beats of a loop that has nothing to do.
    """
    if wanted is None:
        wanted = UNKNOWN_TIMEOUT if timeout is None else timeout
        if not wanted:
            return None
    return max(wanted, idle_beat + SLACK)


def stalled_for(
    state: WorkerState, movement: Movement, now: float, patience: float | None
) -> float | None:
    """For how many seconds a worker has been stalled; None when it is not.

    Only one that serves can be: one that starts, is held or has failed has no reason to move.
    """
    if state not in SERVING or not movement.last or patience is None:
        return None
    still = now - movement.last
    return still if still > patience else None


def all_stalled(
    workers: cabc.Iterable[tuple[WorkerState, Movement]], now: float, patience: float | None
) -> float | None:
    """For how many seconds all workers of a server have been stalled; None when one is not, or
    there is none.
    """
    stalls = [stalled_for(state, movement, now, patience) for state, movement in workers]
    known = [seconds for seconds in stalls if seconds is not None]
    return min(known) if known and len(known) == len(stalls) else None
