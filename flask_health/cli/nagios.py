"""Telling a monitoring system that speaks as Nagios does."""

from __future__ import annotations

from .asking import Finding
from .command import MOST, clipped

OK, WARNING, CRITICAL = 0, 1, 2


def tell(finding: Finding) -> int:
    """Prints the one line, and returns the exit status."""
    status = WARNING if finding.warns else OK
    if not finding.good:
        status = CRITICAL
    word = ("OK", "WARNING", "CRITICAL")[status]
    line = f"HEALTH {word} - {finding.word}: {finding.text}"
    # What follows a bar are figures to Nagios.
    print(clipped(line.replace("|", "/").replace("\n", " "), MOST - 1))
    return status
