"""The workers of one server among themselves: who asks the store, and what others learn of it."""

from __future__ import annotations

import os
import typing as t

from .view import View, from_note, to_note

if t.TYPE_CHECKING:
    from ..workers.presence import Presence
    from ..workers.statedir import Lock

LOCK = "fleet"
"""Held locked in the state directory by the worker that asks the store."""

NOTE = "results/fleet.json"
"""Where it tells its siblings what it has learnt."""


class Siblings:
    """The other workers of this server."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._lock: Lock | None = None
        self._read = (0, 0)

    @property
    def speaks(self) -> bool:
        """Whether this worker asks the store for all of them."""
        return self._lock is not None

    def speak(self, wanted: bool) -> bool:
        """Becomes the one that asks the store, if that is wanted and nobody else is, or leaves it
        to others; returns whether it is.
        """
        directory = self._presence.directory
        if self._lock and not (wanted and directory.has(LOCK, self._lock)):
            self.let_go()
        if wanted and self._lock is None:
            try:
                self._lock = directory.claim(LOCK)
            except OSError:
                pass  # The directory is being mended; it will be there at the next look.
        return self.speaks

    def let_go(self) -> None:
        """Leaves it to others to ask the store."""
        lock, self._lock = self._lock, None
        if lock:
            lock.let_go()

    def news(self) -> View | None:
        """What the worker that asks the store has told since this was asked last; else None."""
        try:
            found = os.stat(NOTE, dir_fd=self._presence.directory.fd)
        except OSError:
            return None
        seen = found.st_mtime_ns, found.st_ino
        if seen == self._read:
            return None
        self._read = seen
        return from_note(self._presence.directory.read(NOTE))

    def tell(self, view: View) -> None:
        """Tells them what this worker has learnt."""
        directory = self._presence.directory
        try:
            directory.make_folder(os.path.dirname(NOTE))
            directory.write(NOTE, to_note(view))
        except OSError:
            pass  # Told by who publishes results; their details are older than ours.

    def all_stop(self) -> bool:
        """Whether they have been told to stop as well as this worker."""
        return self._presence.watch.look().draining or self._presence.all_stop()
