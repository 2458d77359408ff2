"""`drain`: turn readiness red for good."""

from __future__ import annotations

import time

from ..model.server import DRAIN
from ..workers.outside import Boot
from .command import GOOD, Command, Option, Options, seconds
from .ordering import NOTES, order
from .shared import CHOICE

LOOK = 0.2
"""Seconds between two looks at a server that is waited for."""


def run(options: Options) -> int:
    """Gives the order, and waits."""
    boot = order(options, _drain)
    if options.wait:
        until = time.monotonic() + options.wait
        while time.monotonic() < until and _runs(boot):
            time.sleep(min(LOOK, max(0.0, until - time.monotonic())))
    return GOOD


def _drain(boot: Boot) -> str:
    if boot.census.draining:
        return "draining already"
    boot.directory.create(DRAIN)
    return "draining: readiness is red for good"


def _runs(boot: Boot) -> bool:
    """Whether there is still a server to wait for."""
    try:
        boot.look()
    except OSError:
        return False
    return boot.lives


COMMAND = Command(
    run,
    "[OPTION ...]",
    "Turns readiness red for good; requests are still served.",
    [
        Option("--wait", "then wait, so that probers can see it: for preStop", "SECONDS", seconds),
        *CHOICE,
    ],
    notes=NOTES,
)
