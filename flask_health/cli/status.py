"""`status`: everything about the server that runs here."""

from __future__ import annotations

import contextlib
import time

from .choosing import choose
from .command import BAD, GOOD, Command, Option, Options, seconds
from .shared import CHOICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .terminal import Terminal

INTERVAL = 2.0
"""Seconds between two looks of `--watch`."""

NOTES = """
Reads the state directory and the kernel, and asks no worker. Where it is not a terminal the table
ends after 4 KiB; --json tells all.

exit status: 0 pass or warn, 1 fail, or no server runs here, 3 wrong use
"""


def run(options: Options) -> int:
    """Shows it, once or again and again."""
    from .terminal import Terminal

    terminal = Terminal()
    status = _show(options, terminal)
    with contextlib.suppress(BrokenPipeError):  # Who watched has seen enough.
        while options.watch is not None:
            time.sleep(options.watch or INTERVAL)
            status = _show(options, terminal)
    return status


def _show(options: Options, terminal: Terminal) -> int:
    from .picture import picture

    shown = picture(choose(options))
    if options.json:
        import json

        print(json.dumps(shown, indent=None if options.watch is not None else 2), flush=True)
    else:
        from . import drawing

        lines = drawing.report(shown, terminal)
        (terminal.draw if options.watch is not None and terminal.live else terminal.write)(lines)
    return BAD if shown["status"] == "fail" else GOOD


COMMAND = Command(
    run,
    "[OPTION ...]",
    "Shows everything about the server that runs here.",
    [
        Option("--json", "for programs"),
        Option("--watch", "show it again and again; default: every 2 s", "[SECONDS]", seconds),
        *CHOICE,
    ],
    notes=NOTES,
)
