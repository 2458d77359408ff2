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
import inspect
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
    PROBES,
    Check,
    History,
    Outcome,
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

log: logging.Logger = logging.getLogger("flask_health")

TICK = 0.1
"""Seconds between two looks at what others have published, and at what is due."""

PUBLISH_AFTER = 1.0
"""Seconds that results without a change of status may wait for their publication, at most: half of
an interval when that is shorter.
"""

UNPUBLISHED = "unpublished"
"""The name by which a leader says that it cannot publish: then each worker runs all checks."""

JITTER = 0.1
"""The share of an interval by which it is cut at random, so that servers do not check in step. It
is never longer: who waits for the result would think that its author is stuck.
"""

MOST_TOLD = 100
"""Changes that wait for slow receivers, and that are kept where there is no shared state."""


@dataclasses.dataclass
class Slot:
    """One check, and its run in progress. Times are on the monotonic clock.

    :ivar due: when the next run begins; of a run that was given up, when it fails again.
    :ivar started: when the run in progress began; None between runs.
    :ivar given_up: whether that run has been reported as timed out.
    :ivar slow: whether the last run took more than half of its time.
    :ivar stands_in: whether this worker runs it in the place of a leader that is late.
    """

    check: Check
    due: float = 0.0
    started: float | None = None
    given_up: bool = False
    slow: bool = False
    stands_in: bool = False


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
        self.checks: tuple[Check, ...] = tuple(checks)
        self.histories: dict[str, History] = {}
        self.informed: threading.Event = threading.Event()
        self.problem: str = ""
        self._own = any(check.scope == "worker" and check.critical for check in checks)
        self._slots = {check.name: Slot(check) for check in checks}
        self._call = call
        self._presence = presence
        self._board = Board(presence) if presence else None
        self._leadership: Lock | None = None
        self._told = Telling(tell)
        self._woken = threading.Event()
        self._random = random.Random()  # The app's own row of random numbers stays as it is.
        self._ended: collections.deque[tuple[Slot, Outcome]] = collections.deque()
        self._changed = False
        self._opened_at: float | None = None
        self._publish_at: float | None = None
        self._local_transitions: collections.deque[Transition] = collections.deque(maxlen=MOST_TOLD)
        self.started: bool = not any("startup" in check.probes for check in checks)
        self.outlook: Outlook = self._foresee(time.monotonic())

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
        self._changed = self._read_board()
        while self._ended:
            self._end(*self._ended.popleft(), now)
        for slot in self._slots.values():
            self._step(slot, now)
        if self._changed or any(not self.outlook.allows(probe) for probe in PROBES):
            self.outlook = self._foresee(now)
        self._show_own_state(now)
        published = self._publish_if_due(now)
        if self._presence and (published or self._leadership):
            self._allow(self._presence, now)
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
            good_until[probe] = now + _freshness(shared if self._presence else results)
        if statuses["startup"] is not Status.FAIL:
            self._start_up()
        # What has not started, or must be restarted, is sent no traffic.
        parts = ("ready", "live") if self.started else PROBES
        statuses["ready"] = worst(statuses[part] for part in parts)
        good_until["ready"] = min(good_until[part] for part in parts)
        if all(check.name in self.histories for check in self.checks):
            self.informed.set()
        else:
            statuses["ready"] = Status.FAIL
        return Outlook(statuses, good_until)

    def _start_up(self) -> None:
        """The startup probe has passed: for good, and in all workers."""
        if not self.started and self._presence:
            self._presence.decide("started")
        self.started = True

    def _show_own_state(self, now: float) -> None:
        """Has a worker that fails a critical check of its own count as not ready."""
        presence = self._presence
        if presence is None or not self._own or not presence.watch.look().opened:
            return
        self._opened_at = self._opened_at or now
        state = WorkerState.FAILED if self.worker_fails else WorkerState.READY
        if presence.state is not state:
            presence.say(state)

    def _lead_if_possible(self) -> None:
        if self._presence is None:
            return
        if self._leadership:
            if self._presence.directory.has("leader", self._leadership):
                return
            self.stop()  # Its file has vanished: another worker may have locked a new one.
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
                known = self.histories.get(name)
                if known is None or known.last.time != history.last.time:
                    slot.stands_in = False  # Somebody else is at it.
                self.histories[name] = history
        return found is not None

    def _responsible(self, slot: Slot) -> bool:
        if self.leads or slot.check.scope == "worker":
            return True
        history = self.histories.get(slot.check.name)
        if history is None:
            return self._cannot_be_told()
        if time.time() - history.last.time > slot.check.late_after:
            slot.stands_in = True
        return slot.stands_in or self._cannot_be_told()

    def _cannot_be_told(self) -> bool:
        return self._presence is not None and self._presence.directory.exists(UNPUBLISHED)

    def _step(self, slot: Slot, now: float) -> None:
        """Starts a check that is due, or gives a run up that takes too long.

        A run that goes on to hang fails again at each retry: a component that answers nothing is
        down as soon as one that refuses.
        """
        check = slot.check
        if slot.started is None:
            if now >= slot.due and self._responsible(slot):
                self._begin(slot, now)
        elif now - slot.started > check.timeout and (
            not slot.given_up or (now >= slot.due and self._responsible(slot))
        ):
            slot.given_up, slot.due = True, now + check.retry_interval
            self._take(slot, _timed_out(check), now)

    def _begin(self, slot: Slot, now: float) -> None:
        thread = threading.Thread(
            target=self._run,
            args=(slot,),
            name=f"flask-health-check-{slot.check.name}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:  # This process may have no more threads.
            slot.due = now + slot.check.retry_interval
            self._take(slot, Outcome(Status.FAIL, str(error), time.time(), 0.0), now)
        else:
            slot.started, slot.given_up = now, False

    def _run(self, slot: Slot) -> None:
        self._ended.append((slot, _attempt(slot.check, self._call)))
        self._woken.set()

    def _end(self, slot: Slot, outcome: Outcome, now: float) -> None:
        """Takes the outcome of a run that has ended, unless it was given up."""
        check, given_up = slot.check, slot.given_up
        slot.started, slot.given_up, slot.due = None, False, now + check.retry_interval
        slow = outcome.duration > check.timeout / 2
        if slow and not slot.slow:
            log.warning("check '%s' is slow: %.2f s", check.name, outcome.duration)
        slot.slow = slow
        if not given_up:
            in_time = outcome.duration <= check.timeout
            self._take(slot, outcome if in_time else _timed_out(check), now)

    def _take(self, slot: Slot, outcome: Outcome, now: float) -> None:
        """Makes an outcome part of its check's history."""
        name = slot.check.name
        before = self.histories.get(name)
        after = self.histories[name] = advance(before, outcome, slot.check)
        if after.settled and slot.started is None:
            slot.due = now + slot.check.interval * self._random.uniform(1 - JITTER, 1)
        old = before.status if before else Status.PASS
        if old is not after.status:
            self._report(slot.check, old, before, after)
        urgent = (
            before is None
            or old is not after.status
            or outcome.time - before.last.time > slot.check.stale_after
        )
        delay = 0.0 if urgent else min(PUBLISH_AFTER, slot.check.interval / 2)
        self._publish_at = min(self._publish_at or math.inf, now + delay)
        self._changed = True

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
        self._told(transition)

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

    def _allow(self, presence: Presence, now: float) -> None:
        """Tells all workers at once whether the checks allow traffic."""
        allowed = self.outlook.statuses["ready"] is not Status.FAIL
        if self._own and (self._opened_at is None or now - self._opened_at < 2 * TICK):
            allowed = False  # Each worker first has to say how it finds itself.
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
            slot.due if slot.started is None or slot.given_up else slot.started + slot.check.timeout
            for slot in self._slots.values()
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


class Telling:
    """Tells changes one after the other in a thread of its own: a receiver may be slow."""

    def __init__(self, tell: cabc.Callable[[Transition], None]) -> None:
        self._tell = tell
        self._waiting: collections.deque[Transition] = collections.deque(maxlen=MOST_TOLD)
        self._busy = threading.Lock()

    def __call__(self, transition: Transition) -> None:
        self._waiting.append(transition)
        threading.Thread(target=self._work, name="flask-health-telling", daemon=True).start()

    def _work(self) -> None:
        while self._waiting and self._busy.acquire(blocking=False):
            try:
                while self._waiting:
                    self._tell(self._waiting.popleft())
            finally:
                self._busy.release()


def _attempt(check: Check, call: cabc.Callable[[Check], object]) -> Outcome:
    began = time.monotonic()
    value: t.Any = None
    unit = None
    try:
        returned = call(check)
        if inspect.iscoroutine(returned):
            returned.close()
            raise TypeError("it returned a coroutine: make it an 'async def'")
        status, value, unit = observe(returned)
        output = "returned False" if status is Status.FAIL else ""
    except Degraded as error:
        status, output = Status.WARN, mask(_words(error)) or type(error).__name__
    # Whatever a check raises is its result: what left this thread would be lost.
    except BaseException as error:
        said = _words(error)
        status, output = Status.FAIL, mask(type(error).__name__ + (said and f": {said}"))
    return Outcome(status, output, time.time(), time.monotonic() - began, value, unit)


def _timed_out(check: Check) -> Outcome:
    output = f"timed out after {check.timeout} s"
    return Outcome(Status.FAIL, output, time.time(), check.timeout)


def _words(error: BaseException) -> str:
    """What an exception says; nothing when it cannot be put into words."""
    try:
        return str(error)
    except Exception:
        return ""


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
