"""Looking at the workers of a server: a full look when something changed, two system calls when
nothing did.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import os
import select
import sys
import threading
import time
import typing as t

from ..model.server import Census, Marker, parse_marker, take_census
from .process import close, when_forked
from .statedir import StateDir, marker_is_alive

log: logging.Logger = logging.getLogger("flask_health")

COARSE_CLOCK = 20_000_000
"""Nanoseconds by which a file's timestamp may lag behind: a clock tick, with room."""


NO_WORKER = -1
"""Stands for the start time of the master, so that no marker can pass for it."""

LOOKS = 3
"""How often a listing is repeated in which a living worker is missing."""


class Watch:
    """The living workers of one boot.

    A directory whose modification time is unchanged has the same names in it; a process whose
    descriptor is not readable is alive. Both are asked of the kernel at every look.

    :ivar directory: the state directory that it reads.
    """

    def __init__(self, directory: StateDir, master: int) -> None:
        self.directory = directory
        self._master = master
        self._census = Census()
        self._scanned_at = -1
        self._lifelines = Lifelines()
        self._scanning = threading.Lock()
        self._read_failed = False

    def look(self) -> Census:
        """The living workers now. Never waits for a lock, writes nothing, never raises."""
        return self._census if self.unchanged() else self._scan()

    def unchanged(self) -> bool:
        """Whether the last look still holds: two system calls, whatever the number of workers."""
        return os.fstat(
            self.directory.fd
        ).st_mtime_ns == self._scanned_at and not self._lifelines.poll(0, 1)

    def _scan(self) -> Census:
        if not self._scanning.acquire(blocking=False):
            # Another thread is at it: look for ourselves rather than wait for it.
            return self._count(Lifelines(watching=False))
        try:
            # The dead are told of once: from now on no other thread believes the last look.
            self._scanned_at = -1
            self._lifelines.bury_the_dead()
            if not self._lifelines.holds(self._master, NO_WORKER):
                self._lifelines.add(self._master, NO_WORKER)
            modified = os.fstat(self.directory.fd).st_mtime_ns
            # Timestamps are as coarse as a clock tick: a change right after this scan may bear
            # the same one. Such a scan is not believed a second time (git's index does the same).
            settled = time.time_ns() - modified > COARSE_CLOCK
            self._census = self._count(self._lifelines)
            self._scanned_at = modified if settled and self._lifelines.complete else -1
            return self._census
        finally:
            self._scanning.release()

    def _count(self, lifelines: Lifelines) -> Census:
        census = self._census
        for _ in range(LOOKS):
            try:
                census = self._count_once(lifelines)
            except FileNotFoundError:
                continue  # Renamed between the two calls.
            except OSError as error:
                return self._unknown(error, lifelines)
            self._read_failed = False
            if self._keeps_all_living(census, lifelines):
                break
        return census

    def _count_once(self, lifelines: Lifelines) -> Census:
        names = self.directory.names()
        known = frozenset(self._census.markers)
        found = ((name, parse_marker(name)) for name in names)
        markers = [m for name, m in found if m and self._lives(name, m, lifelines, known)]
        return take_census(names, markers, self._orphaned())

    def _keeps_all_living(self, census: Census, lifelines: Lifelines) -> bool:
        """Whether nobody who lives was lost: a listing may miss a file that is being renamed."""
        before = {m.pid for m in self._census.markers if lifelines.holds(m.pid, m.start)}
        return before <= {m.pid for m in census.markers}

    def _unknown(self, error: OSError, lifelines: Lifelines) -> Census:
        if not self._read_failed:
            log.error("cannot read %s: %s", self.directory.path, error)
        self._read_failed = True
        lifelines.complete = False
        # Who lives is not known. What was decided for good stays decided.
        return self._census._replace(markers=(), orphaned=self._orphaned())

    def _orphaned(self) -> bool:
        return self._master not in (os.getppid(), os.getpid())

    def _lives(
        self, name: str, marker: Marker, lifelines: Lifelines, known: cabc.Container[Marker]
    ) -> bool:
        if marker in known and lifelines.holds(marker.pid, marker.start):
            return True  # Seen locked before, by a process that still lives.
        if not marker_is_alive(self.directory, name, marker):
            return False
        # Asked again once its descriptor is open: its number may have been reused in between.
        return not lifelines.add(marker.pid, marker.start) or marker_is_alive(
            self.directory, name, marker
        )


class Lifelines:
    """Process descriptors that tell, all in one system call, whether a process has died.

    Where the platform has none (Linux before 5.3, other systems), or this process may open no
    more files, it is not complete, and who asks must look at every process itself.

    :ivar complete: whether every process that was added is watched.
    :ivar poll: the deaths since the last burial, as `select.epoll.poll` gives them.
    """

    def __init__(self, watching: bool = True) -> None:
        epoll = _epoll() if watching else None
        self.complete: bool = epoll is not None
        self.poll: cabc.Callable[[float, int], list[tuple[int, int]]] = (
            epoll.poll if epoll else _nobody
        )
        self._epoll = epoll
        self._fds: dict[tuple[int, int], int] = {}
        when_forked(self)

    def holds(self, pid: int, start: int) -> bool:
        """Whether a process is watched, and was alive at the last burial."""
        return (pid, start) in self._fds

    def add(self, pid: int, start: int) -> bool:
        """Watches a process; False when it cannot be watched."""
        if self._epoll is None:
            return False
        if (pid, start) in self._fds:
            return True
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            self.complete = False
            return False
        self._fds[pid, start] = fd
        self._epoll.register(fd, select.EPOLLIN)
        return True

    def bury_the_dead(self) -> None:
        """Stops watching those that have died."""
        self.complete = self._epoll is not None
        if self._epoll is None:
            return
        dead = {fd for fd, _ in self._epoll.poll(0)}
        for key in [key for key, fd in self._fds.items() if fd in dead]:
            fd = self._fds.pop(key)
            self._epoll.unregister(fd)
            close(fd)

    def let_go(self) -> None:
        """Closes everything; it is not complete any more."""
        self.complete = False
        self.poll = _nobody
        fds, self._fds = self._fds, {}
        for fd in fds.values():
            close(fd)
        # Closed, never unregistered: a forked child shares the set itself with its parent.
        epoll, self._epoll = self._epoll, None
        if epoll:
            epoll.close()

    __del__ = let_go


def _nobody(timeout: float, maximum: int) -> list[tuple[int, int]]:
    return []


def _epoll() -> select.epoll | None:
    if not hasattr(os, "pidfd_open"):
        return None
    if "gevent.monkey" in sys.modules and not hasattr(select, "epoll"):
        from gevent.monkey import get_original  # gevent takes it out of `select`.

        return t.cast("select.epoll", get_original("select", "epoll")())
    try:
        return select.epoll()
    except (AttributeError, OSError):
        return None
