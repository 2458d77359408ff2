"""The verdict as somebody outside all workers would reach it: the second port's.

The worker that tells it may still be starting, or be too busy to follow what the others publish.
Nothing here has a term for it.
"""

from __future__ import annotations

import time
import typing as t

from ..model.movement import Movement, all_stalled
from .movement import of_words, of_worker
from .runner import Runner
from .verdict import Verdict

if t.TYPE_CHECKING:
    from .gate import Gate
    from .outlook import Outlook
    from .presence import Presence
    from .trail import Trail


class ServerVerdict(Verdict):
    """What a server answers, whichever of its workers tells it. For one thread.

    :param own: the verdict of the worker itself, whose checks are read while they are current.
    :param patience: for how many seconds a worker may not move before it is stalled; None: for
        ever.
    """

    def __init__(self, gate: Gate, own: Verdict, patience: float | None) -> None:
        super().__init__(gate)
        self.accepts = _always
        self._own = own
        self._patience = patience
        self._published: Published | None = None

    def stalled(self) -> str:
        """Why no worker can be expected to serve any more, for people; empty when one can."""
        presence, now = self._gate.presence, time.monotonic()
        if presence is None:
            return ""
        own = presence.state, of_words(self._gate.record.words)
        if all_stalled([own], now, self._patience) is None:
            return ""
        markers = presence.watch.look().markers
        moves = [(m.state, of_worker(presence.directory, m) or Movement()) for m in markers]
        seconds = all_stalled(moves, now, self._patience)
        return "" if seconds is None else f"no worker has moved for {seconds:.0f} s"

    def _lives(self) -> bool:
        return super()._lives() and not self.stalled()

    def _serves(self) -> bool:
        # What must be restarted is sent no traffic.
        return super()._serves() and not self.stalled()

    def attend(self) -> None:
        """Finds out what the checks have come to; called before each answer."""
        self.good_until: float = 0.0  # Asked rarely: nothing is remembered.
        own, presence = self._own.runner, self._gate.presence
        self.runner: Runner | None = own
        if own is None or presence is None:
            return
        is_current = self._gate.local.is_set() and own.outlook.is_fresh("ready")
        if not is_current and not own.others_cannot_be_told:
            self._published = self._published or Published(own, presence)
            self._published.catch_up(own)
            self.runner = self._published


class Published(Runner):
    """Checks as they were published: it reads, and runs none."""

    def __init__(self, own: Runner, presence: Presence) -> None:
        super().__init__(own.checks, _not_called, presence, _not_called, own._abroad)
        self.trail: Trail = own.trail

    def catch_up(self, own: Runner) -> None:
        """Reads what is new.

        :param own: the runner of this worker, for the checks that it runs for itself.
        """
        for check in self.checks:
            if check.scope == "worker" and check.name in own.histories:
                self.histories[check.name] = own.histories[check.name]
        if self._panics != self._abroad.panics:
            self._panics = self._abroad.panics
            self._judged.clear()
            self.outlook: Outlook = self._foresee()
        if self._read_board():
            self.outlook = self._foresee()

    def _start_up(self) -> None:
        self.started = True  # It is the others' to tell.


def _always() -> bool:
    return True


def _not_called(thing: object) -> t.NoReturn:
    raise RuntimeError("who only reads runs nothing, and tells nobody")
