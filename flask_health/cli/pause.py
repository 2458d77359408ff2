"""`pause`: turn readiness red until `resume`."""

from __future__ import annotations

from ..model.server import PAUSE
from ..workers.outside import Boot
from .command import GOOD, Command, Options
from .ordering import NOTES, order
from .shared import CHOICE


def run(options: Options) -> int:
    """Gives the order."""
    from ..model.mask import mask

    reason = mask(options.words[0]) if options.words else ""

    def pause(boot: Boot) -> str:
        try:
            boot.directory.write(PAUSE, reason)
        except OSError:
            boot.directory.create(PAUSE)  # A full disk still has room for a name.
        return f"paused: {reason}" if reason else "paused"

    order(options, pause)
    return GOOD


COMMAND = Command(
    run,
    "[REASON] [OPTION ...]",
    "Turns readiness red until 'resume'; REASON is shown in the details.",
    CHOICE,
    most=1,
    notes=NOTES,
)
