"""Running a setup step once for a whole fleet and release.

T0  a server asks for the lease of the step; one gets it, the others wait and ask again
T1  it runs the step, renewing the lease; what goes wrong is told to all, and tried again there
T2  it ends well and says so: that is kept, for all servers of this release, now and later
    or its server dies: the lease ends, and another one begins at T1
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import random
import time

from ..exceptions import SetupFailedError
from ..model.mask import mask
from ..workers.steps import TAKEOVERS, Progress
from .keys import Keys
from .lease import Answer, Lease
from .store import Store, StoreError

log: logging.Logger = logging.getLogger("flask_health")

SHORTEST_LOOK, LONGEST_LOOK = 1.0, 2.0
"""Seconds between two looks of a waiting server, drawn at random."""

GIVES_UP_AFTER = 5.0
"""Seconds without an answer of the store after which a server helps itself, if it may."""

Told = cabc.Callable[[BaseException | None], None]
Finish = cabc.Callable[[Told], bool]


class FleetSteps:
    """Runs the fleet steps of this server, or waits for the server that does.

    :param required: `HEALTH_FLEET_REQUIRED`: whether a step waits for as long as the store does
        not answer; else this server runs it for itself.
    :param who: this server, for people.
    """

    def __init__(self, store: Store, keys: Keys, release: str, who: str, required: bool) -> None:
        self._store = store
        self._keys = keys
        self._release = release
        self._who = who
        self._required = required
        self._random = random.Random()

    def __call__(
        self,
        progress: Progress,
        finish: Finish,
        changed: cabc.Callable[[], None],
        siblings: Told,
    ) -> bool:
        """Returns when the step is done, True, or has been given up in this server, False.

        :param finish: tries the step here until it ends well or may not be tried again; calls its
            argument with each failure, and with None before another attempt.
        :param changed: is called when the progress has changed.
        :param siblings: tells the other workers of this server of a failure, None: of none.
        """
        lease = Lease(self._store, self._keys, self._release, progress.step.name, self._who)
        fresh = True
        silent_since: float | None = None
        while True:
            try:
                answer = lease.claim(fresh, TAKEOVERS)
            except StoreError as error:
                silent_since = silent_since or time.monotonic()
                if not self._required and time.monotonic() - silent_since > GIVES_UP_AFTER:
                    return self._alone(progress, finish, siblings)
                _wait(progress, changed, siblings, f"waiting for the fleet store: {error}")
                time.sleep(max(self._store.pause(), self._store.patience / 10))
                continue
            fresh, silent_since = False, None
            if answer.state == "done":
                _done(progress, changed)
                return True
            if answer.state == "yours":
                ended = self._run(progress, finish, siblings, lease)
                if ended is not None:
                    return ended
                lease = Lease(self._store, self._keys, self._release, progress.step.name, self._who)
                continue
            _follow(progress, changed, siblings, answer)
            time.sleep(self._random.uniform(SHORTEST_LOOK, LONGEST_LOOK))

    def _run(self, progress: Progress, finish: Finish, siblings: Told, lease: Lease) -> bool | None:
        """Runs the step here; None when that does not count, as the lease was lost meanwhile."""
        name = progress.step.name
        log.info("setup step '%s' runs here for the fleet, number %d", name, lease.fencing)

        def told(error: BaseException | None) -> None:
            siblings(error)
            lease.mention("failed" if error else "running", _reason(error))

        def lost() -> None:
            log.error("the lease on setup step '%s' is lost while it runs", name)

        progress.note = ""
        progress.fencing = lease.number
        lease.keep(lost)
        try:
            well = finish(told)
            counts = self._conclude(progress, lease, well)
        finally:
            progress.fencing = None
            lease.give_back()
        if counts:
            return well
        log.error(
            "setup step '%s' has ended here, but another server has taken it over: that one counts",
            name,
        )
        return None

    def _conclude(self, progress: Progress, lease: Lease, well: bool) -> bool:
        """Says how it has ended, until that is heard; returns whether it counts.

        A step that has done its work is not done before the store knows: else it would be done
        again.
        """
        state, error = ("done", None) if well else ("given up", progress.error)
        ended = progress.state
        while True:
            try:
                counts = lease.tell(state, _reason(error))
            except StoreError as problem:
                counts = not self._required
                if self._required:
                    progress.state = "waiting"
                    progress.note = f"it has ended, waiting for the fleet store: {problem}"
                    time.sleep(max(self._store.pause(), self._store.patience / 10))
                    continue
            progress.state, progress.note = ended, ""
            return counts

    def _alone(self, progress: Progress, finish: Finish, siblings: Told) -> bool:
        log.warning(
            "setup step '%s' runs for this server alone: the fleet store cannot be asked",
            progress.step.name,
        )
        progress.note = ""
        return finish(siblings)


def _done(progress: Progress, changed: cabc.Callable[[], None]) -> None:
    progress.state, progress.error, progress.note = "done", None, ""
    changed()


def _follow(
    progress: Progress, changed: cabc.Callable[[], None], siblings: Told, answer: Answer
) -> None:
    """Takes over what another server says of the step."""
    if answer.state != "failed":
        _wait(progress, changed, siblings, f"{answer.by} runs it for the fleet")
        return
    reason = f"on {answer.by}, which runs it for the fleet: {answer.reason}"
    words = f"setup step '{progress.step.name}' failed {reason}"
    if progress.state == "failed" and str(progress.error) == words:
        return
    progress.state, progress.note = "failed", ""
    progress.error = SetupFailedError(words)
    log.error("%s", words)
    siblings(progress.error)
    changed()


def _wait(progress: Progress, changed: cabc.Callable[[], None], siblings: Told, note: str) -> None:
    if progress.state == "waiting" and progress.note == note:
        return
    if progress.error is not None:
        siblings(None)
    progress.state, progress.note, progress.error = "waiting", note, None
    changed()


def _reason(error: BaseException | None) -> str:
    return mask(f"{type(error).__name__}: {error}") if error else ""
