"""How far the setup of a worker has come, told to outsiders while it runs and not afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ..model.mask import mask
from .statedir import PROGRESS, progress_of

if t.TYPE_CHECKING:
    from .presence import Presence
    from .setup import Setup

PAUSE = 0.25
"""Seconds between two entries, at least."""


class Journal:
    """The file of one worker. A disk that is full keeps it as it was, and nothing else suffers."""

    def __init__(self, presence: Presence, setup: Setup) -> None:
        self._presence = presence
        self._setup = setup
        self._written = ""
        self._at = 0.0

    def keep(self, now: float, finished: bool) -> None:
        """Tells now and then what has changed; takes the file away when setup has finished."""
        if finished and self._written:
            self._written = ""
            with contextlib.suppress(OSError):
                self._presence.directory.remove(progress_of(os.getpid()))
        elif not finished and now - self._at >= PAUSE:
            self._at = now
            self._write(json.dumps({"steps": steps_told(self._setup)}))

    def _write(self, text: str) -> None:
        directory = self._presence.directory
        if text == self._written:
            return
        with contextlib.suppress(OSError):
            directory.make_folder(PROGRESS)
            directory.write(progress_of(os.getpid()), text)
            self._written = text


def steps_told(setup: Setup) -> list[dict[str, t.Any]]:
    """The steps of a setup as a file holds them: `began` is when the running attempt did, on the
    monotonic clock.
    """
    return [
        {
            "name": step.step.name,
            "scope": step.step.scope,
            "state": step.state,
            "fraction": step.fraction,
            "note": mask(step.note),
            "error": mask(str(step.error or "")),
            "began": step.started,
        }
        for step in setup.steps
    ]
