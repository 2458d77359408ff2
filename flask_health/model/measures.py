"""What is told in numbers."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses

from .check import Result
from .report import Report


@dataclasses.dataclass(frozen=True)
class Measures:
    """What a server is told to be in numbers; the same in all of its workers.

    :ivar report: the report of `health`.
    :ivar results: the checks in it whose results hold for the whole server.
    :ivar probes: whether each probe passes.
    :ivar transitions: how many changes of status each check has had since the server started.
    :ivar draining: whether readiness is red for good.
    :ivar paused: whether it is until somebody resumes.
    """

    report: Report
    results: tuple[Result, ...]
    probes: cabc.Mapping[str, bool]
    transitions: cabc.Mapping[str, int]
    draining: bool = False
    paused: bool = False
