"""A gunicorn master that goes on for the drain delay when it is told to stop, and listens all the
while: on a unix socket too, whose path it removes when it stops.

    SIGTERM    it writes `drain` into the state directories of its workers: readiness is red
    the delay  it serves on: workers that die are replaced, every other signal works as ever
    the end    its own stop; the workers see since when readiness has been red, and add nothing

The directories are those that its workers have open: it needs none of their configuration.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import logging
import os
import re
import time
import typing as t

from ..model.server import DRAIN

log: logging.Logger = logging.getLogger("flask_health")

DELAY = "delay."
"""The beginning of the name by which a worker tells its generation, and the delay that it is
configured for.
"""

_STATE_DIRECTORY = re.compile(r".*/flask-health-\d+/v1-[0-9a-f]+")


class Stop:
    """The delayed stop of a gunicorn master."""

    def __init__(self, arbiter: t.Any) -> None:
        self._arbiter = arbiter
        self._pid = os.getpid()
        self._until: float | None = None
        self._waits = False
        self._signal: cabc.Callable[[int, t.Any], None] = arbiter.signal
        self._handle_term: cabc.Callable[[], None] = arbiter.handle_term
        self._manage_workers: cabc.Callable[[], None] = arbiter.manage_workers
        arbiter.signal = self.signal
        arbiter.handle_term = self.handle_term
        arbiter.manage_workers = self.manage_workers

    def signal(self, number: int, frame: t.Any) -> None:
        """What a signal calls: before gunicorn comes to it, which a reload makes wait."""
        import signal

        if number == signal.SIGTERM and self._until is None and self._is_ours():
            self._until = time.monotonic() + order_to_drain(list(self._arbiter.WORKERS))
        self._signal(number, frame)

    def handle_term(self) -> None:
        """What gunicorn calls then; returns as long as the stop has to wait."""
        left = (self._until or 0.0) - time.monotonic()
        if left <= 0:
            self._handle_term()
        if not self._waits:
            log.info("draining: gunicorn stops in %.1f s", left)
        self._waits = True

    def manage_workers(self) -> None:
        """What gunicorn calls about once a second; begins the stop when it is due."""
        self._manage_workers()
        if self._waits and time.monotonic() >= (self._until or 0.0):
            self._handle_term()

    def _is_ours(self) -> bool:
        """Whether it is the whole server that is told to stop."""
        # A child has this handler, too, until it has set its own. To be replaced is no reason to
        # turn red: the workers hand over to the new master's.
        return os.getpid() == self._pid and not self._arbiter.reexec_pid


def delay(arbiter: t.Any) -> None:
    """Has a gunicorn master delay its stop. Again does nothing."""
    if not isinstance(getattr(arbiter.signal, "__self__", None), Stop):
        Stop(arbiter)


def order_to_drain(workers: cabc.Iterable[int]) -> float:
    """Turns readiness red in all apps of these workers.

    :return: the longest delay that one of them is configured for, in seconds; 0 when none of them
        has a state directory.
    """
    longest = 0.0
    for path in _state_directories(workers):
        with contextlib.suppress(OSError):
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
                os.close(os.open(DRAIN, flags, 0o600, dir_fd=directory))
                longest = max(longest, _latest(os.listdir(directory)))
            finally:
                os.close(directory)
    return longest


def _state_directories(workers: cabc.Iterable[int]) -> list[str]:
    """Paths through the kernel to what these processes have open."""
    found: dict[str, str] = {}
    for pid in workers:
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                path = f"/proc/{pid}/fd/{fd}"
                with contextlib.suppress(OSError):
                    name = os.readlink(path)
                    if _STATE_DIRECTORY.fullmatch(name):
                        found.setdefault(name, path)
    return list(found.values())


def _latest(names: cabc.Iterable[str]) -> float:
    """The delay that the youngest generation tells, the longest one if it tells several."""
    told = [(0, 0.0)]
    for name in names:
        generation, _, seconds = name.removeprefix(DELAY).partition(".")
        if name.startswith(DELAY):
            with contextlib.suppress(ValueError):
                told.append((int(generation), float(seconds)))
    return max(told)[1]
