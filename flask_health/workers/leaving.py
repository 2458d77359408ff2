"""What a gunicorn worker does once it has been told to stop: see :mod:`.drain`, which keeps the
source of this module and runs it then.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import time
import typing as t

from ..model.server import DRAIN, SERVING, TOLD, Census, WorkerState, parse_marker
from . import process
from .drain import limit

if t.TYPE_CHECKING:
    from .drain import Departure
    from .presence import Presence

log: logging.Logger = logging.getLogger("flask_health")

SURE_AFTER = 0.1
"""Seconds between two looks that must agree, where the master's sockets cannot be seen."""

UNSEEN = 1.0
"""Seconds that a worker serves on there before it believes that others stay."""

LINGER = 2.0
"""Seconds, at most, that idle connections are given before a worker leaves."""


class Leaving:
    """The last seconds of a worker."""

    def __init__(self, departure: Departure) -> None:
        self._departure = departure
        self._worker = worker = departure.worker
        self._gates = departure.gates
        self._paths = [s.getsockname() for s in worker.sockets]
        self._limit = limit(worker)
        self._delay = min(max(g.options.drain_delay for g in departure.gates), self._limit)
        # Where the master cannot be seen, the others may have been told, and not have said it yet.
        self._soonest = 0.0 if departure.sees_master else UNSEEN
        self._until: float | None = None
        self._sure_at: float | None = None
        self._closed: float | None = None
        self._newer: set[int] = set()
        self._failed: set[int] = set()
        self._waits_since = 0.0
        self._complained = False

    @property
    def _presence(self) -> Presence | None:
        return self._gates[0].presence

    def is_over(self, now: float) -> bool:
        """Whether gunicorn's own handler is to run now; until then, does what is due.

        :param now: seconds on the monotonic clock.
        """
        if not self._waits_since:
            self._waits_since = now
            self._close_connections()
        try:
            stops = self._until is None and self._server_stops(now)
        except OSError:  # This process may open no more files: it knows nothing of the others.
            return now - self._waits_since >= self._delay
        if stops:
            successor = self._successor()
            if successor:
                return self._hands_over(successor, now) and self._has_answered(now)
            self._drain(now)
        if self._until is not None:
            over = now >= self._until
        else:
            self._say(WorkerState.LEAVING)
            over = self._is_replaced(now) and now >= (self._departure.told or 0.0) + self._soonest
        if over and not self._departure.recycles:
            self._say(WorkerState.STOPPING)
        return over and self._has_answered(now)

    def _has_answered(self, now: float) -> bool:
        """Whether all connections that were accepted have been answered, or have had their time.

        For gthread before gunicorn 24, which at its end forgets those that it has not read yet.
        """
        worker = self._worker
        if not hasattr(worker, "_lock") or not hasattr(worker, "nr_conns"):
            return True
        if self._closed is None:
            self._closed = now
            with worker._lock:
                for listener in worker.sockets:
                    worker.poller.unregister(listener)
        return bool(worker.nr_conns <= 0 or now - self._closed > LINGER)

    def _close_connections(self) -> None:
        """From now on every answer closes its connection."""
        cfg, worker = self._worker.cfg, self._worker
        if hasattr(worker, "tpool"):  # Which ends idle connections with itself.
            self._soonest = max(self._soonest, min(LINGER, cfg.keepalive))
        if hasattr(worker, "timeout_ctx") and "gevent" in sys.modules:
            # To gevent a number that is false is no time: it would cut off who was just answered.
            timeout = sys.modules["gevent"].Timeout
            worker.timeout_ctx = functools.partial(timeout, int(cfg.keepalive), False)
        cfg.settings["keepalive"].value = _Last(cfg.keepalive)
        server = getattr(worker, "server", None)
        if server and hasattr(server, "conn_params"):  # Tornado's
            server.conn_params.no_keep_alive = True
        handler = getattr(worker, "wsgi_handler", None)
        if handler:  # gevent's own server, which asks nobody but the app.
            handler.start_response = _closing(handler.start_response)

    # The whole server

    def _server_stops(self, now: float) -> bool:
        """Whether the master has closed its sockets, which it does before it tells its workers.

        Where that cannot be seen: whether it has told each of them.

        :raises OSError: when it cannot be known just now.
        """
        if self._departure.sees_master:
            return self._departure.listeners.isdisjoint(process.open_files(self._worker.ppid))
        told = {m.pid for m in self._census.markers if m.state in TOLD}
        workers = process.forked_children(self._worker.ppid)
        if workers is None:
            workers = frozenset(m.pid for m in self._census.markers)
        if workers - self._gates[0].server.strangers <= told:
            self._sure_at = self._sure_at or now + SURE_AFTER
            return now >= self._sure_at
        self._sure_at = None
        return not self._presence

    def _drain(self, now: float) -> None:
        self._say(WorkerState.DRAINING)
        delay = 0.0 if self._unreachable() else max(0.0, self._delay - self._red_for())
        self._until = now + delay
        log.info("worker %d drains: it serves for %.1f s more", os.getpid(), delay)

    def _unreachable(self) -> bool:
        """Whether gunicorn has removed the paths of all sockets."""
        return not any(not isinstance(p, str) or os.path.exists(p) for p in self._paths)

    def _red_for(self) -> float:
        """Seconds since somebody ordered the server to drain."""
        with contextlib.suppress(OSError, AttributeError):
            found = os.stat(DRAIN, dir_fd=self._presence.directory.fd)  # type: ignore[union-attr]
            return max(0.0, time.time() - found.st_mtime)  # A clock may have been set back.
        return 0.0

    # One worker

    @property
    def _census(self) -> Census:
        return self._gates[0].census or Census()

    def _is_replaced(self, now: float) -> bool:
        """Whether every newer worker is ready, or they have taken too long."""
        census, me = self._census, os.getpid()
        markers = {m.pid: m for m in census.markers}
        mine = process.start_time(me)
        children = process.forked_children(self._worker.ppid) or markers.keys()
        newer = {
            pid
            for pid in children - self._gates[0].server.strangers - {me}
            if process.start_time(pid) >= mine
            and (pid not in markers or markers[pid].age > self._worker.age)
        }
        if newer - self._newer:
            self._waits_since = now
            self._newer |= newer
        ready = {m.pid for m in census.markers if m.state is WorkerState.READY}
        told = {m.pid for m in census.markers if m.state in TOLD}
        self._failed |= {m.pid for m in census.markers if m.state is WorkerState.FAILED}
        self._failed |= self._newer - newer
        waited_for = newer - ready - told
        if not waited_for and (ready or not self._newer):
            return True
        if self._newer - told <= self._failed:
            self._complain("the new workers fail: worker %d serves on", me)
            return False
        if now - self._waits_since < self._limit:
            return False
        self._complain(
            "worker %d leaves before the new workers are ready: their import and setup take longer "
            "than the %.1f s that a graceful_timeout of %g s leaves for them",
            me,
            self._limit,
            self._worker.cfg.graceful_timeout,
        )
        return True

    def _complain(self, message: str, *args: object) -> None:
        if not self._complained:
            log.error(message, *args)
        self._complained = True

    # An upgrade

    def _successor(self) -> int:
        """The pid of the master that is to replace ours (USR2); 0 without one."""
        master = self._worker.ppid
        mark = b"GUNICORN_PID=%d" % master
        for pid in process.children(master) or ():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
                if mark in file.read().split(b"\0") and not process.is_forked(pid):
                    return pid
        return 0

    def _hands_over(self, successor: int, now: float) -> bool:
        """Whether the new master's server is ready. Only then nobody misses us, and our probes
        may stay green to the end.
        """
        self._say(WorkerState.LEAVING)
        if self._presence and serves(os.path.dirname(self._presence.directory.path), successor):
            return True
        late = now - self._waits_since >= self._limit
        if late:
            self._say(WorkerState.STOPPING)
        return late

    def _say(self, state: WorkerState) -> None:
        for gate in self._gates:
            if gate.presence and gate.presence.state is not state:
                gate.presence.say(state)
            elif state is WorkerState.DRAINING:
                gate.orders[DRAIN] = ""


