"""Simulated members of a fleet: what a server asks its store, at the pace at which it asks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Any

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


class Connection:
    """One connection to a Redis; speaks its protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, password: str) -> Connection:
        """Connects and says who it is."""
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        await made.ask("AUTH", password)
        return made

    async def ask(self, *words: str | int) -> Any:
        """The answer to a command; raises RuntimeError for an error."""
        parts = [str(word).encode() for word in words]
        head = f"*{len(parts)}\r\n".encode()
        self._writer.write(head + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return await self._read()

    def close(self) -> None:
        """Hangs up."""
        self._writer.close()

    async def _read(self) -> Any:
        line = await self._reader.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return (await self._reader.readexactly(int(rest) + 2))[:-2].decode()
        return [await self._read() for _ in range(int(rest))]


class Member:
    """One server: beats as `flask_health.fleet.member` does, and remembers what it has learnt.

    :ivar saw_failure: when it read that a server fails, in `time.monotonic()` seconds.
    """

    def __init__(self, keys: Keys, number: int) -> None:
        self.identity = f"{number:012x}"
        self.saw_failure: float | None = None
        self._keys = [keys.servers, keys.members, keys.aggregate, keys.changes]
        self._keys += [keys.server(self.identity), keys.checks]
        self._name = f"host-{number}:1"
        self._version = ""
        self._random = random.Random(number)
        self._told = told(Status.PASS)
        self._hurried = asyncio.Event()

    async def live(self, connection: Connection) -> None:
        """Beats until it is cancelled; servers do not begin at the same time."""
        await asyncio.sleep(PERIOD * self._random.random())
        while True:
            begin = time.monotonic()
            await self.beat(connection)
            pause = PERIOD * self._random.uniform(0.8, 1.0)
            with contextlib.suppress(asyncio.TimeoutError):
                left = max(0.0, begin + pause - time.monotonic())
                await asyncio.wait_for(self._hurried.wait(), left)
            self._hurried.clear()

    def fail(self) -> None:
        """Has it tell at once that it fails."""
        self._told = told(Status.FAIL)
        self._hurried.set()

    async def beat(self, connection: Connection) -> None:
        """One beat."""
        answer = await connection.ask("EVALSHA", BEAT.sha, 6, *self._keys, *self._args())
        fields: Sequence[str] = answer[2]
        self._version = answer[1]
        if "s:fail" in fields and self.saw_failure is None:
            self.saw_failure = time.monotonic()

    def _args(self) -> list[str | int]:
        summary = self._told
        life, keep = round(STALE_AFTER * 1000), round(KEPT * 1000)
        who: list[str | int] = [self.identity, life, keep, self._version]
        return [*who, summary.contribution, summary.report, self._name, "1.0", summary.state, ""]
