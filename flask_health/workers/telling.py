"""Telling of changes: in the log, in the record of the last ones, and to who listens."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import logging
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
        self._kept: collections.deque[Transition] = collections.deque(maxlen=MOST_TOLD)
        self._waiting: collections.deque[Transition] = collections.deque(maxlen=MOST_TOLD)
        self._busy = threading.Lock()

    @property
    def kept(self) -> list[Transition]:
        """The last changes, oldest first."""
        return self._board.transitions() if self._board else list(self._kept)

    def changed(self, check: Check, before: History | None, after: History) -> None:
        """Tells of a check whose status has changed."""
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
        self._kept.append(transition)
        if self._board:
            with contextlib.suppress(OSError):
                self._board.add_transition(transition)
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
    )
