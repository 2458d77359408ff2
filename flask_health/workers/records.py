"""A worker's record: what it has counted, in memory that is a file, so that others can read it and
its death loses nothing.

Whoever counts changes `words` without a lock: the interpreter switches threads at calls and at
backward jumps only, so `words[n] += 1` is whole. Without a global interpreter lock counts may be
lost.
"""

from __future__ import annotations

import logging
import os
import time
import typing as t

from .process import close, start_time, when_forked

if t.TYPE_CHECKING:
    from .statedir import StateDir

log: logging.Logger = logging.getLogger("flask_health")

FOLDER = "records"

BOUNDS = tuple(
    round(milliseconds * 1_000_000)
    for milliseconds in (
        *(1, 2.5, 5, 10, 25, 50, 75, 100, 150, 250, 350, 500, 750),
        *(1_000, 1_500, 2_500, 5_000, 10_000, 30_000),
    )
)
"""The upper bounds of the latency buckets, in nanoseconds; the last bucket has none."""

STARTED, PROGRESS, BEAT = 0, 1, 2
"""Monotonic times in nanoseconds: of the first count, of the last start or end of a request, of the
last beat of the serving loop (0: none yet)."""

REQUESTS, ERRORS, SPENT, BUCKETS = 3, 4, 5, 6
"""Requests begun, those that failed, nanoseconds spent in those that ended, and how many ended in
each bucket."""

RING = BUCKETS + len(BOUNDS) + 1
ROW = 1 + RING - REQUESTS
"""A row of the ring: the monotonic time of a snapshot, then all counters as they were."""

ROWS = 62
EVERY = 5_000_000_000
"""Nanoseconds between two snapshots: the ring reaches back for more than 5 minutes."""

WORDS = RING + ROWS * ROW
SIZE = 8 * WORDS
"""Bytes of a record."""

NEVER = 2**63

MANY = 64
"""Records of dead workers."""

SAFE = ("tmpfs", "ramfs", "overlay")
"""File systems without a device of their own that find room for what has been allocated. One that
copies on write may not: a full disk would then kill whoever counts."""


class Record:
    """What this process counts. In memory of its own at first; `keep` moves it into a file.

    :ivar words: the counters. Replaced when they move: look them up for each change.
    :ivar due: from when on, in monotonic nanoseconds, who counts shall call `snapshot` first;
        `NEVER` where a keeper does.
    :ivar shared: whether others can read it.
    :ivar problem: what is wrong with it, for people.
    """

    def __init__(self) -> None:
        self.words: memoryview[int]
        self.due: int = 0
        self.problem: str = ""
        self.let_go()
        when_forked(self)

    def let_go(self) -> None:
        """Begins anew, in memory of its own: what was counted is the parent's."""
        self.words = memoryview(bytearray(SIZE)).cast("Q")
        self.words[STARTED] = self.words[PROGRESS] = time.monotonic_ns()
        self._next = self.due = 0
        self._inode = -1
        self.shared: bool = False

    def keep(self, directory: StateDir, living: int, oldest: bool, beat: float = 0.0) -> None:
        """What a keeper does once a second.

        :param living: the number of living workers.
        :param oldest: whether this is the oldest of them: it folds the records of the dead.
        :param beat: when the serving loop last showed life, on the monotonic clock; 0: not yet.
        """
        self.due = NEVER
        self.words[BEAT] = round(beat * 1_000_000_000)
        now = time.monotonic_ns()
        if now < self._next:
            return
        self.snapshot(now)
        try:
            self._publish(directory)
            _tidy(directory, living, oldest)
            self.problem = ""
        except (OSError, ValueError) as error:
            problem = (
                f"cannot keep the records of traffic: {getattr(error, 'strerror', 0) or error}"
            )
            if not self.problem:
                log.error("%s", problem)
            self.problem = problem

    def snapshot(self, now: int) -> None:
        """Keeps in the ring what has been counted so far, as it is now and as it was when it last
        changed.

        :param now: monotonic nanoseconds.
        """
        self._next = now - now % EVERY + EVERY
        if self.due != NEVER:
            self.due = self._next
        for then in (self.words[PROGRESS], now):
            at = RING + then // EVERY % ROWS * ROW
            self.words[at] = 0  # Whoever reads it now must not take the old row for the new one.
            self.words[at + 1 : at + ROW] = self.words[REQUESTS:RING]
            self.words[at] = then

    def _publish(self, directory: StateDir) -> None:
        """Has others find this record in a directory, if they do not."""
        pid = os.getpid()
        name = f"{FOLDER}/record.{pid}.{start_time(pid)}"
        try:
            self.shared = self._inode == os.stat(name, dir_fd=directory.fd).st_ino
        except OSError:
            self.shared = False  # Not there yet, or taken away.
        if not self.shared:
            self._move(directory, name)
            self.shared = True

    def _move(self, directory: StateDir, name: str) -> None:
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
            new = memoryview(mmap.mmap(fd, SIZE)).cast("Q")
            new[:] = self.words
            directory.rename(temporary, name)
        except OSError:
            directory.remove(temporary)
            raise
        finally:
            close(fd)  # The mapping stays.
        self._inode = found.st_ino
        # Nobody counts between these two: there is no call.
        new[:] = self.words
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
