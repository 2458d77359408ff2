"""Simulated members of a fleet: what a server asks its store, at the pace at which it asks."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from flask_health.fleet.keys import Keys
from flask_health.fleet.member import KEPT, PERIOD
from flask_health.fleet.scripts import BEAT
from flask_health.fleet.summary import Summary, summarize
from flask_health.model.check import Check, History, Outcome, judge
from flask_health.model.fleet import STALE_AFTER
from flask_health.model.report import Report
from flask_health.model.server import Marker, WorkerState
from flask_health.model.status import Status

CHECKS, WORKERS = 5, 4
"""What each server has."""


def told(status: Status, release: str = "1.0") -> Summary:
    """What a server with some checks and workers tells; with `FAIL` one check fails."""
    results = []
    for number in range(CHECKS):
        failing = status is Status.FAIL and number == 0
        verdict = Status.FAIL if failing else Status.PASS
        outcome = Outcome(verdict, "ConnectionError: refused" if failing else "", 0.0, 0.0, 0.01)
        history = History(verdict, outcome, 0, 0, 0.0, None)
        results.append(judge(Check(f"check{number}", bool, panic=True), history, 0.0))
    markers = tuple(
        Marker(age, 1000 + age, 5000, WORKERS, WorkerState.READY) for age in range(1, WORKERS + 1)
    )
    report = Report(
        "health", status, status, "", "open", "/dev/shm", WORKERS, tuple(results), workers=markers
    )
    return summarize(report, release)


class Connection(asyncio.Protocol):
    """One connection to a Redis, cheap enough for a process to have thousands of them at work."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(encoding="utf-8")
        self._waiting: deque[Callable[[Any], None]] = deque()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int, password: str) -> Connection:
        """Connects and says who it is."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(cls, "127.0.0.1", port)
        await made.ask("AUTH", password)
        return made

    def send(self, command: bytes, then: Callable[[Any], None]) -> None:
        """Asks, and calls with the answer, which is a `hiredis.ReplyError` for an error."""
        assert self._transport
        self._waiting.append(then)
        self._transport.write(command)

    async def ask(self, *words: str | int) -> Any:
        """The answer to a command; raises `hiredis.ReplyError` for an error."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send(packed(words), answer.set_result)
        found = await answer
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Hangs up."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            self._waiting.popleft()(answer)


def packed(words: Sequence[str | int]) -> bytes:
    """A command as Redis reads it."""
    command: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    return command


class Member:
    """One server: beats as `flask_health.fleet.member` does, and remembers what it has learnt.

    :ivar saw_failure: when it read that a server fails, in `time.monotonic()` seconds.
    :ivar error: what Redis answered instead.
    """

    def __init__(self, keys: Keys, number: int, line: Connection) -> None:
        self.saw_failure: float | None = None
        self.error: Exception | None = None
        identity = f"{number:012x}"
        self._line = line
        self._keys = [keys.servers, keys.members, keys.aggregate, keys.changes]
        self._keys += [keys.server(identity), keys.checks]
        self._who: list[str | int] = [identity, round(STALE_AFTER * 1000), round(KEPT * 1000)]
        self._name = f"host-{number}:1"
        self._random = random.Random(number)
        self._version = ""
        self._told = PASSES
        self._next: asyncio.TimerHandle | None = None

    def live(self) -> None:
        """Beats from now on; servers do not begin at the same time."""
        self._beat_in(PERIOD * self._random.random())

    def fail(self) -> None:
        """Has it tell at once that it fails."""
        self._told = FAILS
        self._beat_in(0.0)

    def stop(self) -> None:
        """Beats no more."""
        if self._next:
            self._next.cancel()

    def _beat_in(self, seconds: float) -> None:
        self.stop()
        self._next = asyncio.get_running_loop().call_later(seconds, self._beat)

    def _beat(self) -> None:
        self._line.send(packed(self._words()), self._hear)
        self._beat_in(PERIOD * self._random.uniform(0.8, 1.0))

    def _hear(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            self.error = answer
            return
        self._version = answer[1]
        if "s:fail" in answer[2] and self.saw_failure is None:
            self.saw_failure = time.monotonic()

    def _words(self) -> list[str | int]:
        told = self._told
        said: list[str | int] = [told.contribution, told.report, self._name, "1.0", told.state, ""]
        return ["EVALSHA", BEAT.sha, 6, *self._keys, *self._who, self._version, *said]


PASSES, FAILS = told(Status.PASS), told(Status.FAIL)
"""What a server tells that is well, and one that is not."""
