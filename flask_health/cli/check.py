"""`check`: one probe, once."""

from __future__ import annotations

from .command import BAD, GOOD, Command, Option, Options, WrongUse, one_of, seconds
from .http import Unreachable, get
from .target import FORMS, parse

PROBES = ("health", "live", "ready", "startup")

NOTES = f"""
TARGET is {FORMS};
the prefix is /health when none is given.

exit status: 0 pass or warn, 1 fail or unreachable, 3 wrong use
"""


def run(options: Options) -> int:
    """Asks and tells."""
    if not options.words:
        raise WrongUse("a target is missing")
    target = parse(options.words[0])
    url = target.url(options.probe)
    try:
        answer = get(target, target.path(options.probe), options.timeout)
    except Unreachable as why:
        print(f"unreachable: {url}: {why}")
        return BAD
    good = 200 <= answer.code < 300
    print(f"{'ok' if good else 'not ready'}: {url} answered {answer.code}")
    return GOOD if good else BAD


COMMAND = Command(
    run,
    "[TARGET] [OPTION ...]",
    "Asks one probe, once.",
    [
        Option("--probe", "which one", "PROBE", one_of(*PROBES), "health"),
        Option("--timeout", "how long all of it may take", "SECONDS", seconds, 2.0),
    ],
    most=1,
    notes=NOTES,
)
