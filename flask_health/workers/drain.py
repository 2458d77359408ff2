"""Stopping and reloading without losing a request: a gunicorn worker that is told to stop.

    SIGTERM   the handler notes it and wakes the gate's keeper; the worker serves on
    draining  the master no longer listens: the whole server stops. Readiness is red at once, and
              requests are served for the drain delay
    leaving   it still does: a reload, or one worker less. Requests are served until every newer
              worker is ready. A worker that reaches `max_requests` leaves when its turn comes
    the end   the keeper sends the signal again, and gunicorn's own handler runs in the main thread

The keeper decides, because a handler must not block, and under gevent must not start a thread.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
import time
import types
import typing as t

from ..model.server import WorkerState
from .process import open_files

if t.TYPE_CHECKING:
    from .gate import Gate
    from .leaving import Leaving
    from .presence import Presence
    from .statedir import Lock

log: logging.Logger = logging.getLogger("flask_health")

LATER = f"{__package__}.leaving"
"""What a worker does once it has been told to stop."""

RESERVE = 3.0
"""Seconds of gunicorn's `graceful_timeout` that are left for its own stop of a worker."""

PATIENCE = 30.0
"""Seconds that a worker waits for all others to be ready before it is recycled; then one is enough.
"""


def limit(worker: t.Any) -> float:
    """Seconds for which a worker may serve on after it was told to stop."""
    return max(0.0, float(worker.cfg.graceful_timeout) - RESERVE)


class Departure:
    """The end of this worker.

    :ivar accepts: whether it has begun to accept connections.
    :ivar told: when it was told to stop, on the monotonic clock; None before.
    :ivar passes: whether gunicorn's own handler is to run now.
    :ivar recycles: the lock of a worker that ends after `max_requests`, once it is its turn.
    :ivar listeners: the sockets that it accepts on, as the kernel names them.
    :ivar sees_master: whether it could see that its master has them open, too.
    """

    def __init__(self, worker: t.Any, gates: list[Gate]) -> None:
        self.accepts: bool = False
        self.told: float | None = None
        self.passes: bool = False
        self.recycles: Lock | None = None
        self.worker = worker
        self.gates = gates
        self.listeners: set[str] = {
            f"socket:[{os.fstat(s.fileno()).st_ino}]" for s in worker.sockets
        }
        self.sees_master: bool = False
        with contextlib.suppress(OSError):
            self.sees_master = not self.listeners.isdisjoint(open_files(worker.ppid))
        self._most: int = worker.max_requests
        self._due: float | None = None
        self._kept = _keep()
        self._leaving: Leaving | None = None

    def announce(self) -> None:
        """Tells the delay to a master that delays its stop itself; else tells people what of the
        delay does not fit, once for a start and for a reload.
        """
        if f"{__package__}.master" in sys.modules:
            for gate in self.gates:
                if gate.presence:
                    delay = f"delay.{gate.generation}.{gate.options.drain_delay:g}"
                    gate.presence.decide(delay)
        elif self.worker.age in (1, self.gates[0].server.reloaded_at):
            from .fitting import say_what_does_not_fit  # Here: one of the workers says it for all.

            say_what_does_not_fit(self)
        if self._presence:
            self.worker.max_requests = sys.maxsize  # From now on it is up to the keeper.

    def tell(self) -> bool:
        """Notes the signal. Waits for nothing; again does nothing.

        :return: whether the worker serves on: a keeper is there to end it.
        """
        if self.passes or not self.accepts or not any(g.local.is_set() for g in self.gates):
            return False
        if self.told is None:
            self.told = time.monotonic()
            self.gates[0].wake()
        return True

    def abandon(self) -> None:
        """There is no keeper any more: from now on gunicorn's own handler runs at once."""
        self.accepts = False
        self.end()

    def turn(self, now: float) -> bool:
        """Does what is due; called by the keeper.

        :param now: seconds on the monotonic clock.
        :return: whether there is more to do soon.
        """
        if self.told is None and self._is_recycled(now):
            self.told = now
        if self.told is None or self.passes:
            return False
        try:
            if self._leaving is None:
                self._leaving = _unpack(self._kept).Leaving(self)
            over = self._leaving.is_over(now)
        except Exception:  # Whatever it was: a worker that was told to stop has to stop.
            log.exception("worker %d stops at once", os.getpid())
            over = True
        if over:
            self.end()
        return True

    def end(self) -> None:
        """Has gunicorn stop this worker, if it was told to."""
        import signal  # Here: its enums cost every import of an app a millisecond.

        if self.told is not None and not self.passes:
            self.passes = True
            os.kill(os.getpid(), signal.SIGTERM)

    @property
    def _presence(self) -> Presence | None:
        return self.gates[0].presence

    def _is_recycled(self, now: float) -> bool:
        """Whether it is this worker's turn to end after `max_requests`: one at a time, and once
        the others are ready. gunicorn has a worker end at once, and so all of them together.
        """
        presence = self._presence
        if not self.accepts or self.worker.nr < self._most or presence is None:
            return False
        self._due = self._due or now
        census = presence.watch.look()
        others = sum(m.state is WorkerState.READY and m.pid != os.getpid() for m in census.markers)
        if others < census.expected - 1 and (not others or now - self._due < PATIENCE):
            return False
        with contextlib.suppress(OSError):
            self.recycles = presence.directory.claim("recycle")
        if self.recycles:
            log.info("worker %d ends after %d requests", os.getpid(), self.worker.nr)
        return self.recycles is not None


def _keep() -> bytes:
    """The source of what comes later, as it is now: when the worker is told to stop, the files may
    be another version's. Loaded it would take four times as much of every worker's memory.
    """
    spec = importlib.util.find_spec(LATER)
    if spec and spec.origin and spec.origin.endswith(".py"):
        # Not `get_source`, nor compressed: that takes more for a moment than it saves.
        return bytes(spec.loader.get_data(spec.origin))  # type: ignore[union-attr]
    importlib.import_module(LATER)  # Installed without its source.
    return b""


def _unpack(kept: bytes) -> t.Any:
    """The module of this source."""
    if not kept:
        return sys.modules[LATER]
    module = types.ModuleType(LATER)
    module.__package__ = __package__
    module.__file__ = os.path.join(os.path.dirname(__file__), "leaving.py")
    exec(compile(kept, module.__file__, "exec", dont_inherit=True), vars(module))
    return module
