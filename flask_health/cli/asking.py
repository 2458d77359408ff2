"""What a probe came to, whoever was asked."""

from __future__ import annotations


class Finding:
    """What one probe came to.

    :ivar good: whether it passes or warns.
    :ivar text: why, for people.
    :ivar warns: whether there is something to look at.
    :ivar reached: whether there was anybody to ask.
    """

    def __init__(self, good: bool, text: str, warns: bool = False, reached: bool = True) -> None:
        self.good = good
        self.text = text
        self.warns = warns
        self.reached = reached

    @property
    def word(self) -> str:
        """The word for it: a probe's own, or that nobody was there."""
        if not self.reached:
            return "unreachable"
        return "ok" if self.good else "not ready"


def check_version(found: object, expected: str | None) -> str:
    """What is wrong with the version of a server; empty when nothing is."""
    if not expected or found == expected:
        return ""
    return (
        f"the version is {found}, not {expected}"
        if found
        else f"no version is told, not {expected}"
    )
