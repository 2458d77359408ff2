"""What is told in numbers."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses

from .check import Result
from .report import Report
from .traffic import Traffic


@dataclasses.dataclass(frozen=True)
class Measures:
    """What a server is told to be in numbers; the same in all of its workers.

    :ivar report: the report of `health`.
    :ivar results: the checks in it whose results hold for the whole server.
    :ivar probes: whether each probe passes.
    :ivar transitions: how many changes of status each check has had since the server started.
    :ivar traffic: its requests, all of its counters from one look; None when they cannot be known.
    :ivar draining: whether readiness is red for good.
    :ivar paused: whether it is until somebody resumes.
    """

    report: Report
    results: tuple[Result, ...]
    probes: cabc.Mapping[str, bool]
    transitions: cabc.Mapping[str, int]
    traffic: Traffic | None = None
    draining: bool = False
    paused: bool = False
