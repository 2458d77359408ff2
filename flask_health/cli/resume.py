"""`resume`: end a pause."""

from __future__ import annotations

from ..model.server import PAUSE
from ..workers.outside import Boot
from .command import GOOD, Command, Options
from .ordering import NOTES, order
from .shared import CHOICE


def run(options: Options) -> int:
    """Gives the order."""
    order(options, _resume)
    return GOOD


def _resume(boot: Boot) -> str:
    if not boot.census.paused:
        return "it was not paused"
    boot.directory.remove(PAUSE)
    return "resumed, and still draining" if boot.census.draining else "resumed"


COMMAND = Command(
    run,
    "[OPTION ...]",
    "Ends a pause; it does not undo 'drain'.",
    CHOICE,
    notes=NOTES,
)
