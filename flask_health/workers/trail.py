"""The last runs of each check: how long they took and what each came to, for people who look."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import typing as t

from ..model.status import Status

if t.TYPE_CHECKING:
    from ..model.check import Check, Outcome
    from .board import Board

KEPT_RUNS = 30
PAUSE = 2.0
"""Seconds between two tellings, at least."""

Run = tuple[float, Status]
"""How many seconds a run took, and what it came to by itself."""


class Trail:
    """What is kept of the runs in this process; the leader tells the other workers.

    :param board: where it is told; None where there is no shared state.
    """

    def __init__(self, board: Board | None) -> None:
        self._board = board
        self._untold = False
        self._next = 0.0
        self._runs: dict[str, collections.deque[Run]] = {}

    def add(self, name: str, outcome: Outcome) -> None:
        """Keeps one more run of a check."""
        kept = self._runs.get(name)
        if kept is None:
            kept = self._runs[name] = collections.deque(maxlen=KEPT_RUNS)
        kept.append((outcome.duration, outcome.status))
        self._untold = True

    def resume(self) -> None:
        """Goes on where the leader before this one has ended."""
        for name, runs in self._told().items():
            self._runs[name] = collections.deque(runs, KEPT_RUNS)

    def tell(self, checks: cabc.Iterable[Check], now: float) -> None:
        """Tells the other workers now and then of what it does for all. Where it cannot, they know
        less.

        :param now: on the monotonic clock.
        """
        if self._board and self._untold and now >= self._next:
            self._untold, self._next = False, now + PAUSE
            names = [check.name for check in checks if check.scope != "worker"]
            kept = {name: list(self._runs[name]) for name in names if name in self._runs}
            with contextlib.suppress(OSError):
                self._board.publish_runs(kept)

    def shown(self, checks: cabc.Iterable[Check], leads: bool) -> dict[str, list[Run]]:
        """The last runs of each check, oldest first; of one that another worker runs for all, as
        that one tells of them.
        """
        told = {} if leads else self._told()
        return {
            check.name: told.get(check.name, [])
            if check.scope != "worker" and not leads
            else list(self._runs.get(check.name, ()))
            for check in checks
        }

    def _told(self) -> dict[str, list[Run]]:
        return self._board.runs() if self._board else {}
