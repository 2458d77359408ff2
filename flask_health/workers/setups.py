"""How far the setup of each worker has come, as its siblings see it."""

from __future__ import annotations

import json
import os

from ..model.report import StepReport
from ..model.server import Marker
from .gate import Gate
from .statedir import StateDir, progress_of

FIELDS = ("name", "scope", "state", "fraction", "note", "error")
"""What is read of a step that another worker tells of."""


def setups(
    gate: Gate, workers: tuple[Marker, ...], own: tuple[StepReport, ...]
) -> dict[int, tuple[StepReport, ...]]:
    """By process id, the steps of each worker whose setup has not finished.

    :param own: those of this worker, which knows them.
    """
    found: dict[int, tuple[StepReport, ...]] = {}
    for marker in workers:
        if gate.presence and not marker.state.serves and marker.pid != os.getpid():
            found[marker.pid] = _told(gate.presence.directory, marker.pid)
    if not gate.local.is_set():
        found[os.getpid()] = own
    return found


def _told(directory: StateDir, pid: int) -> tuple[StepReport, ...]:
    """The steps that another worker tells of; none when it has not begun, or has finished."""
    try:
        steps = json.loads(directory.read(progress_of(pid)))["steps"]
        return tuple(StepReport(**{key: step[key] for key in FIELDS}) for step in steps)
    except (KeyError, TypeError, ValueError):
        return ()
