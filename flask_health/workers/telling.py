"""Telling of changes: in the log, in the record of the last ones, and to who listens."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import logging
import os
import threading

from ..model.check import Check, History
from ..model.status import Status
from .board import Board, Transition

log: logging.Logger = logging.getLogger("flask_health")

MOST_TOLD = 100
"""Changes that wait for slow receivers, and that are kept where there is no shared state."""


class Telling:
    """Tells changes one after the other in a thread of its own: a receiver may be slow.

    :param tell: is called with each change.
    :param board: keeps them for all workers; None where there is no shared state.
    """

    def __init__(self, tell: cabc.Callable[[Transition], None], board: Board | None) -> None:
        self._tell = tell
        self._board = board
        self._kept: collections.deque[tuple[int, Transition]] = collections.deque(maxlen=MOST_TOLD)
        self._counts: collections.Counter[str] = collections.Counter()
        self._waiting: collections.deque[Transition] = collections.deque(maxlen=MOST_TOLD)
        self._busy = threading.Lock()

    @property
    def kept(self) -> list[Transition]:
        """The last changes, oldest first."""
        return self.numbered[1]

    @property
    def counts(self) -> dict[str, int]:
        """How many changes each check has had since the server started."""
        return self._board.counts() if self._board else dict(self._counts)

    @property
    def numbered(self) -> tuple[int, list[Transition]]:
        """How many changes there have been, of all checks, and the last of them, oldest first."""
        if self._board:
            return self._board.numbered()
        kept = list(self._kept)
        return (kept[-1][0] if kept else 0), [transition for _, transition in kept]

    def changed(
        self, check: Check, before: History | None, after: History, found_here: bool = True
    ) -> None:
        """Tells of a check whose status has changed.

        :param found_here: whether this server has found out; else another one tells who listens.
        """
        transition = _transition(check, before, after)
        level = logging.INFO if after.status is Status.PASS else logging.WARNING
        log.log(
            level,
            "check '%s': %s -> %s %s",
            check.name,
            transition.old,
            transition.new,
            transition.output,
        )
        self._counts[check.name] += 1
        self._kept.append((sum(self._counts.values()), transition))
        if self._board:
            with contextlib.suppress(OSError):
                self._board.add_transition(transition)
        if not found_here:
            return
        self._waiting.append(transition)
        threading.Thread(target=self._work, name="flask-health-telling", daemon=True).start()

    def _work(self) -> None:
        while self._waiting and self._busy.acquire(blocking=False):
            try:
                while self._waiting:
                    self._tell(self._waiting.popleft())
            finally:
                self._busy.release()


def _transition(check: Check, before: History | None, after: History) -> Transition:
    failures, outage = after.failures, 0.0
    if before is not None and before.down_since is not None and not after.failures:
        failures, outage = before.failures, after.last.ended - before.down_since
    return Transition(
        check=check.name,
        old=before.status if before else Status.PASS,
        new=after.status,
        time=after.last.time,
        output=after.last.output,
        failures=failures,
        outage=outage,
        worker=os.getpid() if check.scope == "worker" else 0,
    )
