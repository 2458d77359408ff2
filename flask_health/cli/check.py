"""`check`: one probe, once."""

from __future__ import annotations

from .command import BAD, GOOD, MOST, Command, Option, Options, clipped, seconds
from .shared import CHOICE, EXPECT_VERSION, PROBE, TOKEN, check_choice
from .target import FORMS, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .asking import Finding

NOTES = f"""
TARGET is {FORMS};
without one the state directory is read, which works while every worker is busy.

exit status: 0 pass or warn, 1 fail or unreachable, 3 wrong use
with --nagios: 0 pass, 1 warn, 2 fail or unreachable, 3 wrong use
"""


def run(options: Options) -> int:
    """Asks and tells."""
    finding = find_out(options, detailed=options.nagios or bool(options.expect_version))
    if options.nagios:
        from .nagios import tell

        return tell(finding)
    print(clipped(f"{finding.word}: {finding.text}", MOST - 1))
    return GOOD if finding.good else BAD


def find_out(options: Options, detailed: bool) -> Finding:
    """What one probe of the server that is meant comes to.

    :param detailed: tell a warning from a pass, and look at the version: that takes longer.
    """
    check_choice(options)
    if not options.words:
        from . import asking_state

        return asking_state.ask(options, detailed)
    from . import asking_http

    return asking_http.ask(parse(options.words[0]), options, detailed)[0]


COMMAND = Command(
    run,
    "[TARGET] [OPTION ...]",
    "Asks one probe, once.",
    [
        PROBE,
        Option("--timeout", "how long all of it may take", "SECONDS", seconds, 2.0),
        EXPECT_VERSION,
        TOKEN,
        Option("--nagios", "answer as a Nagios plug-in does"),
        *CHOICE,
    ],
    most=1,
    notes=NOTES,
)
