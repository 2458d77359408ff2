"""Figure 2: requests per second under gunicorn, against a bare callable sending the same bytes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from .apps import peers
from .load import requests_per_second
from .measure import OURS, Line, alternate, at_least, median_interval, median_ratio, ratios
from .prober import fetch
from .servers import Server, gunicorn, wait_for

REACH = 0.97
CLASSES = {"sync": (), "gthread": ("--threads", "4"), "gevent": ()}
BROKEN = {("healthpy", "gevent")}
"""Under gevent, healthpy answers 400 to requests that overlap: it calls `asyncio.run` for each."""

ALONE = "bare, no Flask loaded"

PATHS = {"bare": "/health", ALONE: "/health", OURS: "/health", **peers.CHEAPEST}


def measure(quick: bool = False) -> list[Line]:
    """The ratio to the bare callable for each worker class, and everybody's to a Flask route.

    Raises RuntimeError when the bare callable and the probe do not send the same bytes.
    """
    lines = []
    for worker_class in ["sync"] if quick else CLASSES:
        lines.append(_against_bare(worker_class, *((2, 2) if quick else (8, 15))))
        lines += _against_route(worker_class, 1 if quick else 10)
    return lines


def _against_bare(worker_class: str, starts: int, pairs: int) -> Line:
    """New processes every few pairs: two processes of the same program differ by some percent."""
    groups = []
    for number in range(starts):
        names = alternate([OURS, "bare"], number)
        with _servers(names, worker_class) as running:
            _prove_same_bytes(running)
            rates = _alternate_load(running, names, pairs)
        groups.append(ratios(rates[OURS], rates["bare"]))
    low, high = median_interval(groups)
    median = statistics.median(ratio for group in groups for ratio in group)
    note = f"median {median:.3f}, 95 % interval from {low:.3f}, {starts} x {pairs} pairs"
    what = f"{OURS} / bare, upper end"
    return at_least(f"throughput {worker_class}", what, high, "x", REACH, note)


def _against_route(worker_class: str, rounds: int) -> list[Line]:
    others = [name for name in peers.installed() if (name, worker_class) not in BROKEN]
    names = [ALONE, "bare", OURS, *others]
    with _servers(names, worker_class) as running:
        rates = _alternate_load(running, names, rounds)
    lines = []
    for name in names:
        ratio = median_ratio(rates[name], rates["flask route"])
        note = f"{statistics.median(rates[name]):.0f} requests/s"
        lines.append(
            Line(f"throughput {worker_class}", f"{name} / flask route", ratio, "x", note=note)
        )
    return lines


@contextmanager
def _servers(names: Sequence[str], worker_class: str) -> Iterator[dict[str, Server]]:
    """All at once, each with one worker; only one at a time is given load."""
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(
                gunicorn(_target(name), worker_class=worker_class, options=CLASSES[worker_class])
            )
            for name in names
        }
        for name, server in running.items():
            wait_for(server, PATHS[name])
            requests_per_second(server.port, PATHS[name])
        yield running


def _target(name: str) -> str:
    ours = {ALONE: "bare:app", "bare": "bare:beside_flask()", OURS: "ours:app()"}
    return ours.get(name, f"peers:app({name!r})")


def _alternate_load(
    running: Mapping[str, Server], names: Sequence[str], rounds: int
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in alternate(names, number):
            rates[name].append(requests_per_second(running[name].port, PATHS[name]))
    return rates


def _prove_same_bytes(running: Mapping[str, Server]) -> None:
    bare, ours = (_bytes_sent(running[name]) for name in ("bare", OURS))
    if bare != ours:
        raise RuntimeError(f"the bare callable sends {bare!r}, the probe {ours!r}")


def _bytes_sent(server: Server) -> list[bytes]:
    """The body, and the lines of the head in order of name, less the date."""
    head, body = fetch(server.port, "/health")
    return [body, *sorted(line for line in head.split(b"\r\n") if not line.startswith(b"Date:"))]
