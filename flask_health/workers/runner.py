"""Running checks in the background, one leader for the whole server.

    every worker   asks for the `leader` lock four times a second; runs its own `worker` checks
    the leader     runs the `server` checks and publishes what it made of them
    the others     read what was published, and run a check themselves when its result is late:
                   a leader that is stuck still holds its lock

A probe sees none of this. It reads one status, made ready for it, and until when that holds.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import dataclasses
import logging
import math
import os
import random
import threading
import time
import typing as t
import weakref

from ..exceptions import Degraded
from ..model.check import (
    Check,
    History,
    Outcome,
    Probe,
    Result,
    advance,
    judge,
    observe,
)
from ..model.mask import mask
from ..model.report import aggregate
from ..model.server import WorkerState
from ..model.status import Status, worst
from .board import Board, Transition
from .presence import Presence
from .statedir import Lock

log = logging.getLogger("flask_health")

TICK = 0.1
"""Seconds between two looks at what others have published, and at what is due."""

PUBLISH_AFTER = 1.0
"""Seconds that results without a change of status may wait for their publication."""

UNPUBLISHED = "unpublished"
"""The name by which a leader says that it cannot publish: then each worker runs all checks."""

JITTER = 0.1
"""The share of an interval by which it varies, so that servers do not check in step."""


@dataclasses.dataclass
class Slot:
    """One check, and its run in progress. Times are on the monotonic clock.

    :ivar started: when the run in progress began; None between runs.
    :ivar given_up: whether that run has been reported as timed out.
    """

    check: Check
    due: float = 0.0
    started: float | None = None
    given_up: bool = False
    slow: bool = False


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What the checks mean to each probe, ready to be read.

    :ivar statuses: the worst of its checks.
    :ivar good_until: until when, on the monotonic clock, none of its results becomes stale.
    """

    statuses: cabc.Mapping[str, Status]
    good_until: cabc.Mapping[str, float]

    def allows(self, probe: str) -> bool:
        """Whether the checks of a probe allow it to pass now."""
        return self.statuses[probe] is not Status.FAIL and self.is_fresh(probe)

    def is_fresh(self, probe: str) -> bool:
        """Whether no result that may fail a probe has become stale."""
        return time.monotonic() < self.good_until[probe]


PROBES: tuple[Probe, ...] = ("live", "ready", "startup")


