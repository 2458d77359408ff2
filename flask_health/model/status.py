"""The three statuses, their order, and the HTTP code of each."""

from __future__ import annotations

import collections.abc as cabc
import enum


class Status(str, enum.Enum):
    """How something is; the values are the words on the wire.

    `PASS` works, `WARN` works with something to look at, `FAIL` does not work.
    """

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"

    def __str__(self) -> str:
        return self.value

    @property
    def http_code(self) -> int:
        """200 for pass and warn, 503 for fail."""
        return HTTP_CODES[self]


SEVERITY = (Status.FAIL, Status.WARN, Status.PASS)
"""Worst first: an aggregate has the first of these that occurs in it."""

HTTP_CODES = {Status.PASS: 200, Status.WARN: 200, Status.FAIL: 503}


def worst(statuses: cabc.Iterable[Status]) -> Status:
    """The worst of some statuses; pass when there are none."""
    return min(statuses, key=SEVERITY.index, default=Status.PASS)
