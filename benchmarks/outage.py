"""Figure 12: how soon the death of a dependency shows in every worker, as a 503."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .apps import dependent
from .dependency import Dependency
from .measure import Line, at_most
from .servers import gunicorn, wait_for

WORKERS = 4
INTERVAL, RETRY_INTERVAL, FAILURE_THRESHOLD, TIMEOUT = 2.0, 0.5, 3, 1.0
LIMIT = INTERVAL + (FAILURE_THRESHOLD - 1) * RETRY_INTERVAL + TIMEOUT
SPREAD_LIMIT = 0.2
SERVERS = 2
"""Servers at once, for each way to die."""

PATIENCE = 30.0

KINDS = {
    "refuses": (Dependency.die, Dependency.revive),
    "hangs": (Dependency.freeze, Dependency.thaw),
}
"""What a dead dependency does -> how to kill it and how to bring it back."""


@dataclass(frozen=True)
class Change:
    """A worker's probe has changed its answer, at a time in `time.monotonic()` seconds."""

    pid: int
    moment: float
    code: int


@dataclass(frozen=True)
class Outage:
    """Seconds from the death to the 503 of the last worker, and between the first and the last."""

    last: float
    spread: float


def measure(quick: bool = False) -> list[Line]:
    """The dependency dies right after a check of it has passed: the worst moment."""
    kinds = [kind for kind in KINDS for _ in range(1 if quick else SERVERS)]
    with ThreadPoolExecutor(len(kinds)) as pool:
        watched = list(pool.map(lambda kind: watch(kind, 1 if quick else 5), kinds))
    lines = []
    for kind in KINDS:
        seen = [o for k, found in zip(kinds, watched, strict=True) if k == kind for o in found]
        lines += _lines(kind, seen)
    return lines


def watch(kind: str, deaths: int) -> list[Outage]:
    """One server whose dependency dies that often."""
    kill, bring_back = KINDS[kind]
    seen = []
    with Dependency() as dependency, _observed(dependency) as changes:
        for _ in range(deaths):
            _wait(lambda: codes(changes()) == [200] * WORKERS)
            _wait_for_call(dependency)
            died = kill(dependency)
            _wait(lambda: codes(changes()) == [503] * WORKERS)
            seen.append(judge(changes(), died))
            bring_back(dependency)
    return seen


def judge(changes: Sequence[Change], died: float) -> Outage:
    """What the workers' changes since a death amount to."""
    red: dict[int, float] = {}
    for change in changes:
        if change.code == 503 and change.moment > died:
            red.setdefault(change.pid, change.moment)
    return Outage(max(red.values()) - died, max(red.values()) - min(red.values()))


def codes(changes: Sequence[Change]) -> list[int]:
    """What each worker's probe answers now."""
    return list({change.pid: change.code for change in changes}.values())


@contextmanager
def _observed(dependency: Dependency) -> Iterator[Callable[[], list[Change]]]:
    """A server on that dependency; yields what tells the changes seen by its workers so far."""
    options = (
        f"interval={INTERVAL}, retry_interval={RETRY_INTERVAL}, "
        f"failure_threshold={FAILURE_THRESHOLD}, timeout={TIMEOUT}"
    )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "changes"
        with gunicorn(
            f"dependent:observed({dependency.port}, {options})",
            workers=WORKERS,
            environ={dependent.OBSERVED: str(file)},
        ) as server:
            wait_for(server, "/health")
            yield lambda: _read(file)


def _read(file: Path) -> list[Change]:
    rows = [line.split() for line in file.read_text().splitlines()]
    return [Change(int(pid), float(moment), int(code)) for pid, moment, code in rows]


def _wait_for_call(dependency: Dependency) -> None:
    """Until the dependency has been asked once more, and has had the time to answer."""
    known = len(dependency.calls)
    _wait(lambda: len(dependency.calls) > known)
    time.sleep(0.02)


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing has changed in {PATIENCE:g} s")
        time.sleep(0.005)


def _lines(kind: str, seen: Sequence[Outage]) -> list[Line]:
    last, spread = [outage.last for outage in seen], [outage.spread for outage in seen]
    return [
        at_most("outage", f"{kind}: 503 everywhere, longest", max(last), "s", LIMIT, _note(last)),
        at_most(
            "outage",
            f"{kind}: from the first worker to the last",
            max(spread),
            "s",
            SPREAD_LIMIT,
            _note(spread),
        ),
    ]


def _note(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s of {len(seconds)} deaths"
