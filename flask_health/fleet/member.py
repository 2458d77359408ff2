"""This server as a member of its fleet: one of its workers tells of it and learns of the others.

A beat every few seconds does both with a single command. It is made by the worker that runs the
checks; before there is one, by any.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import logging
import random
import threading
import time
import typing as t
import weakref

from ..model import fleet as model
from ..model.fleet import FleetReport, Sight
from ..model.report import Report
from ..model.server import SERVING
from .identity import Options, identity_of, name_of
from .keys import Keys, plain
from .listing import Listing
from .scripts import BEAT, LEAVE
from .sharing import Sharing
from .siblings import Siblings
from .steps import FleetSteps
from .store import Store, StoreError
from .summary import Summary, summarize
from .view import View, read_changes

if t.TYPE_CHECKING:
    from ..model.check import Check
    from ..model.traffic import Traffic
    from ..workers.gate import Gate
    from ..workers.presence import Presence

log: logging.Logger = logging.getLogger("flask_health")

PERIOD = 2.5
"""Seconds between two beats, less up to a fifth at random; with fleet checks at most a quarter of
the shortest interval, but never less than a second.
"""

AT_REST = 1.0
"""Seconds between two beats at least, when nothing has changed but the result of a fleet check."""

TICK = 0.25
"""Seconds between two looks at what there is to tell."""

HASTE = 0.25
"""Seconds between two beats at least, when there is something new to tell."""

KEPT = 120.0
"""Seconds that the common keys of a fleet outlive its last server."""

GOODBYE = 0.3
"""Seconds that a server which ends may take to say so."""


class Member:
    """This server in its fleet, as one of its workers sees it.

    :param report: the report of `health` now.
    :param leads: whether this worker runs the checks of its server.
    :param traffic: the requests of its server, where they are counted.
    :ivar steps: runs setup steps once for all servers.
    :ivar sharing: runs checks once for all servers.
    :ivar listing: all servers one by one.
    """

    def __init__(
        self,
        options: Options,
        gate: Gate,
        checks: cabc.Sequence[Check],
        report: cabc.Callable[[], Report],
        leads: cabc.Callable[[], bool],
        traffic: cabc.Callable[[], Traffic | None],
    ) -> None:
        self.options = options
        self.keys: Keys = Keys(options.service)
        self.identity: str = ""
        self.name: str = ""
        self.store: Store = Store(options.url)
        self.listing: Listing = Listing(self.store, self.keys)
        self._gate = gate
        self._report = report
        self._leads = leads
        self._traffic = traffic
        self._woken = threading.Event()
        self._hasty = False
        self._left = False
        self._beating = threading.Lock()
        self._random = random.Random()
        intervals = [check.interval for check in checks if check.scope == "fleet"]
        self._period = max(1.0, min(PERIOD, min(intervals, default=PERIOD * 4) / 4))
        notice = self._period + self.store.patience
        self.sharing: Sharing = Sharing(checks, notice, self._wake)
        self.steps: FleetSteps = FleetSteps(
            self.store, self.keys, options.release, name_of(gate), options.required
        )
        self._presence: Presence | None = None
        self._siblings: Siblings | None = None
        self._view = View()
        self._version = ""
        self._told: Summary | None = None
        self._last = 0.0
        self._due = 0.0

    def join(self, presence: Presence | None) -> None:
        """Begins to tell and to listen, in a thread of its own."""
        self._presence = presence
        self._siblings = Siblings(presence) if presence else None
        self.identity, self.name = identity_of(self._gate), name_of(self._gate)
        threading.Thread(
            target=_live, args=(weakref.ref(self),), name="flask-health-fleet", daemon=True
        ).start()

    def leave(self) -> None:
        """This worker ends. If its server ends with it, it says so."""
        self._left = True
        others = self._siblings
        if others:
            if self._beating.acquire(timeout=GOODBYE):
                try:
                    # Nobody speaks while the worker that did has ended and none has followed it.
                    if others.all_stop() and others.speak(True) and self._is_known():
                        self._say_goodbye()
                finally:
                    self._beating.release()
            others.let_go()
        self.store.close()

    def _is_known(self) -> bool:
        """Whether a worker of this server has told of it, and the store answers."""
        if self._told is None:
            self._listen(time.monotonic())
        told = self._told is not None or self._view.sight is not None
        return told and not (self.store.problem or self._view.problem)

    def _say_goodbye(self) -> None:
        self.store.close()
        self.store.patience = GOODBYE
        try:
            self.store.run(LEAVE, self._all_keys()[:5], [self.identity, _ms(KEPT)])
        except StoreError:
            pass  # It is forgotten all the same, a little later.

    def report(self) -> FleetReport:
        """What this server knows of its fleet."""
        view, now = self._view, time.monotonic()
        sight = view.sight
        return FleetReport(
            service=self.options.service,
            release=plain(self.options.release),
            server=self.identity,
            problem=view.problem,
            sight=sight.aggregate if sight else None,
            age=now - sight.read_at if sight else None,
            panics=self.sharing.panics,
            alone=view.alone,
        )

    @property
    def changes(self) -> tuple[cabc.Mapping[str, t.Any], ...]:
        """The last changes in the fleet, newest first."""
        return self._view.changes

    def turn(self) -> float:
        """Does what is due.

        :return: seconds until the next turn.
        """
        with self._beating:
            if self._left:
                return TICK
            now = time.monotonic()
            if not self._speak_if_due():
                self._listen(now)
                return 2 * TICK
            self._beat_if_due(now)
        self._settle(time.monotonic())
        return TICK

    def _beat_if_due(self, now: float) -> None:
        report = self._report()
        summary = summarize(report, self.options.release)
        known = self._told
        news = known is None or (summary.contribution, summary.state) != (
            known.contribution,
            known.state,
        )
        if not self.store.problem and (news or self._hasty or self.sharing.ignorant):
            first = self._hasty and self.sharing.ignorant
            self._due = min(self._due, self._last + (HASTE if news or first else AT_REST))
        if now < self._due:
            return
        self._last, self._hasty = now, False
        summary = summarize(report, self.options.release, self._traffic())
        try:
            self._beat(summary, now)
            self._due = now + max(AT_REST, self._period * self._random.uniform(0.8, 1.0))
        except StoreError as error:
            self.sharing.lost(time.monotonic())
            self._due = now + self.store.pause()
            self._view = dataclasses.replace(
                self._view, problem=str(error), alone=self.sharing.alone
            )
            self._tell_siblings()

    def _beat(self, summary: Summary, now: float) -> None:
        at, version, fields, entries, results, ordered = self.store.run(
            BEAT,
            self._all_keys(),
            [
                self.identity,
                _ms(model.STALE_AFTER),
                _ms(KEPT),
                self._version,
                summary.contribution,
                summary.report,
                self.name,
                plain(self.options.release),
                summary.state,
                self.sharing.offer(now, self._checks_run()),
            ],
        )
        self._told = summary
        here = time.monotonic()
        self.sharing.told(results, ordered, int(at), here)
        sight = self._view.sight
        if version != self._version or sight is None:
            pairs = dict(zip(fields[::2], fields[1::2], strict=True))
            seen = Sight(model.parse_aggregate(pairs, version, int(at) / 1000), here)
            sight = model.newer(sight, seen)
            # What is not gone by yet is asked for again.
            self._version = version if sight is seen else ""
        else:
            sight = Sight(sight.aggregate, here)
        changes = read_changes(entries) if entries else self._view.changes
        self._view = View(sight, "", self._view.panics, changes, self.sharing.alone)
        self._settle(here)
        self._tell_siblings()

    def _checks_run(self) -> bool:
        """Whether this worker runs the checks of its server by now."""
        setup = self._gate.setup
        return self._leads() and not (setup and setup.unfinished)

    def _settle(self, now: float) -> None:
        """Decides on panic by what is known now."""
        found = model.panics(self._view.sight, self.options.panic, self.options.least, now)
        before = self.sharing.panics
        for check in found.keys() - before.keys():
            log.error("panic: check '%s' %s, it is only warned of", check, found[check])
        for check in before.keys() - found.keys():
            log.warning("panic is over: a failure of check '%s' counts again", check)
        if found != before:
            self.sharing.panics = found

    def _wake(self) -> None:
        self._hasty = True
        self._woken.set()

    def _speak_if_due(self) -> bool:
        """Whether this worker asks the store for its server."""
        presence, others = self._presence, self._siblings
        if presence is None or others is None:
            return True
        spoke = others.speaks
        speaks = others.speak(self._leads() or not presence.watch.look().how_many(SERVING))
        if speaks and not spoke:
            self._listen(time.monotonic())  # What the one before it knew.
        return speaks

    def _listen(self, now: float) -> None:
        """Takes over what the worker has learnt that asks the store."""
        news = self._siblings.news() if self._siblings else None
        if news:
            self._view, self._version = news, ""
        sight = self._view.sight
        stale = sight is None or sight.is_stale(now)
        self.sharing.panics = {} if stale else self._view.panics

    def _tell_siblings(self) -> None:
        self._view = dataclasses.replace(self._view, panics=self.sharing.panics)
        if self._siblings:
            self._siblings.tell(self._view)

    def _all_keys(self) -> list[str]:
        keys = self.keys
        return [
            keys.servers,
            keys.members,
            keys.aggregate,
            keys.changes,
            keys.server(self.identity),
            keys.checks,
        ]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _live(reference: weakref.ref[Member]) -> None:
    # Only a weak reference between two turns: an app that a test made can be forgotten.
    while True:
        member = reference()
        if member is None or member._left:
            return
        try:
            pause = member.turn()
        except Exception:
            log.exception("the fleet cannot be told of this server; trying again")
            pause = 1.0
        woken = member._woken
        del member
        woken.wait(pause)
        woken.clear()
