"""What a check is, what one run of it came to, and what is made of a row of runs.

The counting is the kubelet's: a verdict flips after so many runs in a row say otherwise, one run
that agrees starts the count anew, and the very first result applies at once.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import math
import typing as t

from .mask import mask
from .status import Status

Probe = t.Literal["live", "ready", "startup"]
PROBES: tuple[Probe, ...] = ("live", "ready", "startup")
CheckScope = t.Literal["server", "worker", "fleet"]


@dataclasses.dataclass(frozen=True)
class Check:
    """A check as it was registered; durations in seconds.

    :ivar probes: the probes that it is part of; `health` lists the checks of all.
    :ivar critical: whether its failure fails the probe, or is only warned of.
    :ivar scope: `server`: one worker runs it for all; `worker`: each for itself; `fleet`: one
        server runs it for all.
    :ivar timeout: how long a run may take.
    :ivar interval: time between two runs while all is well.
    :ivar retry_interval: the same while a verdict is being confirmed, or the component is down.
    :ivar failure_threshold: failing runs in a row that make it fail.
    :ivar success_threshold: good runs in a row that make it pass again.
    :ivar component_type: `component`, `datastore` or `system`, where known.
    :ivar measurement: what its observed value measures, where known.
    :ivar panic: whether its failure is only warned of while it fails on too much of a fleet.
    """

    name: str
    function: cabc.Callable[[], object]
    probes: tuple[Probe, ...] = ("ready",)
    critical: bool = True
    scope: CheckScope = "server"
    timeout: float = 5.0
    interval: float = 10.0
    retry_interval: float = 2.0
    failure_threshold: int = 3
    success_threshold: int = 1
    component_type: str = ""
    measurement: str = ""
    panic: bool = False

    @property
    def stale_after(self) -> float:
        """Age in seconds above which a result is not believed any more."""
        return 2 * self.interval + self.timeout

    @property
    def late_after(self) -> float:
        """Age in seconds above which whoever runs it for all seems to be stuck."""
        return self.interval + self.timeout + 1.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run came to.

    :ivar status: of this run alone.
    :ivar output: why it is not pass, for people.
    :ivar time: when it ended, in seconds since the epoch, for people.
    :ivar ended: the same on the monotonic clock: setting the other one makes no result older.
    :ivar duration: how long it took, in seconds.
    :ivar observed_value: what the check measured; None when it did not.
    """

    status: Status
    output: str
    time: float
    ended: float
    duration: float
    observed_value: float | int | str | bool | None = None
    observed_unit: str | None = None


@dataclasses.dataclass(frozen=True)
class History:
    """What is made of all runs so far.

    :ivar status: the verdict.
    :ivar last: the last run.
    :ivar streak: how many runs in a row have contradicted the verdict.
    :ivar failures: how many runs in a row have failed.
    :ivar since: when the verdict began, in seconds since the epoch.
    :ivar down_since: when the first of the failures in a row was, on the monotonic clock; None when
        there is none.
    :ivar succeeded: when the last run that did not fail ended, in seconds since the epoch; None
        when none has.
    """

    status: Status
    last: Outcome
    streak: int
    failures: int
    since: float
    down_since: float | None
    succeeded: float | None = None

    @property
    def settled(self) -> bool:
        """Whether the component is well and nothing says otherwise."""
        return self.streak == 0 and self.status is not Status.FAIL


def advance(history: History | None, outcome: Outcome, check: Check) -> History:
    """The history after one more run."""
    failed = outcome.status is Status.FAIL
    if history is None:
        return History(
            outcome.status,
            outcome,
            0,
            int(failed),
            outcome.time,
            outcome.ended if failed else None,
            None if failed else outcome.time,
        )
    failures = history.failures + 1 if failed else 0
    began = outcome.ended if history.down_since is None else history.down_since
    down_since = began if failed else None
    was_down = history.status is Status.FAIL
    streak = history.streak + 1 if failed is not was_down else 0
    needed = check.success_threshold if was_down else check.failure_threshold
    status = history.status
    if streak >= needed or not (streak or failed):
        status, streak = outcome.status, 0
    since = history.since if status is history.status else outcome.time
    succeeded = history.succeeded if failed else outcome.time
    return History(status, outcome, streak, failures, since, down_since, succeeded)


@dataclasses.dataclass(frozen=True)
class Result:
    """One check as it is told.

    :ivar status: what it is judged to be now.
    :ivar counts_as: what it means to its probes: warn instead of fail when it is not critical.
    :ivar output: why it is not pass.
    :ivar time: when it last ran, in seconds since the epoch; None when it has not yet.
    :ivar since: when its status began, in seconds since the epoch; None before its first run.
    :ivar stale_at: when it is not believed any more, on the monotonic clock; None before its first
        run.
    :ivar succeeded: when the last run that did not fail ended, in seconds since the epoch; None
        when none has.
    """

    check: Check
    status: Status
    counts_as: Status
    output: str
    time: float | None = None
    duration: float | None = None
    observed_value: float | int | str | bool | None = None
    observed_unit: str | None = None
    failures: int = 0
    since: float | None = None
    stale_at: float | None = None
    succeeded: float | None = None

    @property
    def name(self) -> str:
        """The name of the check."""
        return self.check.name


def judge(check: Check, history: History | None, now: float, panic: str = "") -> Result:
    """What a check is now.

    :param now: on the monotonic clock.
    :param panic: why its failure is only warned of, for people; empty when it counts. A result that
        is not believed any more, or not there yet, fails all the same.
    """
    if history is None:
        return Result(check, Status.FAIL, Status.FAIL, "not run yet")
    last, status, output = history.last, history.status, history.last.output
    age = now - last.ended
    if age > check.stale_after:
        status, output = Status.FAIL, f"stale: the last result is {age:.0f} s old"
    elif status is not Status.FAIL and last.status is Status.FAIL:
        output = f"{output} ({history.streak} of {check.failure_threshold} failures)"
    elif status is Status.FAIL and last.status is not Status.FAIL:
        output = f"works again ({history.streak} of {check.success_threshold} successes)"
    panics = bool(panic) and status is Status.FAIL and age <= check.stale_after
    if panics:
        output = f"{output} (panic: it {panic}, so none of them is taken out)"
    counts_as = Status.WARN if status is Status.FAIL and (panics or not check.critical) else status
    return Result(
        check,
        status,
        counts_as,
        output,
        last.time,
        last.duration,
        last.observed_value,
        last.observed_unit,
        history.failures,
        history.since,
        last.ended + check.stale_after,
        history.succeeded,
    )


def observe(
    value: object,
) -> tuple[Status, float | int | str | bool | None, str | None]:
    """What a check's return value says: False fails, everything else passes; a number, or a number
    with its unit, is what it observed. NaN and infinity are no numbers to JSON.
    """
    unit = None
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        value, unit = value
    if value is False:
        return Status.FAIL, None, None
    if isinstance(value, bool) or value is None:
        return Status.PASS, None, None
    unit = unit and mask(unit)
    if isinstance(value, int):
        return Status.PASS, value if abs(value) < 2**63 else _approximately(value), unit
    if isinstance(value, float):
        return Status.PASS, value if math.isfinite(value) else str(value), unit
    return Status.PASS, None, None


def _approximately(value: int) -> float | str:
    """A number that JSON parsers would not read back."""
    try:
        return float(value)
    except OverflowError:
        return "inf" if value > 0 else "-inf"
