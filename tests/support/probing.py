"""Asking a server from outside: single requests, and threads that keep asking."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from support.waiting import eventually

P = TypeVar("P", bound="Prober")

Address = int | str
"""A port of 127.0.0.1, or the path of a unix socket."""


@dataclass(frozen=True)
class Seen:
    """What one request brought, and when; `at` and `took` are monotonic seconds."""

    code: int | str  # the HTTP status; or "refused", "timeout", "reset"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    at: float = field(default=0.0, compare=False)
    took: float = field(default=0.0, compare=False)

    @property
    def answer(self) -> tuple[int | str, str]:
        """Status and body, for comparisons."""
        return self.code, self.body

    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)


class _Connection(http.client.HTTPConnection):
    """A connection to a port of 127.0.0.1 or to a unix socket."""

    def __init__(self, address: Address, timeout: float) -> None:
        port = address if isinstance(address, int) else 80
        super().__init__("127.0.0.1", port, timeout=timeout)
        self._address = address

    def connect(self) -> None:
        if isinstance(self._address, int):
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)


def get(
    address: Address,
    path: str = "/health",
    *,
    timeout: float = 10.0,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Seen:
    """Send one request on a fresh connection; a failure is a value, not an exception.

    `timeout` is in seconds and holds for each step on the socket.
    """
    at = time.monotonic()

    def seen(code: int | str, body: str = "", found: Any = None) -> Seen:
        return Seen(code, body, found or {}, at, time.monotonic() - at)

    connection = _Connection(address, timeout)
    try:
        connection.request(method, path, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        body = response.read().decode()
        return seen(response.status, body, response.headers)
    except (ConnectionRefusedError, FileNotFoundError):
        return seen("refused")
    except TimeoutError:
        return seen("timeout")
    except (ConnectionError, http.client.HTTPException):
        return seen("reset")
    finally:
        connection.close()


class Prober:
    """Threads that send a request every `every` seconds, each on a fresh connection.

    A context manager: asks while the block runs, then offers what it saw.
    """

    def __init__(
        self,
        address: Address,
        path: str = "/health",
        *,
        every: float = 0.02,
        threads: int = 1,
        timeout: float = 10.0,
    ) -> None:
        self._address, self._path = address, path
        self._every, self._timeout = every, timeout
        self._seen: list[Seen] = []
        self._ended = threading.Event()
        # One lock per thread, held during a request: pause() takes them all.
        self._asking = [threading.Lock() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._ask, args=(lock,), daemon=True) for lock in self._asking
        ]

    def __enter__(self: P) -> P:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, asking: threading.Lock) -> None:
        while not self._ended.wait(self._every):
            with asking:
                self._seen.append(get(self._address, self._path, timeout=self._timeout))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No request is in flight inside the block: for a kill that must not cut one off."""
        for lock in self._asking:
            lock.acquire()
        try:
            yield
        finally:
            for lock in self._asking:
                lock.release()

    def sees(self, number: int) -> None:
        """Wait until that many more requests have been answered or have failed."""
        goal = len(self._seen) + number
        eventually(lambda: len(self._seen), lambda length: length >= goal, why="requests")

    @property
    def seen(self) -> list[Seen]:
        """Everything seen so far, in the order of sending."""
        return sorted(self._seen, key=lambda seen: seen.at)

    def since(self, moment: float) -> list[Seen]:
        """What requests sent after `moment` (monotonic seconds) brought."""
        return [seen for seen in self.seen if seen.at >= moment]

    def codes(self, since: float = 0.0) -> set[int | str]:
        """The different statuses and failures."""
        return {seen.code for seen in self.since(since)}

    def first(self, code: int | str) -> Seen | None:
        """The first request that brought `code`."""
        return next((seen for seen in self.seen if seen.code == code), None)

    def flips(self) -> int:
        """How often the answer turned from 200 to anything else.

        Of two requests at a time nobody can tell which was judged first: it counts what was sent
        once a 200 had been received.
        """
        flips, received = 0, math.inf
        for seen in sorted(self.seen, key=lambda seen: seen.at + seen.took):
            if seen.code == 200:
                received = seen.at + seen.took
            elif seen.at >= received:
                flips, received = flips + 1, math.inf
        return flips

    def slowest(self) -> float:
        """The longest time, in seconds, that a request took."""
        return max(seen.took for seen in self.seen)


class Load(Prober):
    """Business requests (`/work`) from four threads."""

    def __init__(self, address: Address, *, every: float = 0.01, threads: int = 4) -> None:
        super().__init__(address, "/work", every=every, threads=threads)

    def cold(self) -> list[Seen]:
        """Requests that a worker answered with 200 before its own setup had finished."""
        return [seen for seen in self.seen if seen.code == 200 and seen.json()["cold"]]

    def pids(self) -> set[int]:
        """The workers that answered."""
        return {seen.json()["pid"] for seen in self.seen if seen.code == 200}
