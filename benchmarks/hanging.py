"""Figure 9: what a dependency that hangs does to the probes and to all other requests."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .apps import dependent, peers
from .dependency import Dependency
from .measure import OURS, Line, alternate, at_least, at_most
from .pace import paced, probe_once
from .prober import Answer
from .servers import Server, gunicorn, wait_for

CLASSES = {"sync": (4, ()), "gthread": (2, ("--threads", "4"))}
"""Worker class -> workers and options."""

HANGS = 10.0
"""Seconds that the dependency takes for each answer."""

PROBE_PERIOD, PROBE_TIMEOUT = 1.0, 1.0
"""Seconds: those of the kubelet, when nothing else is said."""

BUSINESS_PERIOD, BUSINESS_TIMEOUT = 0.05, 2.0
"""Seconds between two business requests to each server, and that each waits."""

CLOSE_PERIOD = 0.02
"""Seconds between further probes to ours, of which there must be enough for a percentile."""

SAME = 1.5
"""How many times the 99th percentile with a dependency that works counts as the same."""

WORKING = f"{OURS}, dependency works"
OPTIONS = "interval=2.0, retry_interval=0.5, timeout=1.0"


@dataclass(frozen=True)
class Seen:
    """What the callers of one server saw; answers in the order of their sending."""

    business: Sequence[Answer]
    probes: Sequence[Answer]
    close: Sequence[Answer]


def measure(quick: bool = False) -> list[Line]:
    """Ours and the peers at once, all of them under the same load."""
    lines = []
    for worker_class in ["sync"] if quick else CLASSES:
        lines += _lines(worker_class, watch(worker_class, 3.0 if quick else 30.0))
    return lines


def watch(worker_class: str, seconds: float) -> dict[str, Seen]:
    """Every server for that many seconds, from the moment on at which the dependency hangs."""
    with Dependency() as working, Dependency() as hanging:
        names = [OURS, *(name for name in peers.installed() if name != "flask route")]
        targets = {name: _target(name, hanging.port) for name in names}
        targets[WORKING] = _target(OURS, working.port)
        with _servers(targets, worker_class) as running:
            hanging.freeze(HANGS)
            seen = asyncio.run(_load(running, seconds))
            hanging.thaw()
    return seen


def share(answers: Sequence[Answer]) -> float:
    """How many of the requests were answered, by whatever code, in percent."""
    return 100 * sum(answer.status is not None for answer in answers) / max(1, len(answers))


def percentile(answers: Sequence[Answer]) -> float:
    """The time in seconds within which 99 of 100 probes are answered."""
    seconds = sorted(answer.received - answer.sent for answer in answers)
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


def _target(name: str, port: int) -> str:
    options = f", {OPTIONS}" if name == OURS else ""
    return f"dependent:asking({name!r}, {port}{options})"


def _path(name: str) -> str:
    return dependent.PATHS.get(name, dependent.PATHS[OURS])


@contextmanager
def _servers(targets: Mapping[str, str], worker_class: str) -> Iterator[dict[str, Server]]:
    workers, options = CLASSES[worker_class]
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(
                gunicorn(target, workers=workers, worker_class=worker_class, options=options)
            )
            for name, target in targets.items()
        }
        for name, server in running.items():
            wait_for(server, _path(name))
        yield running


async def _load(running: Mapping[str, Server], seconds: float) -> dict[str, Seen]:
    close = asyncio.create_task(_probe_closely(running, seconds))
    loads = {
        name: asyncio.gather(
            paced(server.port, "/search", BUSINESS_PERIOD, seconds, BUSINESS_TIMEOUT),
            paced(server.port, _path(name), PROBE_PERIOD, seconds, PROBE_TIMEOUT),
        )
        for name, server in running.items()
    }
    await asyncio.gather(close, *loads.values())
    return {
        name: Seen(*load.result(), close.result().get(name, [])) for name, load in loads.items()
    }


async def _probe_closely(running: Mapping[str, Server], seconds: float) -> dict[str, list[Answer]]:
    """Probes ours, whose dependency hangs, and ours, whose dependency works, in turns."""
    answers: dict[str, list[Answer]] = {OURS: [], WORKING: []}
    begin = time.monotonic()
    for number in range(round(seconds / CLOSE_PERIOD)):
        if time.monotonic() > begin + seconds:
            break
        for name in alternate([OURS, WORKING], number):
            answer = await probe_once(running[name].port, _path(name), PROBE_TIMEOUT)
            answers[name].append(answer)
        await asyncio.sleep(begin + (number + 1) * CLOSE_PERIOD - time.monotonic())
    return answers


def _lines(worker_class: str, seen: Mapping[str, Seen]) -> list[Line]:
    ours, working = seen[OURS], seen[WORKING]
    hangs, works = percentile(ours.close), percentile(working.close)
    figure = f"hanging {worker_class}"
    note = f"{hangs * 1000:.1f} ms and {works * 1000:.1f} ms, {len(ours.close)} probes each"
    lines = [
        at_least(figure, "business requests served", share(ours.business), "%", 100, _note(ours)),
        at_least(figure, "probes answered", share([*ours.probes, *ours.close]), "%", 100),
        at_most(figure, "probe p99, hangs / works", hangs / works, "x", SAME, note),
    ]
    for name, other in seen.items():
        if name not in (OURS, WORKING):
            what = f"{name}: business requests served"
            lines.append(Line(figure, what, share(other.business), "%", note=_note(other)))
    return lines


def _note(seen: Seen) -> str:
    return (
        f"{len(seen.business)} requests; probes answered {share(seen.probes):.0f} %, "
        f"longest {max(a.received - a.sent for a in seen.probes) * 1000:.0f} ms"
    )
