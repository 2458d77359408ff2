"""Reading the records of all workers, and folding those of the dead into one, exactly once.

    T0  a worker dies; its record stays, and is read like those of the living
    T1  a keeper adds it to `total`, which names it: from now on nobody reads the record itself
    T2  the record is removed; the next `total` need not name it any more

Each step is one system call, so whoever folds may be killed between any two of them.
"""

from __future__ import annotations

import array
import collections.abc as cabc
import json
import logging
import os
import time
import typing as t
import weakref

from ..model import traffic
from ..model.traffic import Series, Traffic
from . import records
from .process import close, exists, is_alive
from .records import BEAT, BOUNDS, BUCKETS, EVERY, FOLDER, PROGRESS, REQUESTS, RING, SPENT, STARTED
from .statedir import StateDir

log: logging.Logger = logging.getLogger("flask_health")

TOTAL = f"{FOLDER}/total"
LOCK = f"{FOLDER}/lock"
READINGS = 5
"""How often all is read again because records were folded meanwhile."""

REMEMBERED = 1.0
"""Seconds that what was told is told again."""

GRAIN = 2.0**-24
"""Seconds, 60 billionths: the time spent is told in multiples of it. Sums of these are exact;
others would depend on their order, and a total could shrink when records are folded.
"""

MOMENT = 1e-6
"""Seconds from the last snapshot to now, at least."""


