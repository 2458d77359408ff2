"""Telling systemd how a server is. Imported only where `NOTIFY_SOCKET` is set.

    starting   STATUS= says how far setup has come
    the gate   READY=1 once it opens, and what the server is from then on
    draining   STOPPING=1
    alive      WATCHDOG=1, twice in the time that systemd waits for it

The oldest worker speaks for its server, in the thread that keeps the gate. Whoever becomes the
oldest says it all again: systemd does not mind. Only signs of life are given by any worker, if
nobody has given one lately: the oldest may have been stopped.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import os
import socket
import time

from ..model import judge
from ..model.mask import mask
from ..model.server import DRAIN, WorkerState
from .gate import Gate
from .running import NoSetup
from .servertruth import ServerVerdict
from .setup import Setup
from .statedir import StateDir

log: logging.Logger = logging.getLogger("flask_health")

SIGN = "watchdog"
"""The file whose modification time says when the last sign of life was given."""

PACE = 1.0
"""Seconds between two turns, at most."""


class Herald:
    """What one worker tells systemd.

    :ivar pace: seconds between two turns.
    :ivar problem: why systemd cannot be told, for people; empty when it can.
    """

    def __init__(
        self, gate: Gate, verdict: ServerVerdict, environ: cabc.Mapping[str, str] = os.environ
    ) -> None:
        self.problem: str = ""
        self._gate = gate
        self._verdict = verdict
        self._address = environ["NOTIFY_SOCKET"]
        self._half = _half_of_watchdog(gate, environ)
        self.pace: float = min(PACE, (self._half or PACE) / 4)
        self._said = ""
        self._signed = 0.0

    def turn(self) -> None:
        """Tells what is new. Called by the keeper, which has more to do: it never raises."""
        try:
            self._tell()
        except Exception as error:
            if not self.problem:
                log.exception("systemd cannot be told")
            self.problem = f"systemd cannot be told: {error}"

    def _tell(self) -> None:
        self._verdict.attend()
        if self._speaks():
            message = self._message()
            if message != self._said and self._send(message):
                self._said = message
        if self._half and self._is_time() and self._verdict.live() and self._send("WATCHDOG=1"):
            self._sign()

    def _speaks(self) -> bool:
        census = self._gate.census
        if census is None:
            return True
        able = [m for m in census.markers if m.state is not WorkerState.STOPPING]
        speaker = next(iter(able or census.markers), None)
        return speaker is not None and speaker.pid == os.getpid()

    def _message(self) -> str:
        gate, census = self._gate, self._gate.census
        if DRAIN in gate.orders or (census and census.draining):
            return "STOPPING=1\nSTATUS=Draining"
        if not gate.event.is_set():
            return f"STATUS=Starting: {self._how_far()}"
        # After an upgrade systemd has to watch the new master: the old one will end.
        main = f"MAINPID={gate.server.master}\n" if gate.server.predecessor else ""
        return f"READY=1\n{main}STATUS={self._status()}"

    def _how_far(self) -> str:
        census, setup = self._gate.census, self._gate.setup
        said = [judge.reason(census, self._gate.options.min_workers)] if census else []
        return "; ".join([*said, *_steps(setup)]) or "setup has not started"

    def _status(self) -> str:
        gate, census = self._gate, self._gate.census
        reason = judge.reason(census, gate.options.min_workers) if census else ""
        if not self._verdict.ready():
            return f"Not ready: {reason or self._verdict.stalled() or 'checks fail'}"
        return f"Ready, with warnings: {reason}" if reason else "Ready"

    def _is_time(self) -> bool:
        """Whether the last sign of life of this server was given half its time ago."""
        assert self._half is not None
        presence = self._gate.presence
        if presence is None:
            return time.monotonic() - self._signed >= self._half
        return not 0 <= time.time() - _modified(presence.directory) < self._half

    def _sign(self) -> None:
        """Tells the others that a sign of life has been given."""
        self._signed = time.monotonic()
        if self._gate.presence:
            _touch(self._gate.presence.directory)

    def _send(self, message: str) -> bool:
        """Sends a message, without waiting; what cannot be sent is said once."""
        address = self._address
        if address.startswith("@"):  # Not a file: a name that the kernel keeps.
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.connect(address)
                sender.send(message.encode("utf-8", "replace"))
        except OSError as error:
            problem = f"systemd cannot be told: {error.strerror or error}"
            if not self.problem:
                log.error("%s", problem)
            self.problem = problem
            return False
        self.problem = ""
        return True


def _half_of_watchdog(gate: Gate, environ: cabc.Mapping[str, str]) -> float | None:
    """Half the seconds within which systemd wants a sign of life; None when it wants none."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    server = gate.server
    # It is our server's when it names the process that systemd has started.
    ours = {str(process) for process in (os.getpid(), server.master, server.predecessor)}
    if not usec.isdigit() or not int(usec) or (pid and pid not in ours):
        return None
    return int(usec) / 2e6


def _steps(setup: Setup | NoSetup | None) -> list[str]:
    """What the setup of this worker is at."""
    step = setup.unfinished if setup else None
    if step is None:
        return []
    if step.error:
        return [f"step '{step.step.name}' failed: {mask(str(step.error))}"]
    done = "" if step.fraction is None else f", {step.fraction:.0%} done"
    note = f", {mask(step.note)}" if step.note else ""
    return [f"step '{step.step.name}'{done}{note}"]


def _modified(directory: StateDir) -> float:
    try:
        return os.stat(SIGN, dir_fd=directory.fd).st_mtime
    except OSError:
        return 0.0


def _touch(directory: StateDir) -> None:
    try:
        if not directory.exists(SIGN):
            directory.create(SIGN)
        os.utime(SIGN, dir_fd=directory.fd)
    except OSError:
        pass  # Then the others give signs of life, too.