class _Last(int):
    """Seconds that a connection is kept; false, as 0 is, when asked whether an answer keeps it."""

    def __bool__(self) -> bool:
        return False


def _closing(start_response: t.Any) -> t.Any:
    """The same method of a handler, with answers that close their connection."""

    def closing(self: t.Any, status: str, headers: t.Any, exc_info: t.Any = None) -> t.Any:
        if not any(name.lower() == "connection" for name, _ in headers):
            headers = [*headers, ("Connection", "close")]
        return start_response(self, status, headers, exc_info)

    return closing


def serves(home: str, master: int) -> bool:
    """Whether a server that shares this directory is open, and has workers that serve.

    :param home: where the directories of the boots are.
    :param master: the pid of its master.
    """
    with contextlib.suppress(OSError):
        for boot in os.listdir(home):
            names = _names(f"{home}/{boot}")
            if (
                "open" in names
                and ("allowed" in names or "leader" not in names)
                and any(_serves(name, master) for name in names)
            ):
                return True
    return False


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _serves(name: str, master: int) -> bool:
    marker = parse_marker(name)
    if marker is None or marker.state not in SERVING:
        return False
    fields = process.stat_fields(marker.pid)
    return bool(fields) and int(fields[1]) == master and int(fields[19]) == marker.start
