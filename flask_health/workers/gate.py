"""The init gate: closed until the setup of every worker of the server has finished.

T0  the worker is about to accept: its marker says `starting`; setup starts in a thread
T1  its setup ends: `gate.local` is set, business requests pass here, its marker says `ready`
T2  the last expected worker is ready: the gate opens for the whole server, once and for good,
    and `gate.event` is set in every worker
T3  a worker that replaces a dead one stays out of the accept loop until its T1
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import os
import threading
import time
import typing as t

from ..model import judge
from ..model.server import SERVING, Census, WorkerState
from .keeper import Keeper, start_thread
from .process import parent
from .records import Record
from .running import NoSetup, running
from .server import Server, enroll

if t.TYPE_CHECKING:
    from .drain import Departure
    from .headcount import Headcount
    from .presence import Presence
    from .setup import Abroad, Setup
    from .steps import Step

    class Checks(t.Protocol):
        """What runs the checks of an app, when the gate says so.

        :ivar run_in_fleet: has a setup step run once for all servers; None where there is no fleet.
        :ivar pace: seconds between two calls of `look` that must not be exceeded for as long as
            this worker lives; None when it need not be called for ever.
        """

        run_in_fleet: Abroad | None
        pace: float | None

        @property
        def any(self) -> bool:
            """Whether there are any."""

        def prepare(self, presence: Presence | None) -> None:
            """Setup is about to begin."""

        def start(self) -> None:
            """Setup has finished in this worker."""

        def stop(self) -> None:
            """This worker accepts no more."""

        def look(self) -> None:
            """About once a second, while there is something that may change by itself."""

        def notes(self) -> list[str]:
            """What is wrong with its own means, for people."""


log: logging.Logger = logging.getLogger("flask_health")


class GateOptions:
    """What the configuration says about the gate; durations in seconds."""

    def __init__(
        self,
        app_name: str,
        state_dir: str | None = None,
        min_workers: int = 1,
        hold: t.Literal["siblings", "always", "never"] = "siblings",
        setup_timeout: float | None = None,
        exit_on_failure: bool = False,
        drain_delay: float = 0.0,
        stall_after: float | None = None,
    ) -> None:
        self.app_name = app_name
        self.state_dir = state_dir
        self.min_workers = min_workers
        self.hold = hold
        self.setup_timeout = setup_timeout
        self.exit_on_failure = exit_on_failure
        self.drain_delay = drain_delay
        self.stall_after = stall_after


class Gate:
    """The init gate of one app in this worker.

    :ivar event: a `threading.Event`, set once setup has finished in every worker of this server.
    :ivar local: a `threading.Event`, set once setup has finished in this worker.
    :ivar generation: which loading of the code this worker belongs to: 0 for the server's start.
    :ivar orders: `drain` and `pause`, with its reason, where there is no state directory for them.
    :ivar record: what this worker counts.
    """

    def __init__(
        self,
        server: Server,
        ordinal: int,
        options: GateOptions,
        steps: cabc.Callable[[], cabc.Sequence[Step]],
        call: cabc.Callable[[Step], object],
        testing: cabc.Callable[[], bool],
        checks: Checks,
    ) -> None:
        self.event: threading.Event = threading.Event()
        self.local: threading.Event = threading.Event()
        self.server: Server = server
        self.options = options
        self.problems: list[str] = []
        self.presence: Presence | None = None
        self.headcount: Headcount | None = None
        self.setup: Setup | NoSetup | None = None
        self.begun: bool = False
        self.generation: int = 0
        self.orders: dict[str, str] = {}
        self.record: Record = Record()
        self.departure: Departure | None = None
        self._ordinal = ordinal
        self._steps = steps
        self._call = call
        self._testing = testing
        self._checks = checks
        self._made_in = os.getpid()
        self._tickets = [None]
        self._turned = threading.Event()
        self._keeper = Keeper(self, self._checks)
        if server.role != "alone":
            _import_shared()  # Here: the workers that a preloading master forks have it already.
        enroll(self)

    def __repr__(self) -> str:
        return f"<Gate of {self.options.app_name!r}: {self.state}>"

    @property
    def state(self) -> str:
        """The server's gate: `"pending"`, `"running"`, `"open"` or `"failed"`."""
        if self.event.is_set():
            return "open"
        if self.presence:
            return judge.gate_state(self.presence.watch.look())
        if self.setup is None:
            return "pending"
        return "failed" if self.setup.error else "running"

    @property
    def is_open(self) -> bool:
        """Whether setup has finished in every worker of this server."""
        return self.state == "open"

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the gate is open, or for `timeout` seconds (default: for ever).

        :return: whether it is open.
        :raises RuntimeError: inside a setup step, which would wait for itself.
        """
        if running.get():
            raise RuntimeError("gate.wait() inside a setup step would wait for itself")
        return self.event.wait(timeout)

    @property
    def census(self) -> Census | None:
        """The workers of this server; None where this process answers for itself alone."""
        return self.presence.watch.look() if self.presence else None

    @property
    def notes(self) -> list[str]:
        """What is wrong with our own means, for people."""
        return [*self.problems, *self._checks.notes()]

    @property
    def misses_one(self) -> bool:
        """Whether a worker of this server has been missing for too long."""
        longest = self.setup.duration if self.setup else 0.0
        return bool(self.headcount and self.headcount.misses_one(time.monotonic(), longest))

    @property
    def orphaned(self) -> bool:
        """Whether this worker's master is gone."""
        alive = os.getppid(), os.getpid()  # Its own: without a master a worker forks the others.
        return self.server.role == "worker" and self.server.master not in alive

    def begin(self) -> None:
        """Starts the setup of this process, once; in a worker also publishes its marker."""
        steps = self._steps()
        if self.server.role == "master" and self.server.found_again:
            self.server = self.server.found_again()
        if self.server.role == "master":
            return
        if self.server.role == "alone" and not steps:
            self._open_alone()  # Also for the requests that come while the first one begins.
        try:
            self._tickets.pop()
        except IndexError:
            return
        self.setup = self._make_setup(steps)
        if self.server.role == "worker":
            if os.getpid() != self._made_in:
                # In place: users hold these objects, which a preloading master made before its
                # worker was monkey-patched. Where nobody has forked, threads may wait for them.
                for event in (self.event, self.local, self._turned, self._keeper.woken):
                    event.__init__()  # type: ignore[misc]
            self.server = self.server.placed()
            self._appear()
        self._checks.prepare(self.presence)
        self._changed()
        self.begun = True
        if self.presence or self.setup.unfinished or self.departure or self._checks.pace:
            start_thread(self._keeper.keep, "flask-health-keeper")
        if self.setup.unfinished:
            start_thread(self._run_setup, "flask-health-setup")

    def settle(self, timeout: float | None) -> BaseException | None:
        """Waits until the setup of this process has finished or failed, at most `timeout` seconds.

        :return: why it failed, None when it did not.
        """
        self._turned.wait(timeout)
        return self.setup.error if self.setup else None

    def should_hold(self) -> bool:
        """Whether this worker had better not accept yet: others serve, and it is not ready."""
        if self.options.hold == "never":
            return False
        if self.options.hold == "always" and not self.local.is_set():
            return True
        census = self.census
        if census is None or self.server.own_queue:
            return False
        if not self.local.is_set() and census.how_many(SERVING):
            return True
        ready = census.opened and (census.allowed or not self._checks.any)
        return not ready and self._predecessor_serves()

    def _predecessor_serves(self) -> bool:
        """Whether the master that ours is to replace has workers that serve."""
        old, presence = self.server.predecessor, self.presence
        if not old or presence is None or parent(self.server.master) != old:
            return False
        from .leaving import serves

        return serves(os.path.dirname(presence.directory.path), old)

    def wake(self) -> None:
        """Has the keeper take its turn now. For signal handlers."""
        self._keeper.woken.set()

    def told_to_stop(self) -> None:
        """Says that this worker accepts no more. Called in signal handlers."""
        if self.presence and self.presence.pid == os.getpid():
            self.presence.stop()

    def leave(self) -> None:
        """Withdraws this worker from the shared state."""
        self._keeper.left = True
        if self.presence and self.presence.pid == os.getpid():
            self._checks.stop()
            self.presence.leave()

    def _open_alone(self) -> None:
        for event in (self.local, self.event, self._turned):
            event.set()

    def _appear(self) -> None:
        from .headcount import Headcount
        from .presence import appear
        from .statedir import available, candidates

        if available:
            bases = candidates(self.options.state_dir, self.server.tmp_dir)
            boot = self.server.boot(self.options.app_name, self._ordinal)
            self.presence, self.problems = appear(self.server, boot, bases)
        else:
            self.problems = ["this platform has no file locks"]
        if self.presence:
            self.headcount = Headcount(self.server, self.presence)
            self.generation = _generation(self.presence, self.server)
            if self.orders:
                from .orders import give

                give(self)
            self._keeper.keep_record(self.presence)
        elif self.server.workers > 1:
            log.error("no directory for shared state: each worker answers for itself alone")

    def _make_setup(self, steps: cabc.Sequence[Step]) -> Setup | NoSetup:
        if not steps:
            return NoSetup()
        from .setup import Setup

        return Setup(
            steps,
            self._call,
            self._changed,
            default_timeout=self.options.setup_timeout,
            default_retries=0 if self._testing() else None,
            abroad=self._checks.run_in_fleet,
        )

    def _run_setup(self) -> None:
        assert self.setup is not None and not isinstance(self.setup, NoSetup)
        self.setup.run(self.presence, self.generation)

    def _changed(self) -> None:
        """Tells what the setup of this worker has come to, here and to the others."""
        assert self.setup is not None
        state = self.setup.state
        if state is WorkerState.READY:
            self.local.set()
            self._checks.start()
        if self.presence:
            if self.presence.state is not state or not self.begun:
                self.presence.say(state)
            self.look()
        elif state is WorkerState.READY:
            self.event.set()
        if state is WorkerState.STARTING:
            self._turned.clear()
        else:
            self._turned.set()
        if state is WorkerState.FAILED:
            from .serving import exit_if_wanted

            exit_if_wanted(self)

    def look(self) -> None:
        """Opens the gate when the last worker is ready, and sees that another has opened it."""
        if self.presence is None or self.event.is_set():
            return
        census = self.presence.watch.look()
        if not census.opened and judge.gate_complete(census, census.expected):
            log.info("setup has finished in %d workers: the gate is open", len(census.markers))
            self.presence.decide("open")
        if census.opened or self.presence.directory.exists("open"):
            self.presence.decide("open")
            self.event.set()


def _generation(presence: Presence, server: Server) -> int:
    """Which loading of the code this worker belongs to: 0 for the server's start, else the age of
    the first worker of its reload. A worker that replaces another one finds it recorded.
    """
    names = (name.partition("generation.")[2] for name in presence.directory.names())
    known = (int(age) for age in names if age.isdigit())
    found = server.reloaded_at or max((age for age in known if age <= server.age), default=0)
    if found:
        presence.decide(f"generation.{found}")
    return found


def _import_shared() -> None:
    """Imports what only a server of several workers needs."""
    from . import headcount, presence  # noqa: F401
