"""The answer to each probe, and remembering it while it holds."""

from __future__ import annotations

import time

from ..model import judge
from ..model.server import Census
from .gate import Gate

REMEMBERED = 0.05
"""Seconds that an `ok` is believed without asking the kernel. A "not ready" never is."""


class Verdict:
    """What this process answers to the probes of one app. It reads, it never works.

    :ivar good_until: until when, on the monotonic clock, readiness is known to be good.
    """

    def __init__(self, gate: Gate) -> None:
        self.good_until = 0.0
        self._gate = gate
        self._judged: tuple[Census | None, bool] = (None, False)

    def ready(self) -> bool:
        """Whether traffic may be sent here: the same in all workers of the server.

        But a worker that accepts although its own setup is unfinished answers for itself: no.
        """
        presence = self._gate.presence
        if presence is None:
            good = self._gate.event.is_set() and not self._gate.orphaned
        else:
            census = presence.watch.look()
            judged, good = self._judged
            if census is not judged:
                good = judge.ready(census, self._gate.options.min_workers)
                self._judged = census, good
            good = good and self._gate.local.is_set()
        if good:
            self.good_until = time.monotonic() + REMEMBERED
        return good

    def live(self) -> bool:
        """Whether this server need not be restarted: its master is there."""
        presence = self._gate.presence
        return not (presence.watch.look().orphaned if presence else self._gate.orphaned)

    def startup(self) -> bool:
        """Whether the server has finished starting; once it has, it stays so."""
        presence = self._gate.presence
        if presence is None:
            return self._gate.event.is_set() and not self._gate.orphaned
        census = presence.watch.look()
        return census.opened and not census.orphaned
