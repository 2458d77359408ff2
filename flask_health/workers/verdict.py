"""The answer to each probe, and remembering it while it holds."""

from __future__ import annotations

import collections.abc as cabc
import time
import typing as t

from ..model import judge
from ..model.server import Census
from .gate import Gate

if t.TYPE_CHECKING:
    from .runner import Runner

REMEMBERED = 0.05
"""Seconds that an `ok` is believed without asking the kernel. A "not ready" never is."""


class Verdict:
    """What this process answers to the probes of one app. It reads, it never works.

    :ivar good_until: until when, on the monotonic clock, readiness is known to be good.
    :ivar runner: what the checks have come to; None without checks, and before setup begins.
    :ivar accepts: whether who answers may speak for the server: a worker that accepts although its
        own setup is unfinished says no.
    """

    def __init__(self, gate: Gate) -> None:
        self.good_until: float = 0.0
        self.runner: Runner | None = None
        self.accepts: cabc.Callable[[], bool] = gate.local.is_set
        self._gate = gate
        self._judged: tuple[Census | None, bool] = (None, False)

    def good(self, probe: str) -> bool:
        """The verdict of a probe by its name; `health` is `ready`."""
        return {"live": self.live, "startup": self.startup}.get(probe, self.ready)()

    def serves(self, probe: str) -> bool:
        """The same for the server alone, its checks left aside."""
        return {"live": self._lives, "startup": self._has_opened}.get(probe, self._serves)()

    def ready(self) -> bool:
        """Whether traffic may be sent here: the same in all workers of the server.

        But a worker that accepts although its own setup is unfinished answers for itself: no.
        """
        good = self._serves() and self._checks_allow()
        if good:
            self.good_until = time.monotonic() + REMEMBERED
        return good

    def stalled(self) -> str:
        """Why no worker can be expected to serve any more, for people; empty when one can. A worker
        that answers in its app shows that it can.
        """
        return ""

    def live(self) -> bool:
        """Whether this server need not be restarted: its master is there, and no check of the
        process itself says otherwise.
        """
        return self._lives() and self._checks_let_live()

    def startup(self) -> bool:
        """Whether the server has finished starting; once it has, it stays so."""
        return self._has_opened() and self._started()

    def _serves(self) -> bool:
        presence = self._gate.presence
        if presence is None:
            gate = self._gate
            return gate.event.is_set() and not gate.orders and not gate.orphaned
        census = presence.watch.look()
        judged, good = self._judged
        if census is not judged:
            good = judge.ready(census, self._gate.options.min_workers)
            self._judged = census, good
        return good and self.accepts()

    def _checks_allow(self) -> bool:
        """Whether the checks allow traffic. In a server of several workers a name in the state
        directory says so: all of them change their minds at the same instant.
        """
        runner, census = self.runner, self._judged[0]
        if runner is None:
            return True
        if census is None:
            return runner.outlook.allows("ready")
        return census.allowed and runner.outlook.is_fresh("ready")

    def _checks_let_live(self) -> bool:
        return self.runner is None or self.runner.outlook.allows("live")

    def _lives(self) -> bool:
        presence = self._gate.presence
        return not (presence.watch.look().orphaned if presence else self._gate.orphaned)

    def _has_opened(self) -> bool:
        presence = self._gate.presence
        if presence is None:
            return self._gate.event.is_set() and not self._gate.orphaned
        census = presence.watch.look()
        return census.opened and not census.orphaned

    def _started(self) -> bool:
        census = self._gate.census
        return self.runner is None or self.runner.started or (census is not None and census.started)