class Reading(t.NamedTuple):
    """A worker's record as it was read.

    :ivar start: when the process started, in clock ticks since the kernel's boot.
    :ivar alive: whether it still runs.
    """

    pid: int
    start: int
    alive: bool
    words: cabc.Sequence[float]

    @property
    def name(self) -> str:
        """The record's file name."""
        return f"record.{self.pid}.{self.start}"

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended: none in a dead worker."""
        running = self.words[REQUESTS] - sum(self.words[BUCKETS:RING])
        return max(0, round(running)) if self.alive else 0

    @property
    def progress(self) -> float:
        """When a request last began or ended, else when counting began, on the monotonic clock."""
        return self.words[PROGRESS]

    @property
    def beat(self) -> float:
        """When its serving loop last showed life, as far as its keeper saw, on the monotonic clock;
        0: it has not yet, or it is not known.
        """
        return self.words[BEAT]

    @property
    def series(self) -> Series:
        """Its counters over time."""
        words, started = self.words, self.words[STARTED]
        points = {started: (0.0,) * (RING - REQUESTS)}
        for at in range(RING, len(words), records.ROW):
            if words[at] > started:
                points[words[at]] = tuple(words[at + 1 : at + records.ROW])
        last = max(words[PROGRESS], *points) + MOMENT
        counts = list(words[REQUESTS:RING])
        counts[SPENT - REQUESTS] = words[SPENT] // GRAIN * GRAIN
        points[last] = tuple(counts)
        return Series(tuple((then, points[then]) for then in sorted(points)))


class Total(t.NamedTuple):
    """What dead workers counted.

    :ivar folded: the names of the records in it that may still be there.
    :ivar series: their counters over time; None before anyone has died.
    """

    folded: tuple[str, ...] = ()
    series: Series | None = None


def read(directory: StateDir) -> tuple[Total, list[Reading]]:
    """What dead workers counted that are folded, and the records of all others.

    :raises OSError: when it cannot be known.
    """
    for _ in range(READINGS):
        text = _read_total(directory)
        total = _total(text)
        names = [name for name in directory.names(FOLDER) if name not in total.folded]
        found = [reading for name in names if (reading := _record(directory, name))]
        if _read_total(directory) == text:
            break
    return total, found


_told: weakref.WeakKeyDictionary[records.Record, tuple[float, Traffic | None]]
_told = weakref.WeakKeyDictionary()


def tell(directory: StateDir | None, record: records.Record) -> Traffic | None:
    """The traffic of a server, at most a second old; None when it cannot be read.

    :param record: that of this process.
    """
    told = _told.get(record)
    now = time.monotonic()
    if told and now < told[0]:
        return told[1]
    traffic = None
    try:
        traffic = survey(directory, record)
    except (OSError, ValueError) as error:
        if told is None or told[1]:
            log.error("cannot read the records of traffic: %s", error)
    _told[record] = now + REMEMBERED, traffic
    return traffic


def survey(directory: StateDir | None, record: records.Record) -> Traffic:
    """The traffic of a server, now.

    :param directory: where its workers share their records; None: there is one process.
    :param record: that of this process: read from memory when others cannot read it.
    :raises OSError: when it cannot be known.
    """
    return measure(*gather(directory, record))


def gather(directory: StateDir | None, record: records.Record) -> tuple[Total, list[Reading]]:
    """The records of a server, that of this process among them.

    :raises OSError: when they cannot be read.
    """
    total, found = read(directory) if directory else (Total(), [])
    if directory is None or not record.shared:
        words = array.array("d", record.words.tobytes())
        found.append(Reading(os.getpid(), 0, True, words))
    return total, found


def measure(total: Total, found: cabc.Sequence[Reading]) -> Traffic:
    """The traffic that records tell."""
    series = [total.series] if total.series else []
    series += [reading.series for reading in found]
    in_flight = sum(reading.in_flight for reading in found)
    return traffic.measure(series, in_flight, time.monotonic(), BOUNDS)


def fold(directory: StateDir) -> None:
    """Folds the records of the dead, unless another worker is at it.

    :raises OSError: when it cannot: nothing is lost.
    """
    claim = directory.claim(LOCK)
    if claim is None:
        return
    try:
        total, found = read(directory)
        for name in directory.names(FOLDER):
            if name in total.folded or _left_behind(name):
                directory.remove(f"{FOLDER}/{name}")
        dead = [reading for reading in found if not reading.alive]
        if dead:
            names = [reading.name for reading in dead]
            series = [*([total.series] if total.series else []), *(r.series for r in dead)]
            directory.write(TOTAL, _text(names, merge(series, time.monotonic())))
            for name in names:
                directory.remove(f"{FOLDER}/{name}")
    finally:
        claim.let_go()


def merge(series: cabc.Sequence[Series], now: float) -> Series:
    """Several of them as one, with a point for each row of a record's ring.

    :param now: on the monotonic clock.
    """
    began = min(s.points[0][0] for s in series)
    slot = int(now / EVERY)
    times = [n * EVERY for n in range(slot - records.ROWS + 1, slot + 1)]
    times = [began, *(then for then in times if began < then < now)]
    points = [(then, tuple(traffic.total(s.at(then) for s in series))) for then in times]
    return Series((*points, (now, tuple(traffic.total(s.last for s in series)))))


def _text(folded: list[str], series: Series) -> str:
    return json.dumps({"folded": folded, "points": [[time, *c] for time, c in series.points]})


def _read_total(directory: StateDir) -> str:
    try:
        fd = os.open(TOTAL, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory.fd)
    except FileNotFoundError:
        return ""
    with open(fd, encoding="utf-8") as file:
        return file.read()


def _total(text: str) -> Total:
    if not text:
        return Total()
    content = json.loads(text)
    points = tuple((point[0], tuple(point[1:])) for point in content["points"])
    return Total(tuple(content["folded"]), Series(points))


def _record(directory: StateDir, name: str) -> Reading | None:
    word, _, rest = name.partition(".")
    pid, _, start = rest.partition(".")
    if word != "record" or not (pid.isdigit() and start.isdigit()):
        return None
    # Asked first: what the dead have counted is all there.
    alive = is_alive(int(pid), int(start))
    try:
        fd = os.open(f"{FOLDER}/{name}", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory.fd)
    except FileNotFoundError:
        return None  # Folded meanwhile.
    try:
        content = os.pread(fd, records.SIZE, 0)
    finally:
        close(fd)
    if len(content) < records.SIZE:
        return None
    return Reading(int(pid), int(start), alive, array.array("d", content))


def _left_behind(name: str) -> bool:
    """Whether a temporary file belongs to a process that is gone."""
    parts = name.split(".")
    return name.startswith(".tmp.") and parts[2].isdigit() and not exists(int(parts[2]))
