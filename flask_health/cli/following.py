"""Following a server on its way to readiness, and showing how far it has come."""

from __future__ import annotations

import time
import typing as t

from . import asking_http, asking_state, drawing
from .asking import Finding
from .choosing import NobodyError, choose
from .command import MOST, Options
from .shared import check_choice
from .target import parse
from .terminal import Terminal

if t.TYPE_CHECKING:
    from .picture import Members

KEPT = 1024
"""Bytes that are left for the last words where nobody looks on."""


class Follower:
    """What is known of the server that is waited for.

    :param began: when the waiting began, on the monotonic clock.
    """

    def __init__(self, options: Options, began: float) -> None:
        check_choice(options)
        self._options = options
        self._began = began
        self._target = parse(options.words[0]) if options.words else None
        self._terminal = Terminal()
        self._workers: list[Members] = []
        self._told: set[str] = set()
        self._room = MOST - KEPT

    def look(self, timeout: float) -> Finding:
        """One look.

        :raises WrongUse: when the server that is meant cannot be told, or hides what is asked.
        """
        if self._target is None:
            return self._look_inside()
        vars(self._options)["timeout"] = timeout
        detailed = bool(self._options.token or self._options.expect_version)
        finding, told = asking_http.ask(self._target, self._options, detailed)
        self._workers = _workers_told(told)
        return finding

    def _look_inside(self) -> Finding:
        try:
            boot = choose(self._options)
        except NobodyError as nobody:
            self._workers = []
            return Finding(False, str(nobody), reached=False)
        from . import picture

        self._workers = picture.workers(boot)
        return asking_state.judge(boot, self._options, bool(self._options.expect_version))

    def show(self, finding: Finding) -> None:
        """Shows how far it has come: on a terminal in place, else a line for each change."""
        if self._terminal.live:
            self._terminal.draw(self._lines(finding))
            return
        said = [f"{finding.word}: {finding.text}", *_news(self._workers)]
        for text in said:
            line = f"{self._elapsed:6.1f} s  {text}"
            if text not in self._told and len(line) < self._room:
                self._told.add(text)
                self._room -= len(line.encode()) + 1
                self._terminal.write([line])

    def end(self, finding: Finding, why: str = "") -> None:
        """Shows what it has come to."""
        if self._terminal.live:
            self._terminal.draw([])
        lines = self._lines(finding)
        if why:
            lines[0] = f"{self._terminal.paint(finding.word)}: {why}{finding.text}"
        self._terminal.write(lines if why else lines[:1], self._room + KEPT)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _lines(self, finding: Finding) -> list[str]:
        word = self._terminal.paint(finding.word)
        first = f"{word}: {finding.text}  {drawing.span(self._elapsed)}"
        return [first, *drawing.workers(self._workers, self._terminal)]


def _news(workers: list[Members]) -> list[str]:
    """What is worth a line of its own: each step of each worker that began, ended or failed."""
    return [
        f"worker {worker['pid']}: {step['name']} {step['state']} {step.get('error') or ''}".rstrip()
        for worker in workers
        for step in worker.get("steps") or ()
        if step["state"] != "pending"
    ]


def _workers_told(told: Members) -> list[Members]:
    """The workers that an answer with details tells of; none when another program answered."""
    if "gate" not in told:
        return []
    alive = told.get("workers", {}).get("alive") or []
    return [worker for worker in alive if {"pid", "state"} <= set(worker)]