class Runner:
    """The checks of one app in this worker.

    :ivar outlook: what the probes read.
    :ivar problem: what keeps it from telling others, for people; empty when nothing does.
    :ivar started: whether the checks of the startup probe have ever passed, here or elsewhere.
    :ivar informed: set once every check has had its first result.
    """

    def __init__(
        self,
        checks: cabc.Sequence[Check],
        call: cabc.Callable[[Check], object],
        presence: Presence | None,
        tell: cabc.Callable[[Transition], None],
    ) -> None:
        self.checks = tuple(checks)
        self.histories: dict[str, History] = {}
        self.informed = threading.Event()
        self.problem = ""
        self._slots = {check.name: Slot(check) for check in checks}
        self._call = call
        self._presence = presence
        self._board = Board(presence) if presence else None
        self._leadership: Lock | None = None
        self._tell = tell
        self._woken = threading.Event()
        self._outcomes: collections.deque[tuple[Slot, Outcome]] = collections.deque()
        self._publish_at: float | None = None
        self._local_transitions: collections.deque[Transition] = collections.deque(maxlen=100)
        self.started = not any("startup" in check.probes for check in checks)
        self.outlook = self._foresee(time.monotonic())

    def start(self) -> None:
        """Runs the checks until the process ends, or nobody needs them any more."""
        if self.checks:
            threading.Thread(
                target=_live,
                args=(weakref.ref(self),),
                name="flask-health-checks",
                daemon=True,
            ).start()

    def turn(self) -> float:
        """Does what is due.

        :return: seconds until the next turn.
        """
        now = time.monotonic()
        self._lead_if_possible()
        changed = self._read_board()
        for slot in self._slots.values():
            self._step(slot, now)
        changed = self._take_outcomes(now) or changed
        if changed or any(not self.outlook.allows(probe) for probe in PROBES):
            self.outlook = self._foresee(now)
            self._show_own_state()
        published = self._publish_if_due(now)
        if self._presence and (published or self._leadership):
            self._allow(self._presence)
        return TICK if self._presence else self._until_next(now)

    def stop(self) -> None:
        """Lets another worker lead."""
        leadership, self._leadership = self._leadership, None
        if leadership:
            leadership.let_go()

    @property
    def leads(self) -> bool:
        """Whether this worker runs the checks for its server."""
        return self._leadership is not None or self._presence is None

    @property
    def worker_fails(self) -> bool:
        """Whether a critical check that this worker runs for itself fails."""
        now = time.time()
        return any(
            judge(check, self.histories.get(check.name), now).counts_as is Status.FAIL
            for check in self.checks
            if check.scope == "worker" and check.name in self.histories
        )

    def results(self, probe: str) -> list[Result]:
        """The results of the checks of a probe, `health` for all, in order of registration."""
        now = time.time()
        return [
            judge(check, self.histories.get(check.name), now)
            for check in self.checks
            if probe == "health" or probe in check.probes
        ]

    def transitions(self) -> list[Transition]:
        """The last changes of status, oldest first."""
        return self._board.transitions() if self._board else list(self._local_transitions)

    def _foresee(self, now: float) -> Outlook:
        statuses: dict[str, Status] = {}
        good_until: dict[str, float] = {}
        for probe in PROBES:
            results = self.results(probe)
            # A worker's own failure shows in its marker: the server is judged by its workers.
            shared = [r for r in results if r.check.scope == "server" or r.time is None]
            statuses[probe] = aggregate(probe, shared if self._presence else results)
            good_until[probe] = now + _freshness(results)
        if statuses["startup"] is not Status.FAIL:
            self._start_up()
        # What has not started, or must be restarted, is sent no traffic.
        parts = ("ready", "live") if self.started else PROBES
        statuses["ready"] = worst(statuses[part] for part in parts)
        good_until["ready"] = min(good_until[part] for part in parts)
        if all(check.name in self.histories for check in self.checks):
            self.informed.set()
        return Outlook(statuses, good_until)

    def _start_up(self) -> None:
        """The startup probe has passed: for good, and in all workers."""
        if not self.started and self._presence:
            self._presence.decide("started")
        self.started = True

    def _show_own_state(self) -> None:
        """Has a worker that fails a critical check of its own count as not ready."""
        presence = self._presence
        if presence is None or not presence.watch.look().opened:
            return
        state = WorkerState.FAILED if self.worker_fails else WorkerState.READY
        if presence.state is not state:
            presence.say(state)

    def _lead_if_possible(self) -> None:
        if self._presence is None or self._leadership:
            return
        try:
            self._leadership = self._presence.directory.claim("leader")
        except OSError:
            return  # The directory is being mended; it will be there at the next look.
        if self._leadership:
            log.info("worker %d runs the checks of this server", os.getpid())

    def _read_board(self) -> bool:
        if self._board is None or not self._board.changed():
            return False
        found = self._board.read()
        if not self.started and self._presence:
            self.started = self._presence.directory.exists("started")
        for name, history in (found or {}).items():
            slot = self._slots.get(name)
            if slot and slot.check.scope == "server":
                self.histories[name] = history
        return found is not None

    def _responsible(self, slot: Slot) -> bool:
        if self.leads or slot.check.scope == "worker":
            return True
        history = self.histories.get(slot.check.name)
        if history is None:
            return self._cannot_be_told()
        late = time.time() - history.last.time > slot.check.late_after
        return late or self._cannot_be_told()

    def _cannot_be_told(self) -> bool:
        return self._presence is not None and self._presence.directory.exists(UNPUBLISHED)

    def _step(self, slot: Slot, now: float) -> None:
        """Starts a check that is due, or gives a run up that takes too long."""
        if slot.started is None:
            if now >= slot.due and self._responsible(slot):
                slot.started, slot.given_up = now, False
                name = f"flask-health-check-{slot.check.name}"
                threading.Thread(target=self._run, args=(slot,), name=name, daemon=True).start()
        elif not slot.given_up and now - slot.started > slot.check.timeout:
            slot.given_up = True
            timeout = slot.check.timeout
            outcome = Outcome(Status.FAIL, f"timed out after {timeout} s", time.time(), timeout)
            self._outcomes.append((slot, outcome))

    def _run(self, slot: Slot) -> None:
        outcome = _attempt(slot.check, self._call)
        if not slot.given_up:
            self._outcomes.append((slot, outcome))
        slow = outcome.duration > slot.check.timeout / 2
        if slow and not slot.slow:
            log.warning("check '%s' is slow: %.2f s", slot.check.name, outcome.duration)
        slot.slow = slow
        slot.due = time.monotonic() + slot.check.retry_interval
        slot.started = None
        self._woken.set()

    def _take_outcomes(self, now: float) -> bool:
        changed = False
        while self._outcomes:
            slot, outcome = self._outcomes.popleft()
            name = slot.check.name
            before = self.histories.get(name)
            after = self.histories[name] = advance(before, outcome, slot.check)
            if after.settled and slot.started is None:
                slot.due = now + slot.check.interval * random.uniform(1 - JITTER, 1 + JITTER)
            old = before.status if before else Status.PASS
            if old is not after.status:
                self._report(slot.check, old, before, after)
            urgent = before is None or old is not after.status
            self._publish_at = now if urgent else self._publish_at or now + PUBLISH_AFTER
            changed = True
        return changed

    def _report(self, check: Check, old: Status, before: History | None, after: History) -> None:
        recovered = before is not None and before.down_since is not None and not after.failures
        transition = Transition(
            check=check.name,
            old=old,
            new=after.status,
            time=after.last.time,
            output=after.last.output,
            failures=before.failures if before and recovered else after.failures,
            outage=after.last.time - before.down_since  # type: ignore[operator]
            if before and recovered
            else 0.0,
        )
        level = logging.INFO if after.status is Status.PASS else logging.WARNING
        log.log(
            level,
            "check '%s': %s -> %s %s",
            check.name,
            old,
            after.status,
            transition.output,
        )
        self._local_transitions.append(transition)
        if self._board:
            with contextlib.suppress(OSError):
                self._board.add_transition(transition)
        self._tell(transition)

    def _publish_if_due(self, now: float) -> bool:
        """Publishes what the checks have come to.

        :return: whether there was something to publish.
        """
        if self._board is None or self._publish_at is None or now < self._publish_at:
            return False
        self._publish_at = None
        shared = {
            check.name: self.histories[check.name]
            for check in self.checks
            if check.scope == "server" and check.name in self.histories
        }
        try:
            self._board.publish(shared)
        except OSError as error:
            self._cannot_publish(error)
        else:
            self._can_publish()
        return True

    def _allow(self, presence: Presence) -> None:
        """Tells all workers at once whether the checks allow traffic."""
        allowed = self.outlook.statuses["ready"] is not Status.FAIL
        if allowed is presence.watch.look().allowed:
            return
        try:
            (presence.directory.create if allowed else presence.directory.remove)("allowed")
        except OSError as error:
            self._cannot_publish(error)

    def _cannot_publish(self, error: OSError) -> None:
        if not self.problem:
            log.error("cannot publish the results of checks: %s", error)
        self.problem = f"results of checks cannot be published: {error.strerror}"
        if self._presence and self.leads:
            with contextlib.suppress(OSError):
                self._presence.directory.create(UNPUBLISHED)

    def _can_publish(self) -> None:
        if self.problem and self._presence:
            with contextlib.suppress(OSError):
                self._presence.directory.remove(UNPUBLISHED)
        self.problem = ""

    def _until_next(self, now: float) -> float:
        """Seconds until something is due, where nobody else publishes."""
        times = [
            slot.due if slot.started is None else slot.started + slot.check.timeout
            for slot in self._slots.values()
            if not slot.given_up or slot.started is None
        ]
        return min(max(min(times, default=now + 1.0) - now, 0.01), 1.0)


