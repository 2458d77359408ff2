"""Making the results of checks known to all workers of a server."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import logging
import math

from ..model.check import History
from ..model.server import ALLOWED
from .board import Board
from .presence import Presence

log: logging.Logger = logging.getLogger("flask_health")

UNPUBLISHED = "unpublished"
"""The name by which a leader says that it cannot publish: then each worker runs all checks."""


class Publisher:
    """Publishes what the checks have come to, when that is due.

    :ivar problem: what keeps it from that, for people; empty when nothing does.
    """

    def __init__(self, presence: Presence, board: Board) -> None:
        self.problem: str = ""
        self._presence = presence
        self._board = board
        self._due = math.inf
        self._until = 0.0

    def ask(self, at: float) -> None:
        """Has the results published at a time on the monotonic clock, or earlier."""
        self._due = min(self._due, at)

    def publish_if_due(
        self, now: float, shared: cabc.Callable[[], cabc.Mapping[str, History]], leads: bool
    ) -> bool:
        """Publishes histories; returns whether it was time to.

        :param leads: whether the other workers rely on this one.
        """
        if now < self._due:
            return False
        self._due = math.inf
        try:
            self._board.publish(shared())
        except OSError as error:
            self._failed(error, leads)
        else:
            self._mended()
        return True

    def allow(self, allowed: bool, until: float, leads: bool) -> None:
        """Tells all workers at once whether the checks allow traffic.

        :param until: when that is believed no more, on the monotonic clock. Workers see it by the
            results; for outsiders it is the modification time of the name.
        """
        directory = self._presence.directory
        changes = allowed is not self._presence.watch.look().allowed
        try:
            if changes:
                (directory.create if allowed else directory.remove)(ALLOWED)
            if allowed and (changes or until != self._until):
                directory.date(ALLOWED, until)
                self._until = until
        except OSError as error:
            self._failed(error, leads)

    def others_cannot(self) -> bool:
        """Whether a leader has said that it cannot publish."""
        return self._presence.directory.exists(UNPUBLISHED)

    def _failed(self, error: OSError, leads: bool) -> None:
        if not self.problem:
            log.error("cannot publish the results of checks: %s", error)
        self.problem = f"results of checks cannot be published: {error.strerror}"
        if leads:
            with contextlib.suppress(OSError):
                self._presence.directory.create(UNPUBLISHED)

    def _mended(self) -> None:
        if self.problem:
            with contextlib.suppress(OSError):
                self._presence.directory.remove(UNPUBLISHED)
        self.problem = ""
