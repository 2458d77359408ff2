"""Telling a monitoring system that speaks as Nagios does."""

from __future__ import annotations

from .asking import Finding

OK, WARNING, CRITICAL = 0, 1, 2


def tell(finding: Finding) -> int:
    """Prints the one line, and returns the exit status."""
    status = WARNING if finding.warns else OK
    if not finding.good:
        status = CRITICAL
    word = ("OK", "WARNING", "CRITICAL")[status]
    # What follows a bar are figures to Nagios.
    print(f"HEALTH {word} - {finding.word}: {finding.text}".replace("|", "/").replace("\n", " "))
    return status
