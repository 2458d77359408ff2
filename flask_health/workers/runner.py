"""Running checks in the background, one leader for the whole server.

    every worker   asks for the `leader` lock ten times a second; runs its own `worker` checks
    the leader     runs the `server` checks and publishes what it made of them
    the others     read what was published, and run a check themselves when its result is late:
                   a leader that is stuck still holds its lock

A probe sees none of this. It reads one status, made ready for it, and until when that holds.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import math
import os
import threading
import time
import weakref

from ..model.check import PROBES, Check, History, Outcome, Result, advance, judge
from ..model.report import aggregate
from ..model.server import SERVING, WorkerState
from ..model.status import Status, worst
from .abroad import Abroad
from .board import Board, Transition
from .outlook import Outlook, fresh_until
from .presence import Presence
from .publishing import Publisher
from .runs import TICK, Runs, Slot
from .statedir import Lock
from .telling import Telling
from .trail import Trail

log: logging.Logger = logging.getLogger("flask_health")

PUBLISH_AFTER = 1.0
"""Seconds that results without a change of status may wait for their publication, at most: half of
an interval when that is shorter.
"""


class Runner:
    """The checks of one app in this worker.

    :ivar outlook: what the probes read.
    :ivar started: whether the checks of the startup probe have ever passed, here or elsewhere.
    :ivar informed: set once every check has had its first result.
    :ivar runs: when each of them runs, and the runs in progress.
    :ivar trail: the last runs of each check.
    """

    def __init__(
        self,
        checks: cabc.Sequence[Check],
        call: cabc.Callable[[Check], object],
        presence: Presence | None,
        tell: cabc.Callable[[Transition], None],
        abroad: Abroad | None = None,
    ) -> None:
        self.checks: tuple[Check, ...] = tuple(checks)
        self.runs: Runs = Runs(checks, call)
        self.histories: dict[str, History] = {}
        self._judged: dict[str, tuple[History | None, Result]] = {}
        self.informed: threading.Event = threading.Event()
        self._own = any(check.scope == "worker" and check.critical for check in checks)
        self._presence = presence
        self._abroad = abroad or Abroad()
        self._panics = self._abroad.panics
        self._board = Board(presence) if presence else None
        self._publisher = Publisher(presence, self._board) if presence and self._board else None
        self._leadership: Lock | None = None
        self._telling = Telling(tell, self._board)
        self.trail: Trail = Trail(self._board)
        self._changed = False
        self._opened_at: float | None = None
        self.started: bool = not any("startup" in check.probes for check in checks)
        self.outlook: Outlook = self._foresee()

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
        self._look_abroad(now)
        for slot, outcome in self.runs.turn(now, self._responsible):
            self._take(slot, outcome, now)
        if self._changed or any(not self.outlook.allows(probe) for probe in PROBES):
            self.outlook = self._foresee()
        self._show_own_state(now)
        if self._publisher is None:
            return self.runs.until_next(now)
        published = self._publisher.publish_if_due(now, self._shared, self.leads)
        if published or self._leadership:
            until = self.outlook.good_until["ready"]
            self._publisher.allow(self._allows_traffic(now), until, self.leads)
        if self._leadership:
            self.trail.tell(self.checks, now)
        return min(TICK, self.runs.until_next(now)) if self._leadership else TICK

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
    def others_cannot_be_told(self) -> bool:
        """Whether each worker has to run all checks for itself."""
        return self._publisher is not None and self._publisher.others_cannot()

    @property
    def problem(self) -> str:
        """What keeps it from telling others, for people; empty when nothing does."""
        return self._publisher.problem if self._publisher else ""

    @property
    def worker_fails(self) -> bool:
        """Whether a critical check that this worker runs for itself fails."""
        now = time.monotonic()
        return any(
            self._judge(check, now).counts_as is Status.FAIL
            for check in self.checks
            if check.scope == "worker" and check.name in self.histories
        )

    def results(self, probe: str) -> list[Result]:
        """The results of the checks of a probe, `health` for all, in order of registration."""
        now = time.monotonic()
        return [
            self._judge(check, now)
            for check in self.checks
            if probe == "health" or probe in check.probes
        ]

    def _judge(self, check: Check, now: float) -> Result:
        """What a check is now: judged once for each of its runs, as long as that is believed."""
        history = self.histories.get(check.name)
        before, result = self._judged.get(check.name, (None, None))
        if result is None or before is not history or now > (result.stale_at or math.inf):
            result = judge(check, history, now, self._panics.get(check.name, ""))
            self._judged[check.name] = history, result
        return result

    def transitions(self) -> list[Transition]:
        """The last changes of status, oldest first."""
        return self._telling.kept

    def transition_counts(self) -> dict[str, int]:
        """How many changes of status each check has had since the server started."""
        return self._telling.counts

    def numbered_transitions(self) -> tuple[int, list[Transition]]:
        """How many changes there have been since the server started, and the last of them."""
        return self._telling.numbered

    def _foresee(self) -> Outlook:
        statuses: dict[str, Status] = {}
        good_until: dict[str, float] = {}
        joins = self._joins()
        pending = [check for check in self.checks if check.name not in self.histories]
        for probe in PROBES:
            results = self.results(probe)
            # A worker's own failure shows in its marker: the server is judged by its workers. Its
            # first result is awaited by a server that starts, not by one that a worker joins.
            shared = [
                r for r in results if r.check.scope != "worker" or (r.time is None and not joins)
            ]
            statuses[probe] = aggregate(probe, shared if self._presence else results)
            good_until[probe] = fresh_until(shared if self._presence else results)
        if statuses["startup"] is not Status.FAIL:
            self._start_up()
        # What has not started, or must be restarted, is sent no traffic.
        parts = ("ready", "live") if self.started else PROBES
        statuses["ready"] = worst(statuses[part] for part in parts)
        good_until["ready"] = min(good_until[part] for part in parts)
        if not pending:
            self.informed.set()
        elif not joins or any(check.scope != "worker" for check in pending):
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
            self.trail.resume()
            log.info("worker %d runs the checks of this server", os.getpid())

    def _read_board(self) -> bool:
        if self._board is None or not self._board.changed():
            return False
        found = self._board.read()
        if not self.started and self._presence:
            self.started = self._presence.directory.exists("started")
        for name, history in (found or {}).items():
            slot = self.runs.slots.get(name)
            if slot and slot.check.scope != "worker":
                known = self.histories.get(name)
                if known is None or known.last.ended != history.last.ended:
                    slot.stands_in = False  # Somebody else is at it.
                self.histories[name] = history
        return found is not None

    def _look_abroad(self, now: float) -> None:
        """Takes over what other servers have found out."""
        if self._panics != self._abroad.panics:
            self._panics = self._abroad.panics
            self._judged.clear()
            self._changed = True
        for name, history in self._abroad.news().items() if self.leads else ():
            before, self.histories[name] = self.histories.get(name), history
            slot = self.runs.slots[name]
            slot.due = 0.0  # Who runs it next is settled among the servers.
            if (before.status if before else Status.PASS) is not history.status:
                self._telling.changed(slot.check, before, history, found_here=False)
            if self._publisher:
                self._publisher.ask(now)
            self._changed = True

    def _responsible(self, slot: Slot) -> bool:
        if slot.check.scope == "worker":
            return True
        history = self.histories.get(slot.check.name)
        if self.leads:
            in_fleet = slot.check.scope == "fleet"
            return not in_fleet or self._abroad.may_run(slot.check, history, time.monotonic())
        if history is None:
            return self.others_cannot_be_told
        if time.monotonic() - history.last.ended > slot.check.late_after:
            slot.stands_in = True
        return slot.stands_in or self.others_cannot_be_told

    def _take(self, slot: Slot, outcome: Outcome, now: float) -> None:
        """Makes an outcome part of its check's history."""
        name = slot.check.name
        before = self.histories.get(name)
        after = self.histories[name] = advance(before, outcome, slot.check)
        self.trail.add(name, outcome)
        if after.settled and slot.started is None:
            self.runs.rest(slot, now)
        old = before.status if before else Status.PASS
        if old is not after.status:
            self._telling.changed(slot.check, before, after)
        urgent = (
            before is None
            or old is not after.status
            or outcome.ended - before.last.ended > slot.check.stale_after
        )
        delay = 0.0 if urgent else min(PUBLISH_AFTER, slot.check.interval / 2)
        # What a follower finds out about itself is told by its marker alone.
        if self._publisher and (self.leads or slot.check.scope != "worker"):
            self._publisher.ask(now + delay)
        if self.leads and slot.check.scope == "fleet":
            self._abroad.ran(slot.check, after, slot.due - now)
        self._changed = True

    def _shared(self) -> dict[str, History]:
        """What is told to the other workers."""
        return {
            check.name: self.histories[check.name]
            for check in self.checks
            if check.scope != "worker" and check.name in self.histories
        }

    def _allows_traffic(self, now: float) -> bool:
        """Whether the checks of this server allow traffic."""
        waited = self._opened_at is not None and now - self._opened_at >= 2 * TICK
        if self._own and not waited and not self._joins():
            return False  # Each worker first has to say how it finds itself.
        return self.outlook.statuses["ready"] is not Status.FAIL

    def _joins(self) -> bool:
        """Whether the checks have allowed traffic already, to a server that others serve, too."""
        presence = self._presence
        if presence is None:
            return False
        census = presence.watch.look()
        others = census.how_many(SERVING) - (presence.state in SERVING)
        return census.allowed and others > 0


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
        woken = runner.runs.woken
        del runner
        woken.wait(pause)
        woken.clear()
