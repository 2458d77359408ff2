"""Figure 4: what probes see while four workers start, each taking a different time."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise

from .apps import peers, slots, starting
from .measure import LITSERVE, OURS, Line, at_most
from .prober import Answer, Prober
from .servers import Server, free_port, gunicorn, running

PERIOD = 0.025
AFTERWARDS = 2.0
LAG_LIMIT = 0.2


@dataclass(frozen=True)
class StartUp:
    """What was seen from the first accepted connection on; times in seconds."""

    flips: int
    early: int
    unanswered: int
    lag: float
    workers: int
    first_answer: float
    slowest: float
    last_setup: float


def measure(quick: bool = False) -> list[Line]:
    """Ours against its budgets, and every peer beside it."""
    seconds = (0.1, 0.2, 0.3, 0.4) if quick else (1.0, 2.0, 3.0, 4.0)
    seen = watch(OURS, seconds)
    figure = "start-up"
    lines = [
        at_most(figure, "flips from 200 to 503", seen.flips, "", 0),
        at_most(figure, "200 before all workers are ready", seen.early, "", 0),
        at_most(figure, "refused or unanswered once served", seen.unanswered, "", 0, _times(seen)),
        at_most(figure, "ok everywhere after the last setup", seen.lag, "s", LAG_LIMIT, _who(seen)),
    ]
    for name in [] if quick else _others():
        other = watch(name, seconds)
        note = f"{other.early} times 200 too early, {other.unanswered} unanswered, {_times(other)}"
        lines.append(Line(figure, f"{name}: flips", other.flips, "", note=note))
    return lines


def watch(name: str, seconds: Sequence[float]) -> StartUp:
    """Starts a server of that many workers and probes it until 2 s after the last setup."""
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(name, seconds, len(seconds), directory) as server,
    ):
        begin = time.monotonic()
        with Prober(server.port, path(name), PERIOD) as prober:
            _wait_for_setups(directory, len(seconds), begin + max(seconds) + 60.0)
            time.sleep(AFTERWARDS)
        return judge(prober.answers, begin, max(slots.ends(directory).values()))


def judge(answers: Sequence[Answer], begin: float, last_setup: float) -> StartUp:
    """What the answers, in the order of their sending, amount to.

    The lag runs from the end of the last setup to the sending of the first probe from which on
    all answers are 200.
    """
    served = _once_accepted(answers)
    answered = [answer for answer in served if answer.status is not None]
    red = [answer for answer in answered if not answer.ok]
    green = [a for a in answered if a.ok and (not red or a.sent > red[-1].sent)]
    return StartUp(
        flips=sum(first.ok and not second.ok for first, second in pairwise(answered)),
        early=sum(answer.ok and answer.received < last_setup for answer in answered),
        unanswered=len(served) - len(answered),
        lag=max(0.0, green[0].sent - last_setup) if green else float("inf"),
        workers=len({answer.worker for answer in green if answer.worker}),
        first_answer=answered[0].received - begin if answered else float("inf"),
        slowest=max((answer.received - answer.sent for answer in answered), default=float("inf")),
        last_setup=last_setup - begin,
    )


def path(name: str) -> str:
    return "/health" if name == LITSERVE else starting.PATHS[name]


def _once_accepted(answers: Sequence[Answer]) -> list[Answer]:
    """The answers from the first connection on that was not refused."""
    first = next(
        (n for n, a in enumerate(answers) if a.error != "ConnectionRefusedError"), len(answers)
    )
    return list(answers[first:])


def serving(
    name: str, seconds: Sequence[float], workers: int, directory: str, **config: object
) -> contextlib.AbstractContextManager[Server]:
    """A server whose workers' setups take that long and are recorded in `directory`."""
    environ = {slots.VARIABLE: directory}
    if name == LITSERVE:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.apps.lit", str(port), str(workers)]
        return running([*command, *map(str, seconds)], port, environ)
    arguments = [repr(argument) for argument in (name, *seconds)]
    arguments += [f"{key}={value!r}" for key, value in config.items()]
    return gunicorn(f"starting:app({', '.join(arguments)})", workers=workers, environ=environ)


def _others() -> list[str]:
    names = [name for name in peers.installed() if name != "flask route"]
    return [*names, *([LITSERVE] if find_spec("litserve") else [])]


def _wait_for_setups(directory: str, number: int, deadline: float) -> None:
    while len(slots.ends(directory)) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {number} setups ended")
        time.sleep(0.01)


def _times(seen: StartUp) -> str:
    return (
        f"first answer at {seen.first_answer:.2f} s, slowest {seen.slowest * 1000:.0f} ms, "
        f"last setup at {seen.last_setup:.2f} s"
    )


def _who(seen: StartUp) -> str:
    return f"{seen.workers} workers answered 200 afterwards"
