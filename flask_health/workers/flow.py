"""Traffic as people look at it: over the last minutes, and what each worker has in hand."""

from __future__ import annotations

import time
import typing as t

from ..model.course import Slice, course
from .records import BOUNDS, Record
from .statedir import StateDir
from .tally import Reading, Total, gather


class Hand(t.NamedTuple):
    """What one worker has in hand.

    :ivar in_flight: requests that have begun and not ended.
    :ivar beat: how many seconds ago its serving loop last showed life; None when it is not known.
    """

    in_flight: int
    beat: float | None


class Flow(t.NamedTuple):
    """The traffic of a server.

    :ivar course: its last slices, oldest first.
    :ivar hands: what each worker has in hand, by process id.
    """

    course: list[Slice | None]
    hands: dict[int, Hand]


def flow(directory: StateDir | None, record: Record) -> Flow:
    """The traffic of a server, now; nothing where it cannot be known.

    :param directory: where its workers share their records; None: there is one process.
    :param record: that of this process.
    """
    try:
        total, found = gather(directory, record)
    except (OSError, ValueError):  # It is logged where the report is made.
        total, found = Total(), []
    series = [*([total.series] if total.series else []), *(reading.series for reading in found)]
    now = time.monotonic()
    hands = {reading.pid: _hand(reading, now) for reading in found if reading.alive}
    return Flow(course(series, now, BOUNDS), hands)


def _hand(reading: Reading, now: float) -> Hand:
    beat = max(0.0, now - reading.beat) if reading.beat else None
    return Hand(reading.in_flight, beat)