def _live(reference: weakref.ref[Runner]) -> None:
    # Only a weak reference between two turns: an app that a test made can be forgotten.
    while True:
        runner = reference()
        if runner is None:
            return
        try:
            pause = runner.turn()
        except Exception:
            log.exception("the checks have failed to run; trying again")
            pause = 1.0
        woken = runner._woken
        del runner
        woken.wait(pause)
        woken.clear()


def _attempt(check: Check, call: cabc.Callable[[Check], object]) -> Outcome:
    began = time.monotonic()
    value: t.Any = None
    unit = None
    try:
        status, value, unit = observe(call(check))
        output = "returned False" if status is Status.FAIL else ""
    except Degraded as error:
        status, output = Status.WARN, mask(str(error))
    # Whatever a check raises is its result: what left this thread would be lost.
    except BaseException as error:
        status, output = Status.FAIL, mask(f"{type(error).__name__}: {error}")
    return Outcome(status, output, time.time(), time.monotonic() - began, value, unit)


def _freshness(results: cabc.Iterable[Result]) -> float:
    """Seconds until the first result that may fail its probe becomes stale."""
    now = time.time()
    return min(
        (
            result.time + result.check.stale_after - now
            for result in results
            if result.check.critical and result.time is not None
        ),
        default=math.inf,
    )
