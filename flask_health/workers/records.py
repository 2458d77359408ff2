"""A worker's record: what it has counted, in memory that is a file, so that others can read it and
its death loses nothing.

Whoever counts changes `words` without a lock: the interpreter switches threads at calls and at
backward jumps only, so `words[n] += 1` is whole. Without a global interpreter lock counts may be
lost.
"""

from __future__ import annotations

import logging
import math
import os
import time
import typing as t

from .process import close, start_time, when_forked

if t.TYPE_CHECKING:
    from .statedir import StateDir

log: logging.Logger = logging.getLogger("flask_health")

FOLDER = "records"

BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75),
    *(1.0, 1.5, 2.5, 5.0, 10.0, 30.0),
)
"""The upper bounds of the latency buckets, in seconds; the last bucket has none."""

STARTED, PROGRESS, BEAT = 0, 1, 2
"""Seconds on the monotonic clock: when counting began, when a request last began or ended, when the
serving loop last showed life (0: not yet)."""

REQUESTS, ERRORS, SPENT, BUCKETS = 3, 4, 5, 6
"""Requests that began, those that failed, seconds spent in those that ended, and how many ended in
each bucket."""

RING = BUCKETS + len(BOUNDS) + 1
ROW = 1 + RING - REQUESTS
"""A row of the ring: the monotonic time of a snapshot, then all counters as they were."""

ROWS = 62
EVERY = 5.0
"""Seconds between two snapshots: the ring reaches back for more than 5 minutes."""

SIZE = 8 * (RING + ROWS * ROW)
"""Bytes of a record."""

NEVER = math.inf

MANY = 64
"""Records of dead workers."""

SAFE = ("tmpfs", "ramfs", "overlay")
"""File systems without a device of their own that find room for what has been allocated. One that
copies on write may not: a full disk would then kill whoever counts."""


class Record:
    """What this process counts. In memory of its own at first; `keep` moves it into a file.

    :ivar words: the counters, and the ring once there is one. Replaced when they move: look them
        up for each change.
    :ivar due: from when on, on the monotonic clock, who counts shall call `snapshot` first;
        `NEVER` where a keeper does.
    :ivar shared: whether others can read it.
    :ivar problem: what is wrong with it, for people.
    """

    def __init__(self) -> None:
        self.words: memoryview[float]
        self.due: float = 0.0
        self.problem: str = ""
        self.let_go()
        when_forked(self)

    def let_go(self) -> None:
        """Begins anew, in memory of its own: what was counted is the parent's."""
        self.words = memoryview(bytearray(8 * RING)).cast("d")
        self.words[STARTED] = self.words[PROGRESS] = time.monotonic()
        self._next = self.due = 0.0
        self._inode = -1
        self._start = 0
        self.shared: bool = False

    def keep(self, directory: StateDir, living: int, oldest: bool, beat: float = 0.0) -> None:
        """What a keeper does once a second.

        :param living: the number of living workers.
        :param oldest: whether this is the oldest of them: it folds the records of the dead.
        :param beat: when the serving loop last showed life, on the monotonic clock; 0: not yet.
        """
        self.due = NEVER
        self.words[BEAT] = beat
        now = time.monotonic()
        if now < self._next:
            return
        try:
            self._publish(directory)
            _tidy(directory, living, oldest)
            self.problem = ""
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            problem = f"cannot keep the records of traffic: {why}"
            if not self.problem:
                log.error("%s", problem)
            self.problem = problem
        self.snapshot(now)

    def snapshot(self, now: float) -> None:
        """Keeps in the ring what has been counted so far, as it is now and as it was when it last
        changed.

        :param now: on the monotonic clock.
        """
        self._next = now - now % EVERY + EVERY
        if self.due != NEVER:
            self.due = self._next
        if len(self.words) == RING:
            self._move(memoryview(bytearray(SIZE)).cast("d"))
        for then in (self.words[PROGRESS], now):
            at = RING + int(then / EVERY) % ROWS * ROW
            self.words[at] = 0.0  # Whoever reads it now must not take the old row for the new one.
            self.words[at + 1 : at + ROW] = self.words[REQUESTS:RING]
            self.words[at] = then

    def _publish(self, directory: StateDir) -> None:
        """Has others find this record in a directory, if they do not."""
        pid = os.getpid()
        # Asked once: it cannot be told while this process may open no more files.
        self._start = self._start or start_time(pid)
        name = f"{FOLDER}/record.{pid}.{self._start}"
        try:
            self.shared = self._inode == os.stat(name, dir_fd=directory.fd).st_ino
        except OSError:
            self.shared = False  # Not there yet, or taken away.
        if not self.shared:
            self._map(directory, name)
            self.shared = True

    def _map(self, directory: StateDir, name: str) -> None:
        """Makes the file of this record, and counts there."""
        import mmap

        if name.endswith(".0") or not hasattr(os, "posix_fallocate"):
            raise OSError("this platform cannot do it")
        directory.make_folder(FOLDER)
        temporary = f"{FOLDER}/.tmp.{os.getpid()}.record"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=directory.fd)
        try:
            os.posix_fallocate(fd, 0, SIZE)
            found = os.fstat(fd)
            if not _keeps_room(found.st_dev):
                raise OSError("a full disk would end this worker; use a tmpfs for shared state")
            new = memoryview(mmap.mmap(fd, SIZE)).cast("d")
            new[: len(self.words)] = self.words  # So that nobody finds it empty.
            directory.rename(temporary, name)
        except OSError:
            directory.remove(temporary)
            raise
        finally:
            close(fd)  # The mapping stays.
        self._inode = found.st_ino
        self._move(new)

    def _move(self, new: memoryview[float]) -> None:
        """Counts somewhere else from now on."""
        length = len(self.words)
        # Nobody counts between these two: there is no call.
        new[:length] = self.words
        self.words = new


def _keeps_room(device: int) -> bool:
    """Whether the file system of a device finds room for every page that it has allocated."""
    if os.major(device):
        return True
    number = f"0:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1] in SAFE
    return False


def _tidy(directory: StateDir, living: int, oldest: bool) -> None:
    """Folds the records of dead workers into one, if there are any."""
    records = sum(name.startswith("record.") for name in directory.names(FOLDER))
    # The others only help when there are many: the oldest may be unable to.
    if records > living + (0 if oldest else MANY):
        from .tally import fold

        fold(directory)
