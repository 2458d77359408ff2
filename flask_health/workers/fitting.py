"""What of the drain delay does not fit into the configuration of gunicorn."""

from __future__ import annotations

import logging
import typing as t

from .drain import RESERVE, limit

if t.TYPE_CHECKING:
    from .drain import Departure

log: logging.Logger = logging.getLogger("flask_health")


def say_what_does_not_fit(departure: Departure) -> None:
    """Tells people what of the drain delay cannot be had."""
    worker = departure.worker
    wanted, room = max(g.options.drain_delay for g in departure.gates), limit(worker)
    if wanted > room:
        log.warning(
            "HEALTH_DRAIN_DELAY is shortened from %g s to %g s, to fit into gunicorn's "
            "graceful_timeout of %g s with %g s for what follows",
            wanted,
            room,
            worker.cfg.graceful_timeout,
            RESERVE,
        )
    if min(wanted, room) and any(isinstance(s.getsockname(), str) for s in worker.sockets):
        log.warning(
            "gunicorn removes the path of a unix socket as soon as it is told to stop: a drain "
            "delay needs 'flask_health.gunicorn.install' there"
        )
