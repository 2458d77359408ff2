"""What people order of a server, whatever workers and checks say: to drain, to pause, to resume.

The orders are files in the state directory, so that a command line or a `preStop` hook gives them
too; in a process without such a directory they are remembered by its gate.
"""

from __future__ import annotations

import logging

from ..model.mask import mask
from ..model.server import DRAIN, PAUSE
from .gate import Gate

log: logging.Logger = logging.getLogger("flask_health")


def drain(gate: Gate) -> None:
    """Turns readiness red for the whole server, for good."""
    if gate.presence:
        gate.presence.decide(DRAIN)
    else:
        gate.orders[DRAIN] = ""
    log.info("draining: readiness stays red from now on")


def pause(gate: Gate, reason: str) -> None:
    """Turns readiness red for the whole server until it is resumed; a reason replaces the last.

    :raises TypeError: for a reason that is no text.
    :raises OSError: when the state directory takes no file.
    """
    if not isinstance(reason, str):
        raise TypeError(f"'reason' must be a text, not {reason!r}")
    reason = mask(reason)
    if gate.presence:
        gate.presence.pause(reason)
    else:
        gate.orders[PAUSE] = reason
    log.info("paused: %s", reason or "no reason was given")


def resume(gate: Gate) -> None:
    """Ends a pause, if there is one.

    :raises OSError: when its file cannot be removed.
    """
    if gate.presence:
        gate.presence.resume()
    else:
        gate.orders.pop(PAUSE, None)
    log.info("resumed")


def give(gate: Gate) -> None:
    """Gives the orders that came before a worker had published itself, as at import."""
    orders, gate.orders = gate.orders, {}
    if DRAIN in orders:
        drain(gate)
    if PAUSE in orders:
        pause(gate, orders[PAUSE])


def reason(gate: Gate) -> str:
    """Which order holds now, for people; empty when none does."""
    census = gate.census
    if census is None:
        if DRAIN in gate.orders:
            return DRAINING
        return _paused(gate.orders[PAUSE]) if PAUSE in gate.orders else ""
    if census.draining:
        return DRAINING
    return _paused(gate.presence.directory.read(PAUSE)) if census.paused and gate.presence else ""


DRAINING = "draining"


def _paused(why: str) -> str:
    # Masked again: others may have written it.
    return f"paused: {mask(why)}" if why.strip() else "paused"
