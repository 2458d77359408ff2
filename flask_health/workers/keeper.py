"""The keeper: a thread of each worker that does what nobody waits for. It ends steps that take too
long, opens the gate, mends what has vanished, keeps the record, and leads the worker to its end.
"""

from __future__ import annotations

import collections.abc as cabc
import threading
import time
import typing as t

if t.TYPE_CHECKING:
    from .gate import Checks, Gate
    from .presence import Presence

OPENING_LOOK = 0.05
"""Seconds between two turns while the gate is closed, or the worker leaves."""

MENDING_LOOK = 1.0
"""Seconds between two turns once it is open."""


class Keeper:
    """The keeper of one gate.

    :ivar woken: has it take its turn now. A `threading.Event`, for signal handlers too.
    :ivar left: whether the worker has withdrawn, so that there is nothing left to keep.
    """

    def __init__(self, gate: Gate, checks: Checks) -> None:
        self.woken: threading.Event = threading.Event()
        self.left: bool = False
        self._gate = gate
        self._checks = checks
        self._mended = 0.0

    def keep(self) -> None:
        """The life of its thread."""
        self._mended = time.monotonic()
        try:
            while not self.left:
                pause = self._turn(time.monotonic())
                if pause is None:
                    return
                self.woken.wait(pause)
                self.woken.clear()
        finally:
            if self._gate.departure:
                self._gate.departure.abandon()

    def keep_record(self, presence: Presence) -> None:
        """Has others find what this worker has counted."""
        server = self._gate.server
        markers, beat = presence.watch.look().markers, server.beat
        oldest = bool(markers) and markers[0].pid == presence.pid
        self._gate.record.keep(presence.directory, len(markers), oldest, beat() if beat else 0.0)

    def _turn(self, now: float) -> float | None:
        """Does what is due.

        :return: seconds until the next turn; None when there will be nothing to do.
        """
        gate, checks = self._gate, self._checks
        if gate.setup:
            gate.setup.check_timeouts(now)
        over = gate.local.is_set() or (gate.setup is not None and gate.setup.gave_up)
        checks.look()
        if not (gate.presence or gate.departure or checks.pace) and over:
            return None
        leaving = gate.departure is not None and gate.departure.turn(now)
        if gate.presence and gate.setup:
            gate.setup.tell(gate.presence.directory, now)
        if gate.presence and gate.headcount:
            gate.headcount.check(now)
            gate.look()
            if now - self._mended > MENDING_LOOK:
                self._mended = now
                gate.presence.mend()
                self.keep_record(gate.presence)
        calm = over and gate.event.is_set() and not leaving
        return (checks.pace or MENDING_LOOK) if calm else OPENING_LOOK


def start_thread(target: cabc.Callable[[], None], name: str) -> None:
    """Starts a thread that does not keep the process alive."""
    threading.Thread(target=target, name=name, daemon=True).start()
