"""How many workers the server wants, when no younger worker comes to tell, and for how long one
has been missing.
"""

from __future__ import annotations

import os

from ..model.server import Census, WorkerState
from . import process
from .presence import Presence
from .server import Server

BELIEVED_AFTER = 3.0
"""Seconds that the master must have fewer workers than it was said to want before the smaller
number is believed: it forks them one after another, and replaces a dead one after a moment."""

MISSED_AFTER = 30.0
"""Seconds that a worker may be missing before the status is warn, or twice the longest setup."""

AT_WORK = frozenset({WorkerState.STARTING, WorkerState.READY, WorkerState.FAILED})


class Headcount:
    """The number of workers of one server, watched over time.

    After TTOU a master wants fewer workers, but forks none that could say so: the youngest one
    asks the kernel for the master's children, and corrects its own marker.
    """

    def __init__(self, server: Server, presence: Presence) -> None:
        self._server = server
        self._presence = presence
        self._fewer_since: float | None = None
        self._missing_since: float | None = None

    def check(self, now: float) -> None:
        """Looks once.

        :param now: seconds on the monotonic clock.
        """
        census = self._presence.watch.look()
        missing = census.how_many(AT_WORK) < census.expected
        self._missing_since = (self._missing_since or now) if missing else None
        fewer = self._fewer(census) if missing else None
        self._fewer_since = (self._fewer_since or now) if fewer else None
        if fewer and self._fewer_since and now - self._fewer_since > BELIEVED_AFTER:
            self._presence.expect(fewer)

    def misses_one(self, now: float, longest_setup: float) -> bool:
        """Whether a worker has been missing for so long that its replacement should be there."""
        since = self._missing_since
        return since is not None and now - since > max(MISSED_AFTER, 2 * longest_setup)

    def _fewer(self, census: Census) -> int | None:
        if self._server.kind != "gunicorn" or not census.markers:
            return None
        youngest = census.markers[-1]
        if youngest.pid != os.getpid() or youngest.age < census.expected:
            return None  # Not ours to say, or the master has not forked them all yet.
        children = process.forked_children(self._server.master)
        if children is None:
            return None
        workers = len(children - self._server.strangers)
        return workers if 0 < workers < census.expected else None
