"""Checks that obey a test, and runners of checks that a test turns by hand."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flask_health.model.check import Check, Result
from flask_health.model.server import WorkerState
from flask_health.workers.board import Transition
from flask_health.workers.presence import Presence
from flask_health.workers.runner import Runner
from support.local import DEADLINE, sibling
from support.waiting import eventually

BRISK: dict[str, Any] = {"interval": 0.05, "retry_interval": 0.02}
"""Options of a check that a test waits for."""


class Told:
    """A check that does what the test says last: return a value, raise, or hang.

    It counts its `runs`, and remembers the most that were under way `at_once`.
    """

    __name__ = "told"

    def __init__(self, says: object = None) -> None:
        self.says = says
        self.runs = 0
        self.at_once = 0
        self.running = 0
        self.go = threading.Event()
        self.hangs = False
        self._lock = threading.Lock()

    def __call__(self) -> object:
        with self._lock:
            self.runs += 1
            self.running += 1
            self.at_once = max(self.at_once, self.running)
        try:
            if self.hangs:
                assert self.go.wait(60.0), "nobody let the check go"
            if isinstance(self.says, BaseException):
                raise self.says
            return self.says
        finally:
            with self._lock:
                self.running -= 1

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Runs that begin inside the block hang until its end."""
        self.go.clear()
        self.hangs = True
        try:
            yield
        finally:
            self.hangs = False
            self.go.set()

    def has_run(self, times: int = 1) -> int:
        """Wait until that many more runs have begun."""
        goal = self.runs + times
        return eventually(lambda: self.runs, lambda runs: runs >= goal, why="runs of the check")


class Runs:
    """A runner that a test turns by hand, and what it told."""

    def __init__(self, checks: Sequence[Check], presence: Presence | None = None) -> None:
        self.told: list[Transition] = []
        self.presence = presence
        self.runner = Runner(checks, lambda check: check.function(), presence, self.told.append)

    def until(self, condition: Callable[[], object], within: float = DEADLINE) -> Any:
        """Turn until the condition holds; returns its value."""

        def turn() -> object:
            self.runner.turn()
            return condition()

        return eventually(turn, within=within, every=0.002, why="turning")

    def until_result(self, name: str = "database") -> Result:
        """Turn until a check has its first result; returns it."""
        self.until(lambda: self.result(name).time)
        return self.result(name)

    def turns_for(self, seconds: float) -> None:
        """Turn for a while: for what must not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.runner.turn()
            time.sleep(0.002)

    def result(self, name: str) -> Result:
        """What a check is told to be now."""
        return next(r for r in self.runner.results("health") if r.name == name)

    def allows(self, probe: str = "ready") -> bool:
        """What the checks mean to a probe."""
        return self.runner.outlook.allows(probe)


def check(function: Callable[[], object], name: str = "database", **options: Any) -> Check:
    """A brisk check, with the options of a test."""
    return Check(name, function, **{**BRISK, **options})


@contextmanager
def workers(base: Path, number: int = 2, opened: bool = True) -> Iterator[list[Presence]]:
    """Workers of one server whose gate is open: real files and locks, one process."""
    made = [sibling(base, "boot", age, number, os.getpid()) for age in range(1, number + 1)]
    try:
        for presence in made:
            presence.say(WorkerState.READY)
        if opened:
            made[0].decide("open")
        yield made
    finally:
        for presence in made:
            with suppress(OSError):
                presence.leave()


def others() -> set[threading.Thread]:
    """The living threads that do not run checks: those of an earlier test's may still do."""
    return {t for t in threading.enumerate() if not t.name.startswith("flask-health-check-")}


def threads(prefix: str = "flask-health-check-") -> list[str]:
    """The names of the living threads that run checks."""
    return [t.name for t in threading.enumerate() if t.name.startswith(prefix)]
