"""`wait`: until a server is ready."""

from __future__ import annotations

import time

from .command import BAD, GOOD, Command, Option, Options, WrongUse, one_of, seconds
from .shared import CHOICE, EXPECT_VERSION, PROBES, TOKEN
from .target import FORMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .asking import Finding
    from .following import Follower

LOOK = 0.25
"""Seconds between two looks."""

LONGEST_ANSWER = 5.0
"""Seconds that one answer may take; then it is asked again."""

NOTES = f"""
TARGET is {FORMS};
without one the state directory is read, which also tells how far each worker has come. A server
that does not exist yet is waited for.

exit status: 0 ready, 1 not ready in time, 3 wrong use
"""


def run(options: Options) -> int:
    """Looks until it is ready, or time is up."""
    from .following import Follower

    began, timeout = time.monotonic(), options.timeout
    until = began + timeout
    follower = Follower(options, began)
    while True:
        finding, problem = _look(follower, until - time.monotonic())
        left = until - time.monotonic()
        if finding.good or left <= 0:
            break
        follower.show(finding)
        time.sleep(min(LOOK, left))
    if finding.good:
        follower.end(finding)
        return GOOD
    follower.end(finding, f"not ready within {timeout:g} s: ")
    if problem:
        raise problem
    return BAD


def _look(follower: Follower, left: float) -> tuple[Finding, WrongUse | None]:
    """What one look comes to. Two servers at once may be one that takes the place of the other:
    only at the end is that an error.
    """
    from .asking import Finding
    from .choosing import SeveralError

    try:
        return follower.look(max(0.05, min(left, LONGEST_ANSWER))), None
    except SeveralError as several:
        return Finding(False, "several servers run here"), several


COMMAND = Command(
    run,
    "[TARGET] [OPTION ...]",
    "Waits until a server is ready.",
    [
        Option("--timeout", "how long at most", "SECONDS", seconds, 60.0),
        Option("--probe", f"for which one: {', '.join(PROBES)}", "PROBE", one_of(*PROBES), "ready"),
        EXPECT_VERSION,
        TOKEN,
        *CHOICE,
    ],
    most=1,
    notes=NOTES,
)
