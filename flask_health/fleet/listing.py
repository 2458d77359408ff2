"""All servers of a fleet one by one: read in the background, and only while somebody looks."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
import typing as t

from .keys import Keys
from .store import Store, StoreError

FRESH = 1.0
"""Seconds for which a list is shown without being read anew."""

WAIT = 0.5
"""Seconds that a reader may be kept waiting for it, when the store is not known to be down."""

MOST = 200
"""Servers that are listed: those that are not ready come first."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One server. Times are in seconds since the epoch, on the clock of the store.

    :ivar since: when its status and gate began to be what they are.
    :ivar born: when it was first seen.
    :ivar seen: when it has last told of itself.
    :ivar told: the rest, as it tells it.
    """

    identity: str
    name: str
    release: str
    since: float
    born: float
    seen: float
    told: dict[str, t.Any]

    @property
    def ready(self) -> bool:
        """Whether it may be sent traffic."""
        return bool(self.told.get("ready"))

    @property
    def status(self) -> str:
        """`pass`, `warn` or `fail`."""
        return str(self.told.get("status", "fail"))


@dataclasses.dataclass(frozen=True)
class Servers:
    """The servers of a fleet, at most :data:`MOST` of them.

    :ivar read_at: when they were read, on the monotonic clock; None: never yet.
    :ivar now: the same on the clock of the store, by the last beat of any.
    :ivar total: how many there are.
    :ivar problem: why they could not be read again; empty when they could.
    """

    rows: tuple[Row, ...] = ()
    read_at: float | None = None
    now: float = 0.0
    total: int = 0
    problem: str = ""


class Listing:
    """Reads the servers of a fleet for one worker."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._known = Servers()
        self._lock = threading.Lock()
        self._reading: threading.Event | None = None

    def look(self) -> Servers:
        """The servers as they were read last; read anew when that is a second ago. Waits for that
        only as long as the store answers, and never for long.
        """
        known = self._known
        now = time.monotonic()
        if known.read_at is not None and now - known.read_at < FRESH:
            return known
        reading = self._begin()
        if not known.problem and not self._store.problem:
            reading.wait(WAIT)
        return self._known

    def read(self) -> Servers:
        """Reads the servers now.

        :raises StoreError: when the store does not answer.
        """
        members: dict[str, str] = self._store.command("HGETALL", self._keys.members)
        chosen = sorted(members, key=lambda identity: ("\nready" in members[identity], identity))
        chosen = chosen[:MOST]
        found = self._store.rows([self._keys.server(identity) for identity in chosen])
        rows = [_row(identity, row) for identity, row in zip(chosen, found, strict=True) if row]
        rows.sort(key=lambda row: (row.ready, -row.born, row.name))
        newest = max((row.seen for row in rows), default=0.0)
        return Servers(tuple(rows), time.monotonic(), newest, len(members))

    def _begin(self) -> threading.Event:
        """Has them read in a thread, unless one is at it."""
        with self._lock:
            if self._reading is None:
                self._reading = threading.Event()
                threading.Thread(
                    target=self._refresh,
                    args=(self._reading,),
                    name="flask-health-list",
                    daemon=True,
                ).start()
            return self._reading

    def _refresh(self, done: threading.Event) -> None:
        try:
            self._known = self.read()
        except StoreError as error:
            self._known = dataclasses.replace(self._known, problem=str(error))
        finally:
            with self._lock:
                self._reading = None
            done.set()


def _row(identity: str, found: dict[str, str]) -> Row:
    try:
        told = json.loads(found.get("report", ""))
    except ValueError:
        told = {}
    since, born, seen = (int(found.get(key, 0)) / 1000 for key in ("since", "born", "seen"))
    return Row(
        identity,
        found.get("name", identity),
        found.get("release", ""),
        since,
        born,
        seen,
        told if isinstance(told, dict) else {},
    )
