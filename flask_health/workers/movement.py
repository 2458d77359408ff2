"""How the workers of a server move, as their records tell."""

from __future__ import annotations

import array
import collections.abc as cabc
import os
import time
import weakref

from ..model.movement import Movement, stalled_for
from ..model.server import Census, Marker
from .process import close
from .records import BEAT, BUCKETS, FOLDER, PROGRESS, REQUESTS, RING
from .statedir import StateDir

REMEMBERED = 1.0
"""Seconds that what was read is told again, as long as the workers are the same."""

Moves = dict[int, tuple[int, float | None]]
"""By process id, how many requests a worker has under way, and for how many seconds it has been
stalled, None when it is not."""

_told: weakref.WeakKeyDictionary[StateDir, tuple[float, Census, Moves]]
_told = weakref.WeakKeyDictionary()


def of_server(directory: StateDir, census: Census, patience: float | None) -> Moves:
    """How all workers move that have a record; at most a second old.

    :param patience: after how many seconds without a movement a worker is stalled; None: never.
    """
    told, now = _told.get(directory), time.monotonic()
    if told and told[1] is census and now < told[0]:
        return told[2]
    found = {}
    for marker in census.markers:
        moves = of_worker(directory, marker)
        if moves:
            found[marker.pid] = moves.busy, stalled_for(marker.state, moves, now, patience)
    _told[directory] = now + REMEMBERED, census, found
    return found


def of_words(words: cabc.Sequence[float]) -> Movement:
    """What the counters of a worker tell. Without a beat nobody knows whether its loop moves."""
    busy = words[REQUESTS] - sum(words[BUCKETS:RING])
    last = max(words[BEAT], words[PROGRESS]) if words[BEAT] else 0.0
    return Movement(max(0, round(busy)), last)


def of_worker(directory: StateDir, marker: Marker) -> Movement | None:
    """What another worker's record tells; None where it has none."""
    name = f"{FOLDER}/record.{marker.pid}.{marker.start}"
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory.fd)
    except OSError:
        return None
    try:
        found = os.pread(fd, 8 * RING, 0)
    except OSError:
        return None
    finally:
        close(fd)
    return of_words(array.array("d", found)) if len(found) == 8 * RING else None
