"""Figure 13: whether probes are answered while every worker is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .apps import peers
from .hanging import percentile, share
from .measure import OURS, Line, at_least, at_most
from .prober import Answer, probe
from .servers import free_port, gunicorn, wait_for

WORKERS = 2
DEADLINE = 1.0
"""Seconds that a probe waits for its answer: the kubelet's default."""

PERIOD = 0.02
"""Seconds between two probes, when they are answered."""

CASES = {
    "sync, waiting": ("sync", (), "/sleep", 8, 10.0),
    "gthread, waiting": ("gthread", ("--threads", "4"), "/sleep", 32, 50.0),
    "gthread, computing": ("gthread", ("--threads", "4"), "/compute", 32, None),
    "gevent, computing": ("gevent", (), "/compute", 8, 50.0),
}
"""Name -> worker class, options, what is asked for, by how many clients, and the budget of the 99th
percentile in milliseconds, if it has one."""


def measure(quick: bool = False) -> list[Line]:
    """One server after the other, so that none takes processor time from another."""
    lines = []
    for case in ["sync, waiting"] if quick else CASES:
        lines += _lines(case, watch(case, OURS, 2.0 if quick else 15.0))
        for name in peers.installed():
            if name not in ("flask route", "healthpy"):
                answers = watch(case, name, 2.0 if quick else 8.0)
                what = f"{name}: probes answered"
                lines.append(Line(case, what, share(answers), "%", note=f"{len(answers)} probes"))
    return lines


def watch(case: str, name: str, seconds: float) -> list[Answer]:
    """What probes see for that many seconds, once every worker is busy."""
    worker_class, options, path, clients, _ = CASES[case]
    second = free_port()
    environ = {"FLASK_HEALTH_LISTEN": f"127.0.0.1:{second}"} if name == OURS else {}
    with gunicorn(
        f"saturated:app({name!r})",
        workers=WORKERS,
        worker_class=worker_class,
        options=options,
        environ=environ,
    ) as server:
        target = peers.PATHS.get(name, "/health")
        wait_for(server, target)
        with _load(server.port, path, clients):
            time.sleep(1.0)  # By now each has taken what it can.
            return _probe(second if name == OURS else server.port, target, seconds)


def _probe(port: int, path: str, seconds: float) -> list[Answer]:
    answers = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answers.append(probe(port, path, DEADLINE))
        time.sleep(PERIOD)
    return answers


@contextmanager
def _load(port: int, path: str, clients: int) -> Iterator[None]:
    """Clients that ask again and again; they are left behind in the middle of a request."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            probe(port, path, 60.0)

    for _ in range(clients):
        threading.Thread(target=ask, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _lines(case: str, answers: Sequence[Answer]) -> list[Line]:
    longest = max(answer.received - answer.sent for answer in answers) * 1000
    note = f"{len(answers)} probes, longest {longest:.3g} ms"
    limit, p99 = CASES[case][-1], percentile(answers) * 1000
    return [
        at_least(case, "probes answered", share(answers), "%", 100),
        at_most(case, "probe p99", p99, "ms", limit, note)
        if limit
        else Line(case, "probe p99", p99, "ms", note=note),
    ]
