"""Figure 8: how long the answer to a probe takes with three checks of 50 ms each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from .apps import dependent, peers
from .measure import OURS, Line, alternate, at_most, median_ratio
from .prober import probe
from .servers import Server, gunicorn, wait_for

CHECKS = 3
SECONDS = 0.05
INTERVAL = 0.1
"""Seconds between two runs of our checks: as many probes as can be come while they run."""

SAME = 1.2
"""How many times as long as without checks counts as the same."""

NONE = f"{OURS}, no checks"

STARTS = 5
"""Two processes of the same program differ by some percent, and more on a busy machine."""

PAUSE = 0.002
"""Seconds between two rounds of ours, so that they last longer than some runs of the checks."""


def measure(quick: bool = False) -> list[Line]:
    """Both of ours in turns, in new processes every few hundred rounds; then the peers."""
    seconds: dict[str, list[float]] = {NONE: [], OURS: []}
    for number in range(1 if quick else STARTS):
        with _servers(alternate([NONE, OURS], number)) as running:
            for name, values in _in_turns(running, 50 if quick else 400, PAUSE).items():
                seconds[name] += values
    slow = [name for name in peers.installed() if name != "flask route"]
    with _servers(slow) as running:
        seconds |= _in_turns(running, 2 if quick else 10)
    return _lines(seconds)


@contextmanager
def _servers(names: Sequence[str]) -> Iterator[dict[str, Server]]:
    """All at once, each with one sync worker."""
    with ExitStack() as stack:
        running = {name: stack.enter_context(gunicorn(_target(name))) for name in names}
        for name, server in running.items():
            wait_for(server, _path(name))
        yield running


def _target(name: str) -> str:
    if name in (OURS, NONE):
        number = CHECKS if name == OURS else 0
        return f"dependent:sleeping({OURS!r}, {number}, {SECONDS}, interval={INTERVAL})"
    return f"dependent:sleeping({name!r}, {CHECKS}, {SECONDS})"


def _path(name: str) -> str:
    return dependent.PATHS.get(name, dependent.PATHS[OURS])


def _in_turns(
    running: Mapping[str, Server], rounds: int, pause: float = 0.0
) -> dict[str, list[float]]:
    """Seconds from connecting to the end of the answer, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds):
        for name in alternate(list(running), number):
            answer = probe(running[name].port, _path(name))
            if not answer.ok:
                raise RuntimeError(f"{name} answered {answer.status} {answer.error}")
            seconds[name].append(answer.received - answer.sent)
        time.sleep(pause)
    return seconds


def _lines(seconds: Mapping[str, list[float]]) -> list[Line]:
    ratio = median_ratio(seconds[OURS], seconds[NONE])
    what = f"{CHECKS} checks of {SECONDS * 1000:.0f} ms / no checks"
    lines = [at_most("slow checks", what, ratio, "x", SAME)]
    for name, values in seconds.items():
        note = f"longest {max(values) * 1000:.3g} ms of {len(values)}"
        lines.append(Line("slow checks", name, statistics.median(values) * 1000, "ms", note=note))
    return lines
