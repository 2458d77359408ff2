"""How the workers of a server move, as their records tell."""

from __future__ import annotations

import array
import collections.abc as cabc
import os

from ..model.movement import Movement
from ..model.server import Marker
from .process import close
from .records import BEAT, BUCKETS, FOLDER, PROGRESS, REQUESTS, RING
from .statedir import StateDir


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
